/**
 * Tests of work on one thing at a time.
 * @module
 */
import assert from "node:assert/strict";
import fc from "./support/fast_check.ts";
import { Serial } from "../lib/serial.ts";
import { ManualClock } from "./support/manual_clock.ts";

const DEADLINE_MS = 5_000;

/** Work that ends when it is told to, and notes that it began. */
function heldWork(began: string[], name: string) {
  const { promise, resolve } = Promise.withResolvers<string>();
  const work = () => (began.push(name), promise);
  return { work, end: () => resolve(name) };
}

const turns = () => new Promise((resolve) => setTimeout(resolve, 0));

Deno.test("run() runs pieces of one key one after the other, in the order they came", async () => {
  const serial = new Serial(new ManualClock(), DEADLINE_MS, 10);
  const began: string[] = [];
  const [a, b, c] = ["a", "b", "c"].map((name) => heldWork(began, name));
  assert.ok(a && b && c);
  const runs = [a, b, c].map(({ work }) => serial.run("key", work));
  await turns();
  assert.deepEqual(began, ["a"]);
  c.end();
  a.end();
  await turns();
  assert.deepEqual(began, ["a", "b"]);
  b.end();
  assert.deepEqual(await Promise.all(runs), ["a", "b", "c"]);
});

Deno.test("run() does not let keys wait for each other", async () => {
  const serial = new Serial(new ManualClock(), DEADLINE_MS, 10);
  const began: string[] = [];
  const [a, b] = [heldWork(began, "a"), heldWork(began, "b")];
  const first = serial.run("one", a.work);
  b.end();
  assert.equal(await serial.run("other", b.work), "b");
  a.end();
  await first;
});

Deno.test("run() goes on after a piece that failed, and passes its error on", async () => {
  const serial = new Serial(new ManualClock(), DEADLINE_MS, 10);
  const failing = serial.run("key", () => Promise.reject(new Error("this one")));
  const thrown = serial.run("key", () => {
    throw new Error("that one");
  });
  const next = serial.run("key", () => Promise.resolve("next"));
  await assert.rejects(failing, /this one/);
  await assert.rejects(thrown, /that one/);
  assert.equal(await next, "next");
});

Deno.test("run() gives up a piece whose turn does not come in time, and never runs it", async () => {
  const clock = new ManualClock();
  const serial = new Serial(clock, DEADLINE_MS, 10);
  const began: string[] = [];
  const [a, b, c] = [heldWork(began, "a"), heldWork(began, "b"), heldWork(began, "c")];
  const first = serial.run("key", a.work);
  const late = assert.rejects(serial.run("key", b.work), { name: "RequestError", error: "unavailable" });
  await turns();
  clock.advance(DEADLINE_MS - 1);
  const inTime = serial.run("key", c.work);
  await turns();
  clock.advance(1);
  await late;
  a.end();
  c.end();
  assert.deepEqual([await first, await inTime], ["a", "c"]);
  assert.deepEqual(began, ["a", "c"]);
});

Deno.test("run() still waits for a piece under way after one behind it has given up", async () => {
  const clock = new ManualClock();
  const serial = new Serial(clock, DEADLINE_MS, 10);
  const began: string[] = [];
  const [a, b, c] = [heldWork(began, "a"), heldWork(began, "b"), heldWork(began, "c")];
  const first = serial.run("key", a.work);
  const late = assert.rejects(serial.run("key", b.work));
  await turns();
  clock.advance(DEADLINE_MS);
  await late;
  const next = serial.run("key", c.work);
  await turns();
  const beganMeanwhile = [...began];
  a.end();
  c.end();
  await Promise.all([first, next]);
  assert.deepEqual(beganMeanwhile, ["a"], "the first is not over");
});

Deno.test("run() refuses when as many pieces wait as the bound allows, and takes more when one is over", async () => {
  const serial = new Serial(new ManualClock(), DEADLINE_MS, 2);
  const began: string[] = [];
  const [a, b] = [heldWork(began, "a"), heldWork(began, "b")];
  const runs = [serial.run("one", a.work), serial.run("other", b.work)];
  await assert.rejects(serial.run("third", () => Promise.resolve()), { error: "unavailable" });
  a.end();
  await runs[0];
  await serial.run("third", () => Promise.resolve());
  b.end();
  await runs[1];
});

Deno.test("run() never runs two pieces of a key at once, whatever fails", async () => {
  const piece = fc.record({
    key: fc.constantFrom("a", "b", "c"),
    turns: fc.nat({ max: 5 }),
    fails: fc.boolean(),
  });
  await fc.assert(fc.asyncProperty(fc.array(piece, { maxLength: 30 }), async (pieces) => {
    const serial = new Serial(new ManualClock(), DEADLINE_MS, 1_000);
    const underWay = new Set<string>();
    const done: Record<string, number[]> = { a: [], b: [], c: [] };
    await Promise.allSettled(pieces.map(({ key, turns, fails }, i) =>
      serial.run(key, async () => {
        assert.equal(underWay.has(key), false, "alone");
        underWay.add(key);
        for (let turn = 0; turn < turns; turn++) await Promise.resolve();
        underWay.delete(key);
        done[key]?.push(i);
        if (fails) throw new Error("as wanted");
      })
    ));
    for (const [key, order] of Object.entries(done)) {
      assert.deepEqual(order, pieces.flatMap((piece, i) => piece.key === key ? [i] : []));
    }
  }));
});
