/**
 * Tests of the group commit: what goes together, in which order, and within which bounds.
 * @module
 */
import assert from "node:assert/strict";
import { BATCH, KV } from "../../lib/limits.ts";
import { Metrics } from "../../lib/metrics.ts";
import { Database } from "../../lib/store/database.ts";
import { Writer } from "../../lib/store/writer.ts";
import { ShiftedClock } from "../support/manual_clock.ts";
import { newBytes, write } from "./open_store.ts";
import { Gate, ScriptedKv } from "./scripted_kv.ts";

const USER = crypto.randomUUID();

function writerOn(kv: Deno.Kv, laneCount?: number): Writer {
  return new Writer(new Database(kv, kv, new ShiftedClock(), false, "test"), new Metrics(), laneCount);
}

/** Holds the first commit up until the gate is opened. */
function holdFirst(scripted: ScriptedKv): Gate {
  const gate = new Gate();
  scripted.onCommit = async (commit) => {
    if (scripted.commits.indexOf(commit) === 0) await gate.passed;
    return await commit.run();
  };
  return gate;
}

Deno.test("write() carries out what one turn brings in one commit, in its order", async () => {
  await using scripted = await ScriptedKv.open();
  const writer = writerOn(scripted.kv);
  const settled: number[] = [];
  const changes = [Uint8Array.of(1), null, Uint8Array.of(2), Uint8Array.of(3)];
  await Promise.all(changes.map(async (change, i) => {
    await write({ writer }, USER, { key: ["a"], change });
    settled.push(i);
  }));
  assert.deepEqual(scripted.mutations, [["a", "a", "a", "a"]]);
  assert.deepEqual((await scripted.real.get(["a"])).value, Uint8Array.of(3));
  assert.deepEqual(settled, [0, 1, 2, 3]);
});

Deno.test("write() collects what comes while a commit is in flight for the next one", async () => {
  await using scripted = await ScriptedKv.open();
  const writer = writerOn(scripted.kv);
  const gate = holdFirst(scripted);
  const first = write({ writer }, USER, { key: ["first"], change: newBytes() });
  await Promise.resolve();
  const rest = Array.from(
    { length: 50 },
    (_, i) => write({ writer }, USER, { key: [i], change: newBytes() }),
  );
  gate.open();
  await Promise.all([first, ...rest]);
  assert.deepEqual(scripted.mutations.map(({ length }) => length), [1, 50]);
  assert.equal(writer.isIdle, true);
});

Deno.test("write() adds numbers, and takes negative ones away", async () => {
  await using scripted = await ScriptedKv.open();
  const writer = writerOn(scripted.kv);
  const count = (bytes: number) =>
    new Promise<void>((resolve, reject) => {
      const tally = { key: ["n"], name: "n", messages: 0, bytes };
      writer.write(USER, {
        mutations: [],
        tallies: [tally],
        settle: (error) => error === null ? resolve() : reject(error),
      });
    });
  await Promise.all([5, -2].map(count));
  assert.deepEqual((await scripted.real.get(["n"])).value, new Deno.KvU64(3n));
  await count(-2);
  assert.deepEqual((await scripted.real.get(["n"])).value, new Deno.KvU64(1n));
});

Deno.test("write() tells each writer the version of its commit", async () => {
  await using scripted = await ScriptedKv.open();
  const writer = writerOn(scripted.kv);
  const results = await Promise.all(
    [1, 2].map((i) => write({ writer }, USER, { key: ["v", i], change: newBytes() })),
  );
  const { versionstamp } = await scripted.real.get(["v", 2]);
  for (const result of results) assert.deepEqual(result, { ok: true, versionstamp });
});

