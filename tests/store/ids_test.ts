/**
 * Tests of ids: they never go back, whatever the clock does, and whoever makes them.
 * @module
 */
import assert from "node:assert/strict";
import fc from "../support/fast_check.ts";
import { TIMES } from "../../lib/limits.ts";
import { Database } from "../../lib/store/database.ts";
import { IdSource } from "../../lib/store/ids.ts";
import { clockKey } from "../../lib/store/keys.ts";
import { eventually } from "../support/eventually.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { Gate, ScriptedKv } from "./scripted_kv.ts";

const HOUR_MS = 3_600_000;

function databaseOn(kv: Deno.Kv, clock: ManualClock): Database {
  return new Database(kv, kv, clock, false, "test");
}

/** The time in an id. */
const msOf = (id: Uint8Array) => parseInt(id.toHex().slice(0, 12), 16);

/** Sees that each id is after the one before it. */
class Ascending {
  last = "";

  add(id: Uint8Array): void {
    const text = id.toHex();
    assert.ok(text > this.last, `${text} comes after ${this.last}`);
    this.last = text;
  }
}

async function readMark(kv: Deno.Kv): Promise<number> {
  const { value } = await kv.get<Deno.KvU64>(clockKey);
  return Number(value?.value);
}

Deno.test("next() makes a UUID of version 7 that has the time in it", async () => {
  using kv = await Deno.openKv(":memory:");
  const clock = new ManualClock();
  const ids = await IdSource.open(databaseOn(kv, clock));
  clock.advance(1_234);
  const id = ids.next();
  assert.equal(id.length, 16);
  assert.deepEqual([(id[6] ?? 0) >> 4, (id[8] ?? 0) >> 6], [7, 2]);
  assert.equal(msOf(id), clock.now());
});

Deno.test("next() goes up over 100,000 ids while the clock steps by hours", async () => {
  using kv = await Deno.openKv(":memory:");
  const clock = new ManualClock();
  const ids = await IdSource.open(databaseOn(kv, clock));
  const ascending = new Ascending();
  for (let i = 0; i < 100_000; i++) {
    ascending.add(ids.next());
    if (i % 1_000 === 999) clock.step(i % 2_000 === 999 ? -HOUR_MS : HOUR_MS);
    if (i % 10_000 === 4_999) await ids.reserve();
    if (i % 7 === 0) clock.advance(1);
  }
  await ids.reserve();
});

Deno.test("open() goes on after the ids of the process before, though the clock went back an hour", async () => {
  using kv = await Deno.openKv(":memory:");
  const clock = new ManualClock();
  const ascending = new Ascending();
  for (let restart = 0; restart < 3; restart++) {
    const ids = await IdSource.open(databaseOn(kv, clock));
    for (let i = 0; i < 1_000; i++) ascending.add(ids.next());
    clock.step(-HOUR_MS);
  }
});

Deno.test("open() reserves a minute ahead, durably", async () => {
  using kv = await Deno.openKv(":memory:");
  const clock = new ManualClock();
  await IdSource.open(databaseOn(kv, clock));
  assert.equal(await readMark(kv), clock.now() + TIMES.idReserveMs);
});

Deno.test("next() never passes what is durably reserved, though the clock leaps ahead", async () => {
  await using scripted = await ScriptedKv.open();
  const clock = new ManualClock();
  const ids = await IdSource.open(databaseOn(scripted.kv, clock));
  const mark = await readMark(scripted.real);
  const gate = new Gate();
  scripted.onCommit = async (commit) => (await gate.passed, await commit.run());
  clock.step(HOUR_MS);
  const ascending = new Ascending();
  for (let i = 0; i < 1_000; i++) {
    const id = ids.next();
    ascending.add(id);
    assert.ok(msOf(id) <= mark, "the reservation is not durable yet");
  }
  assert.equal(scripted.commits.length, 2, "one reservation at a time");
  gate.open();
  await eventually("time goes on", () => {
    const id = ids.next();
    ascending.add(id);
    return msOf(id) === clock.now();
  });
  // A process that stood still on its mark is followed by one that begins beyond it.
  const next = await IdSource.open(databaseOn(scripted.real, new ManualClock(clock.now() - HOUR_MS)));
  ascending.add(next.next());
});

Deno.test("reserve() is tried again after it failed", async () => {
  await using scripted = await ScriptedKv.open();
  const clock = new ManualClock();
  const ids = await IdSource.open(databaseOn(scripted.kv, clock));
  scripted.onCommit = () => Promise.reject(new TypeError("database is locked"));
  clock.advance(HOUR_MS);
  await ids.reserve();
  assert.ok(await readMark(scripted.real) < clock.now());
  scripted.onCommit = (commit) => commit.run();
  await ids.reserve();
  assert.equal(msOf(ids.next()), clock.now());
});

// Without a mark, the next process would begin where this one began.
Deno.test("open() fails if nothing can be reserved", async () => {
  await using scripted = await ScriptedKv.open();
  scripted.onCommit = () => Promise.reject(new TypeError("disk I/O error"));
  await assert.rejects(IdSource.open(databaseOn(scripted.kv, new ManualClock())));
});

type Happening = { kind: "next" | "reserve" | "restart" } | { kind: "step"; ms: number } | {
  kind: "advance";
  ms: number;
};

Deno.test("next() goes up through any steps of the clock, restarts and reservations", async () => {
  const happening: fc.Arbitrary<Happening> = fc.oneof(
    { weight: 5, arbitrary: fc.constant<Happening>({ kind: "next" }) },
    fc.constant<Happening>({ kind: "reserve" }),
    fc.constant<Happening>({ kind: "restart" }),
    fc.record({
      kind: fc.constant("step" as const),
      ms: fc.integer({ min: -2 * HOUR_MS, max: 2 * HOUR_MS }),
    }),
    fc.record({
      kind: fc.constant("advance" as const),
      ms: fc.integer({ min: 0, max: 2 * TIMES.idReserveMs }),
    }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(happening, { maxLength: 60 }), async (events) => {
      using kv = await Deno.openKv(":memory:");
      const clock = new ManualClock();
      let ids = await IdSource.open(databaseOn(kv, clock));
      const ascending = new Ascending();
      for (const event of events) {
        if (event.kind === "next") ascending.add(ids.next());
        else if (event.kind === "reserve") await ids.reserve();
        else if (event.kind === "restart") ids = await IdSource.open(databaseOn(kv, clock));
        else if (event.kind === "step") clock.step(event.ms);
        else if (event.kind === "advance") clock.advance(event.ms);
      }
      await ids.reserve();
    }),
    { numRuns: 100 },
  );
});
