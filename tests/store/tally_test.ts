/**
 * Tests of counts: two numbers in one, which `sum` adds up and takes away.
 * @module
 */
import assert from "node:assert/strict";
import fc from "../support/fast_check.ts";
import {
  bucketEnd,
  bucketOf,
  lostTally,
  packTally,
  unpackTally,
  waitingTally,
} from "../../lib/store/tally.ts";
import { newAddress } from "./open_store.ts";

const STRETCH_MS = 6 * 3_600_000;

const unpack = (packed: bigint) => unpackTally(new Deno.KvU64(packed));

const wrap = (value: bigint) => BigInt.asUintN(64, value);

/** What 24 and 40 bits hold, with a sign; short of the least, below which the borrow of negative bytes would wrap. */
const messages = fc.integer({ min: -(2 ** 23) + 1, max: 2 ** 23 - 1 });
const bytes = fc.integer({ min: -(2 ** 39), max: 2 ** 39 - 1 });

Deno.test("unpackTally() reads what packTally() made; what is below zero is zero, each of the two alone", () => {
  fc.assert(fc.property(messages, bytes, (messages, bytes) => {
    const packed = packTally(messages, bytes);
    assert.equal(packed, wrap(packed), "it is a KvU64");
    assert.deepEqual(unpack(packed), { messages: Math.max(0, messages), bytes: Math.max(0, bytes) });
  }));
  const cases = [[-1, 5, 0, 5], [3, -5, 3, 0], [-1, -1, 0, 0], [0, -1, 0, 0], [1, 0, 1, 0], [
    0,
    0,
    0,
    0,
  ]] as const;
  for (const [m, b, is, has] of cases) {
    assert.deepEqual(unpack(packTally(m, b)), { messages: is, bytes: has }, `${m}, ${b}`);
  }
});

const change = fc.record({
  messages: fc.integer({ min: -10_000, max: 10_000 }),
  bytes: fc.integer({ min: -(2 ** 26), max: 2 ** 26 }),
});

Deno.test("packed changes add up, wrapping round, to what their numbers add up to", () => {
  fc.assert(fc.property(fc.array(change, { maxLength: 50 }), (changes) => {
    let packed = 0n;
    const sum = { messages: 0, bytes: 0 };
    for (const { messages, bytes } of changes) {
      packed = wrap(packed + packTally(messages, bytes));
      sum.messages += messages;
      sum.bytes += bytes;
      assert.equal(packed, packTally(sum.messages, sum.bytes));
      assert.deepEqual(unpack(packed), {
        messages: Math.max(0, sum.messages),
        bytes: Math.max(0, sum.bytes),
      });
    }
  }));
});

Deno.test("the database adds packed changes up as they are meant, below zero and back", async () => {
  using kv = await Deno.openKv(":memory:");
  const steps = [[2, 100, 2, 100], [-1, -60, 1, 40], [-3, -50, 0, 0], [2, 10, 0, 0], [1, 7, 1, 7]] as const;
  for (const [m, b, messages, bytes] of steps) {
    await kv.atomic().sum(["n"], packTally(m, b)).commit();
    assert.deepEqual(unpackTally((await kv.get(["n"])).value), { messages, bytes }, `${m}, ${b}`);
  }
});

Deno.test("unpackTally() takes what is no count for nothing", () => {
  for (const value of [undefined, null, 7n, 7, "7", new Uint8Array(8)]) {
    assert.deepEqual(unpackTally(value), { messages: 0, bytes: 0 });
  }
});

Deno.test("a stretch is six hours, and is over when the next one begins", () => {
  fc.assert(fc.property(fc.integer({ min: 0, max: 2 ** 48 }), (at) => {
    const end = bucketEnd(at);
    assert.ok(end > at && end <= at + STRETCH_MS);
    assert.equal(bucketOf(end - 1), bucketOf(at));
    assert.equal(bucketOf(end), bucketOf(at) + 1);
  }));
});

Deno.test("waitingTally() and lostTally() have one name for one key, and another for every other", () => {
  const a = newAddress(1);
  const tallies = [
    waitingTally(a, "e", 1, 1, 1),
    waitingTally(a, "e", 2, 1, 1),
    waitingTally(a, "f", 1, 1, 1),
    waitingTally({ ...a, deviceId: 2 }, "e", 1, 1, 1),
    waitingTally(newAddress(1), "e", 1, 1, 1),
    lostTally(a, "e", 1),
    lostTally(a, "f", 1),
  ];
  assert.equal(new Set(tallies.map(({ name }) => name)).size, tallies.length);
  assert.equal(new Set(tallies.map(({ key }) => key.join("/"))).size, tallies.length);
  assert.equal(waitingTally(a, "e", 1, -5, -6).name, tallies[0]?.name);
});
