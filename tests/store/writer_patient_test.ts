/**
 * Tests of writes that nobody waits for: they keep their place however late they are, and are told the truth.
 * @module
 */
import assert from "node:assert/strict";
import type { RequestError } from "../../lib/errors.ts";
import { eventually } from "../support/eventually.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { openStore } from "./open_store.ts";
import { Gate, ScriptedKv } from "./scripted_kv.ts";

const USER = "0e7e3a0c-0000-4000-8000-000000000001";
const LATE_MS = 5_001;

const turn = () => new Promise((resolve) => setTimeout(resolve));

/** A store whose commits wait at a gate, and a way to queue writes and hear what they are told. */
async function lateStore() {
  const clock = new ManualClock();
  const scripted = await ScriptedKv.open();
  const store = await openStore({ kv: scripted.kv, clock });
  const gate = new Gate();
  scripted.onCommit = async (commit) => {
    await gate.passed;
    return await commit.run();
  };
  const told: string[] = [];
  const write = (name: string, isPatient: boolean) =>
    store.writer.write(USER, {
      mutations: [{ key: [name], change: Uint8Array.of(1) }],
      isPatient,
      settle: (error: RequestError | null) => told.push(`${name} ${error?.error ?? "stored"}`),
      landed: () => told.push(`${name} landed`),
    });
  return {
    clock,
    scripted,
    store,
    gate,
    told,
    write,
    async [Symbol.asyncDispose](): Promise<void> {
      await store[Symbol.asyncDispose]();
      await scripted[Symbol.asyncDispose]();
    },
  };
}

Deno.test("a patient write under way is told when it is durable, and not before", async () => {
  await using late = await lateStore();
  late.write("patient", true);
  late.write("other", false);
  await turn();
  late.clock.advance(LATE_MS);
  late.store.writer.refuseLate(5_000);
  assert.deepEqual(late.told, ["other unavailable"]);
  late.gate.open();
  await eventually("both are durable", () => late.told.length === 3);
  assert.deepEqual(late.told, ["other unavailable", "patient stored", "other landed"]);
});

Deno.test("a patient write under way that fails is told so, once", async () => {
  await using late = await lateStore();
  late.scripted.onCommit = async () => {
    await late.gate.passed;
    throw new Error("disk full");
  };
  late.write("patient", true);
  await turn();
  late.clock.advance(LATE_MS);
  late.store.writer.refuseLate(5_000);
  assert.deepEqual(late.told, []);
  late.gate.open();
  await eventually("it is told", () => late.told.length > 0);
  await turn();
  assert.deepEqual(late.told, ["patient unavailable"]);
});

Deno.test("patient writes that wait keep their places, however often the others are refused", async () => {
  await using late = await lateStore();
  late.write("in flight", true);
  await turn();
  for (let n = 0; n < 3_000; n++) late.write(`${n}`, n % 3 !== 0);
  for (let times = 0; times < 10; times++) {
    late.clock.advance(LATE_MS);
    late.store.writer.refuseLate(5_000);
  }
  assert.equal(late.told.filter((text) => text.endsWith("unavailable")).length, 1_000);
  late.write("young", false);
  late.gate.open();
  await eventually("the lane is free", () => late.store.writer.isIdle);
  const stored = late.told.filter((text) => text.endsWith("stored")).map((text) =>
    text.replace(" stored", "")
  );
  const waited = Array.from({ length: 3_000 }, (_, n) => n).filter((n) => n % 3 !== 0).map(String);
  assert.deepEqual(stored, ["in flight", ...waited, "young"]);
});
