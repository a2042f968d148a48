/**
 * Tests of the bounds on questions: turns, and verdicts that are kept.
 * @module
 */
import assert from "node:assert/strict";
import { Turns } from "../../lib/identity/turns.ts";
import { Verdicts } from "../../lib/identity/verdicts.ts";
import { ManualClock } from "../support/manual_clock.ts";

const LIMITS = { max: 3, ofAKindMax: 2, waitingMax: 3, waitMs: 1_000 };

Deno.test("take() gives no more turns than there are, nor all of them to one purpose", async () => {
  const turns = new Turns(LIMITS, new ManualClock());
  assert.deepEqual(await Promise.all([turns.take("open"), turns.take("open")]), [true, true]);
  const third = turns.take("open");
  assert.equal(await turns.take("confirm"), true);
  const second = turns.take("confirm");
  assert.deepEqual([turns.taken, turns.waiting], [3, 2]);
  turns.giveBack("open"); // to its own purpose first, and to the other when nobody of its own waits
  assert.equal(await third, true);
  assert.deepEqual([turns.taken, turns.waiting], [3, 1]);
  turns.giveBack("open");
  assert.equal(await second, true);
  assert.deepEqual([turns.taken, turns.waiting], [3, 0]);
});

Deno.test("take() lets those of one purpose wait, however many wait of the other", async () => {
  const turns = new Turns({ ...LIMITS, max: 2, ofAKindMax: 2 }, new ManualClock());
  for (let i = 0; i < 2; i++) await turns.take("confirm");
  const crowd = [1, 2, 3].map(() => turns.take("confirm"));
  assert.equal(await turns.take("confirm"), false);
  const newcomer = turns.take("open");
  for (let i = 0; i < 3; i++) turns.giveBack("confirm");
  assert.deepEqual(await Promise.all(crowd), [true, true, true]);
  turns.giveBack("confirm");
  assert.equal(await newcomer, true);
});

Deno.test("take() gives up when it takes too long, and at once when too many wait", async () => {
  const clock = new ManualClock();
  const turns = new Turns(LIMITS, clock);
  for (let i = 0; i < 2; i++) await turns.take("open");
  const waiting = [1, 2, 3].map(() => turns.take("open"));
  assert.equal(await turns.take("open"), false);
  turns.giveBack("open");
  assert.equal(await waiting[0], true);
  clock.advance(1_000);
  assert.deepEqual(await Promise.all(waiting), [true, false, false]);
  assert.deepEqual([turns.taken, turns.waiting], [2, 0]);
  turns.giveBack("open");
  turns.giveBack("open");
  assert.equal(turns.taken, 0);
});

Deno.test("Verdicts are kept for their time, and no more of them than the bound", () => {
  const clock = new ManualClock();
  const verdicts = new Verdicts<number>(clock, 1_000, 3);
  verdicts.keep("a", 1);
  clock.advance(999);
  assert.equal(verdicts.get("a"), 1);
  clock.step(-3_600_000);
  clock.advance(1);
  assert.equal(verdicts.get("a"), undefined);
  assert.equal(verdicts.size, 0);
  for (const name of ["a", "b", "c"]) verdicts.keep(name, 2);
  verdicts.keep("a", 3);
  verdicts.keep("d", 4);
  assert.deepEqual(["a", "b", "c", "d"].map((name) => verdicts.get(name)), [3, undefined, 2, 4]);
  verdicts.forget("a");
  assert.equal(verdicts.get("a"), undefined);
});
