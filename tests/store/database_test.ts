/**
 * Tests of the open database: deadlines of reads, snapshots of many keys, watches.
 * @module
 */
import assert from "node:assert/strict";
import type { Clock } from "../../lib/clock.ts";
import { TIMES } from "../../lib/limits.ts";
import { Database, type Entry } from "../../lib/store/database.ts";
import { eventually } from "../support/eventually.ts";
import { ManualClock, ShiftedClock } from "../support/manual_clock.ts";
import { Gate, ScriptedKv } from "./scripted_kv.ts";

const UNAVAILABLE = { name: "RequestError", error: "unavailable", retryAfterMs: 1_000 };

const databaseOn = (kv: Deno.Kv, clock: Clock = new ShiftedClock()) =>
  new Database(kv, kv, clock, false, "test");

/** Stores `[name, 0]`, `[name, 1]`, … with those numbers as bytes. */
async function fill(kv: Deno.Kv, name: string, count: number): Promise<void> {
  for (let i = 0; i < count; i++) await kv.set([name, i], Uint8Array.of(i));
}

const valuesOf = (entries: readonly (Entry | null)[]) => entries.map((entry) => entry?.value);

const READS: Readonly<Record<string, (database: Database) => Promise<unknown>>> = {
  get: (database) => database.get(["a"]),
  getMany: (database) => database.getMany([["a"], ["b"]]),
  getAll: (database) => database.getAll([["a"]]),
  list: (database) => database.list({ prefix: ["a"] }, { limit: 10 }),
};

for (const [name, read] of Object.entries(READS)) {
  Deno.test(`${name}() is given up at the deadline`, async () => {
    await using scripted = await ScriptedKv.open();
    const clock = new ManualClock();
    const gate = new Gate();
    let isHeld = false;
    scripted.afterRead = () => (isHeld = true, gate.passed);
    let outcome = "waiting";
    const reading = read(databaseOn(scripted.kv, clock)).finally(() => outcome = "settled");
    const refused = assert.rejects(reading, UNAVAILABLE);
    await eventually("the database has answered", () => isHeld);
    clock.advance(TIMES.storageDeadlineMs - 1);
    await Promise.resolve();
    assert.equal(outcome, "waiting");
    clock.advance(1);
    await refused;
    gate.open();
  });

  Deno.test(`${name}() tells that storage is unavailable if the database fails`, async () => {
    await using scripted = await ScriptedKv.open();
    scripted.afterRead = () => Promise.reject(new TypeError("disk I/O error"));
    await assert.rejects(read(databaseOn(scripted.kv)), UNAVAILABLE);
  });
}

// Who was told that a read is over must not hear from it any more: what it shows may have been deleted since.
Deno.test("list() tells of no more rows after it was given up", async () => {
  await using scripted = await ScriptedKv.open();
  await fill(scripted.real, "a", 5);
  const clock = new ManualClock();
  const gate = new Gate();
  let rows = 0;
  scripted.beforeRow = () => ++rows <= 2 ? Promise.resolve() : gate.passed;
  const seen: unknown[] = [];
  const wants = (entry: Entry) => seen.push(entry.value) > 0;
  const read = databaseOn(scripted.kv, clock).list({ prefix: ["a"] }, { limit: 10 }, wants);
  const refused = assert.rejects(read, UNAVAILABLE);
  await eventually("the third row is on its way", () => rows === 3);
  clock.advance(TIMES.storageDeadlineMs);
  await refused;
  const before = seen.length;
  gate.open();
  // Whatever is left of the read has run when a later one is over.
  await databaseOn(scripted.kv).list({ prefix: ["a"] }, { limit: 10 });
  assert.equal(before, 2);
  assert.equal(seen.length, before);
});

Deno.test("list() reads in order, as far as the limit or the caller wants", async () => {
  using kv = await Deno.openKv(":memory:");
  await fill(kv, "a", 7);
  await fill(kv, "b", 1);
  const database = databaseOn(kv);
  const all = await database.list({ prefix: ["a"] }, { limit: 100, batchSize: 2 });
  assert.deepEqual(valuesOf(all), [0, 1, 2, 3, 4, 5, 6].map((n) => Uint8Array.of(n)));
  const newest = await database.list({ prefix: ["a"] }, { limit: 2, reverse: true });
  assert.deepEqual(valuesOf(newest), [6, 5].map((n) => Uint8Array.of(n)));
  const some = await database.list({ prefix: ["a"] }, { limit: 100 }, ({ key }) => key[1] !== 3);
  assert.equal(some.length, 4);
});

Deno.test("getAll() reads more keys than one snapshot holds, in their order", async () => {
  using kv = await Deno.openKv(":memory:");
  await fill(kv, "a", 25);
  const keys = Array.from({ length: 27 }, (_, i) => ["a", 26 - i]);
  const entries = await databaseOn(kv).getAll(keys);
  assert.equal(entries.length, 27);
  entries.forEach((entry, i) => assert.deepEqual(entry?.value, i < 2 ? undefined : Uint8Array.of(26 - i)));
});

Deno.test("get() tells an entry that is not there from an empty one", async () => {
  using kv = await Deno.openKv(":memory:");
  await kv.set(["empty"], new Uint8Array(0));
  const database = databaseOn(kv);
  assert.equal(await database.get(["absent"]), null);
  assert.deepEqual((await database.get(["empty"]))?.value, new Uint8Array(0));
});

Deno.test("watch() tells the state at the start, then each change, and ends when told to", async () => {
  using kv = await Deno.openKv(":memory:");
  await kv.set(["a"], Uint8Array.of(1));
  const ended = new AbortController();
  const heard: unknown[][] = [];
  const watching = databaseOn(kv).watch([["a"], ["b"]], ended.signal, (entries) => {
    heard.push(valuesOf(entries));
  });
  await eventually("the state at the start", () => heard.length > 0);
  assert.deepEqual(heard, [[Uint8Array.of(1), undefined]]);
  await kv.set(["b"], Uint8Array.of(2));
  await eventually("the change", () => heard.at(-1)?.[1] !== undefined);
  assert.deepEqual(heard.at(-1), [Uint8Array.of(1), Uint8Array.of(2)]);
  ended.abort();
  await watching;
  const before = heard.length;
  await kv.set(["b"], Uint8Array.of(3));
  await kv.get(["b"]);
  assert.equal(heard.length, before);
});
