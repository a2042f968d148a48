/**
 * Tests of the writer when the database is slow, locked or refuses: everyone who waits is told once.
 * @module
 */
import assert from "node:assert/strict";
import type { Clock } from "../../lib/clock.ts";
import { RequestError } from "../../lib/errors.ts";
import { QUEUES } from "../../lib/limits.ts";
import { Metrics } from "../../lib/metrics.ts";
import { Database } from "../../lib/store/database.ts";
import { Writer } from "../../lib/store/writer.ts";
import { eventually } from "../support/eventually.ts";
import { ManualClock, ShiftedClock } from "../support/manual_clock.ts";
import { newBytes } from "./open_store.ts";
import { Gate, ScriptedKv } from "./scripted_kv.ts";

const USER = crypto.randomUUID();
const UNAVAILABLE = { name: "RequestError", error: "unavailable" };

function writerOn(kv: Deno.Kv, clock: Clock): Writer {
  return new Writer(new Database(kv, kv, clock, false, "test"), new Metrics(), 1);
}

/** Queues writes; returns what each was told, every time that it was told something. */
function queue(writer: Writer, names: readonly string[], change = newBytes()): Map<string, string[]> {
  const told = new Map(names.map((name): [string, string[]] => [name, []]));
  for (const name of names) {
    const settle = (error: RequestError | null) => void told.get(name)?.push(error?.error ?? "stored");
    writer.write(USER, { mutations: [{ key: [name], change }], settle });
  }
  return told;
}

Deno.test("refuseLate() answers for a late commit, and its lane stays busy until it is over", async () => {
  await using scripted = await ScriptedKv.open();
  const clock = new ManualClock();
  const writer = writerOn(scripted.kv, clock);
  const gate = new Gate();
  scripted.onCommit = async (commit) => (await gate.passed, await commit.run());
  const told = queue(writer, ["a", "b"]);
  await Promise.resolve();
  clock.advance(5_000);
  writer.refuseLate(5_000);
  assert.deepEqual([...told.values()], [[], []], "not late yet");
  clock.advance(1);
  writer.refuseLate(5_000);
  writer.refuseLate(5_000);
  assert.deepEqual([...told.values()], [["unavailable"], ["unavailable"]]);
  assert.equal(writer.metrics.counts.writesFailed, 2);
  const next = queue(writer, ["c"]);
  await Promise.resolve();
  assert.equal(scripted.commits.length, 1, "nothing overtakes a commit whose outcome is not known");
  assert.equal(writer.isIdle, false);
  gate.open();
  await eventually("the lane is free", () => writer.isIdle);
  assert.deepEqual([...told.values(), ...next.values()], [["unavailable"], ["unavailable"], ["stored"]]);
  assert.ok((await scripted.real.get(["a"])).value, "a late commit may still be carried out");
});

Deno.test("refuseLate() refuses what waited too long, and does not write it", async () => {
  await using scripted = await ScriptedKv.open();
  const clock = new ManualClock();
  const writer = writerOn(scripted.kv, clock);
  const gate = new Gate();
  scripted.onCommit = async (commit) => (await gate.passed, await commit.run());
  queue(writer, ["in flight"]);
  await Promise.resolve();
  const old = queue(writer, ["old"]);
  const conditional = assert.rejects(writer.commit(USER, (atomic) => atomic.set(["old too"], newBytes())), {
    ...UNAVAILABLE,
    retryAfterMs: 1_000,
  });
  clock.advance(3_000);
  const young = queue(writer, ["young"]);
  clock.advance(2_001);
  writer.refuseLate(5_000);
  assert.deepEqual(old.get("old"), ["unavailable"]);
  await conditional;
  gate.open();
  await eventually("the lane is free", () => writer.isIdle);
  assert.deepEqual(young.get("young"), ["stored"]);
  assert.deepEqual(scripted.mutations, [["in flight"], ["young"]]);
});

