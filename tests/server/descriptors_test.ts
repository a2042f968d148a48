/**
 * Tests of the look at what the process can still open; `tests/process/descriptors_test.ts` has a real shortage.
 * @module
 */
import assert from "node:assert/strict";
import { Descriptors } from "../../lib/server/descriptors.ts";
import { ManualClock } from "../support/manual_clock.ts";

/** So many descriptors, each counted while it is open. */
class Table {
  open = 0;
  looks = 0;
  constructor(public max: number, private readonly message = "Too many open files (os error 24)") {}

  readonly openOne = (): Disposable => {
    if (this.open === 0) this.looks++;
    if (this.open >= this.max) throw new Error(this.message);
    this.open++;
    return { [Symbol.dispose]: () => void this.open-- };
  };
}

Deno.test("suffice() is false while fewer than 32 are free, and gives back what it opened", () => {
  const clock = new ManualClock();
  const table = new Table(32);
  const descriptors = new Descriptors(clock, table.openOne);
  for (const [max, enough] of [[32, true], [31, false], [0, false], [100, true]] as const) {
    table.max = max;
    clock.advance(250);
    assert.equal(descriptors.suffice(), enough, `${max}`);
    assert.equal(table.open, 0);
  }
});

Deno.test("suffice() looks again after 250 ms or 16 connections", () => {
  const clock = new ManualClock();
  const table = new Table(100);
  const descriptors = new Descriptors(clock, table.openOne);
  for (let i = 0; i < 17; i++) descriptors.suffice();
  assert.equal(table.looks, 1);
  descriptors.suffice();
  assert.equal(table.looks, 2);
  clock.advance(249);
  descriptors.suffice();
  assert.equal(table.looks, 2);
  clock.advance(1);
  descriptors.suffice();
  assert.equal(table.looks, 3);
});

Deno.test("suffice() is true where nobody can tell", () => {
  const table = new Table(0, "Requires read access to /dev/null");
  assert.equal(new Descriptors(new ManualClock(), table.openOne).suffice(), true);
});
