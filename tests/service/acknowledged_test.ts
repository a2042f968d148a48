/**
 * Tests of the memory of what was acknowledged: long enough for what may still show it, and no longer.
 * @module
 */
import assert from "node:assert/strict";
import { TIMES } from "../../lib/limits.ts";
import { Acknowledged } from "../../lib/service/acknowledged.ts";
import { ManualClock } from "../support/manual_clock.ts";

function acknowledgedOn(): { clock: ManualClock; acknowledged: Acknowledged } {
  const clock = new ManualClock();
  return { clock, acknowledged: new Acknowledged(clock) };
}

Deno.test("add() remembers a message for as long as its deletion is under way", () => {
  const { clock, acknowledged } = acknowledgedOn();
  acknowledged.add("a");
  clock.advance(3_600_000);
  acknowledged.sweep();
  assert.deepEqual([acknowledged.has("a"), acknowledged.has("b"), acknowledged.size], [true, false, 1]);
});

Deno.test("deleted() forgets at once what nothing can bring again", () => {
  const { acknowledged } = acknowledgedOn();
  acknowledged.add("a");
  acknowledged.deleted("a", false);
  assert.equal(acknowledged.has("a"), false);
  assert.equal(acknowledged.size, 0);
});

for (const why of ["a read is under way", "it may be handed over yet"]) {
  Deno.test(`deleted() remembers for a while if ${why}`, () => {
    const { clock, acknowledged } = acknowledgedOn();
    const isReading = why === "a read is under way";
    if (isReading) acknowledged.readBegins();
    acknowledged.add("a");
    acknowledged.deleted("a", !isReading);
    if (isReading) acknowledged.readEnds();
    clock.advance(TIMES.acknowledgedMs);
    acknowledged.sweep();
    assert.equal(acknowledged.has("a"), true);
    clock.advance(1);
    acknowledged.sweep();
    assert.equal(acknowledged.has("a"), false);
  });
}

Deno.test("deleted() remembers while one of two reads is under way", () => {
  const { acknowledged } = acknowledgedOn();
  acknowledged.readBegins();
  acknowledged.readBegins();
  acknowledged.readEnds();
  acknowledged.add("a");
  acknowledged.deleted("a", false);
  assert.equal(acknowledged.has("a"), true);
  acknowledged.readEnds();
  acknowledged.add("b");
  acknowledged.deleted("b", false);
  assert.equal(acknowledged.has("b"), false);
});

Deno.test("a read may take as long as storage's deadline, and what it shows is still remembered", () => {
  assert.ok(TIMES.acknowledgedMs > TIMES.storageDeadlineMs);
});