/** Fills a lane whose first commit never ends until it may; then tells how many writes were taken. */
async function fill(names: readonly string[], change: Uint8Array): Promise<number> {
  await using scripted = await ScriptedKv.open();
  const writer = writerOn(scripted.kv, new ManualClock());
  const gate = new Gate();
  scripted.onCommit = async () => (await gate.passed, { ok: true, versionstamp: "00000000000000000001" });
  queue(writer, ["in flight"]);
  await Promise.resolve();
  const told = queue(writer, names, change);
  const refused = [...told.values()].filter((outcomes) => outcomes.length > 0);
  for (const outcomes of refused) assert.deepEqual(outcomes, ["unavailable"], "refused at once");
  gate.open();
  await eventually("the lane is free", () => writer.isIdle);
  for (const outcomes of told.values()) assert.equal(outcomes.length, 1, "told once");
  assert.deepEqual(queue(writer, ["room again"]).get("room again"), []);
  await eventually("the lane is free", () => writer.isIdle);
  return names.length - refused.length;
}

Deno.test("write() refuses when as many writes wait as the bound allows", async () => {
  const names = Array.from({ length: QUEUES.laneWritesMax + 3 }, (_, i) => String(i));
  assert.equal(await fill(names, newBytes(1)), QUEUES.laneWritesMax);
});

Deno.test("write() refuses when as many bytes wait as the bound allows", async () => {
  const names = Array.from({ length: 1_100 }, (_, i) => String(i));
  assert.equal(await fill(names, newBytes(64_000)), Math.floor(QUEUES.laneBytesMax / 64_000));
});

Deno.test("write() fails for all of a batch that the database refuses, and for nobody else", async () => {
  await using scripted = await ScriptedKv.open();
  const writer = writerOn(scripted.kv, new ShiftedClock());
  const told = queue(writer, ["a", "b"]);
  writer.write(USER, {
    mutations: [{ key: ["too large"], change: new Uint8Array(70_000) }],
    settle: () => {},
  });
  await eventually("the batch is over", () => writer.isIdle);
  const after = queue(writer, ["c"]);
  await eventually("the next one is over", () => writer.isIdle);
  assert.deepEqual([...told.values(), ...after.values()], [["unavailable"], ["unavailable"], ["stored"]]);
  assert.equal(scripted.commits.length, 2, "what was refused is not tried again");
});

Deno.test("write() tells that it may have landed, when the database failed over it", async () => {
  await using scripted = await ScriptedKv.open();
  const writer = writerOn(scripted.kv, new ShiftedClock());
  scripted.onCommit = async (commit) => {
    await commit.run();
    throw new TypeError("reset");
  };
  const heard: string[] = [];
  writer.write(USER, {
    mutations: [{ key: ["a"], change: newBytes() }],
    settle: (error) => heard.push(error?.error ?? "stored"),
    landed: () => heard.push("landed"),
  });
  await eventually("the batch is over", () => writer.isIdle && heard.length > 0);
  assert.deepEqual(heard, ["unavailable", "landed"]);
  assert.ok((await scripted.real.get(["a"])).value);
});

Deno.test("write() tells everyone though one of them fails at it", async () => {
  await using scripted = await ScriptedKv.open();
  const writer = writerOn(scripted.kv, new ShiftedClock());
  const before = queue(writer, ["a"]);
  writer.write(USER, {
    mutations: [{ key: ["b"], change: newBytes() }],
    settle: () => {
      throw new Error("a fault of whoever waits");
    },
  });
  const after = queue(writer, ["c"]);
  await eventually("the commit is over", () => writer.isIdle);
  assert.deepEqual([...before.values(), ...after.values()], [["stored"], ["stored"]]);
});

Deno.test("write() tries again while the database is locked, then once more is too often", async () => {
  await using scripted = await ScriptedKv.open();
  const clock = new ManualClock();
  const writer = writerOn(scripted.kv, clock);
  const locked = () => Promise.reject(new TypeError("database is locked"));
  for (const [failures, outcome] of [[5, "stored"], [6, "unavailable"]] as const) {
    const before = scripted.commits.length;
    scripted.onCommit = (commit) => scripted.commits.length - before > failures ? commit.run() : locked();
    const told = queue(writer, [outcome]);
    await eventually("the commit is over", () => (clock.advance(1_000), writer.isIdle));
    assert.deepEqual(told.get(outcome), [outcome]);
    assert.equal(scripted.commits.length - before, 6);
  }
  assert.equal(writer.metrics.counts.writesLocked, 10);
  assert.equal((await scripted.real.get(["unavailable"])).value, null);
});