/** Writes so many values at once; tells how many went into each commit. */
async function commitsOf(count: number, keyBytes: number, valueBytes: number): Promise<number[]> {
  await using scripted = await ScriptedKv.open();
  const writer = writerOn(scripted.kv);
  const key = (i: number) => [String(i).padStart(keyBytes, "k")];
  const change = newBytes(valueBytes);
  await Promise.all(
    Array.from({ length: count }, (_, i) => write({ writer }, USER, { key: key(i), change })),
  );
  for (const i of [0, count >> 1, count - 1]) {
    assert.deepEqual((await scripted.real.get(key(i))).value, change, `value ${i} is stored`);
  }
  return scripted.mutations.map(({ length }) => length);
}

Deno.test("write() puts no more mutations into a commit than the bound", async () => {
  const sizes = await commitsOf(2_500, 8, 1);
  assert.deepEqual(sizes, [BATCH.mutationsMax, BATCH.mutationsMax, 2_500 - 2 * BATCH.mutationsMax]);
});

Deno.test("write() puts no more bytes into a commit than the bound", async () => {
  const sizes = await commitsOf(60, 8, 60 * 1_024);
  assert.equal(sizes.reduce((sum, size) => sum + size), 60);
  for (const size of sizes) assert.ok(size * 60 * 1_024 <= BATCH.bytesMax, `${size} values in one commit`);
  assert.ok((sizes[0] ?? 0) * 60 * 1_024 > BATCH.bytesMax * 0.9, "a commit is filled");
});

Deno.test("write() puts no more bytes of keys into a commit than the bound", async () => {
  const sizes = await commitsOf(200, 1_900, 1);
  assert.equal(sizes.reduce((sum, size) => sum + size), 200);
  for (const size of sizes) assert.ok(size * 1_900 <= BATCH.keyBytesMax, `${size} keys in one commit`);
});

Deno.test("write() stores the largest value and the longest key that the database takes", async () => {
  await commitsOf(1, KV.commitKeyBytesMax / 50, 64_000);
});

Deno.test("commit() keeps its place among the writes of its lane", async () => {
  await using scripted = await ScriptedKv.open();
  const writer = writerOn(scripted.kv);
  const before = write({ writer }, USER, { key: ["before"], change: newBytes() });
  const absent = (key: string) => (atomic: Deno.AtomicOperation) =>
    atomic.check({ key: [key], versionstamp: null }).set(["by", key], newBytes());
  const failing = writer.commit(USER, absent("before"));
  const passing = writer.commit(USER, absent("after"));
  const after = write({ writer }, USER, { key: ["after"], change: newBytes() });
  const outcomes = await Promise.all([before, failing, passing, after]);
  assert.deepEqual(outcomes.map((outcome) => outcome?.ok), [true, false, true, true]);
  assert.deepEqual(scripted.mutations, [["before"], ["by/before"], ["by/after"], ["after"]]);
});

Deno.test("commit() stores nothing if a check fails", async () => {
  await using scripted = await ScriptedKv.open();
  const writer = writerOn(scripted.kv);
  const { ok } = await writer.commit(
    USER,
    (atomic) => atomic.set(["a"], newBytes()).check({ key: ["b"], versionstamp: "00000000000000000001" }),
  );
  assert.equal(ok, false);
  assert.equal((await scripted.real.get(["a"])).value, null);
});

Deno.test("a lane that is held up does not hold the others up", async () => {
  await using scripted = await ScriptedKv.open();
  const writer = writerOn(scripted.kv, 8);
  const gate = holdFirst(scripted);
  const user = (n: number) => `000${n}${USER.slice(4)}`;
  const order: string[] = [];
  const one = (name: string, n: number) =>
    write({ writer }, user(n), { key: [name], change: newBytes() }).then(() => order.push(name));
  const held = [one("held", 0), one("held too", 8)];
  await Promise.all([one("free", 1), one("free too", 7)]);
  gate.open();
  await Promise.all(held);
  assert.deepEqual(order.sort(), ["free", "free too", "held", "held too"]);
  assert.deepEqual(scripted.mutations[0], ["held", "held too"], "users of one lane go together");
});
