/**
 * Tests of commits that come through after those who waited for them have given up.
 * @module
 */
import assert from "node:assert/strict";
import { eventually } from "../support/eventually.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { openStore } from "./open_store.ts";
import { Gate, ScriptedKv } from "./scripted_kv.ts";

const USER = "0e7e3a0c-0000-4000-8000-000000000001";

Deno.test("write() that was given up tells when it became durable after all", async () => {
  const clock = new ManualClock();
  await using scripted = await ScriptedKv.open();
  await using store = await openStore({ kv: scripted.kv, clock });
  const gate = new Gate();
  scripted.onCommit = async (commit) => {
    await gate.passed;
    return await commit.run();
  };
  const told: string[] = [];
  store.writer.write(USER, {
    mutations: [{ key: ["late"], change: Uint8Array.of(1) }],
    settle: (error) => told.push(error?.error ?? "durable"),
    landed: () => told.push("landed"),
  });
  await new Promise((resolve) => setTimeout(resolve));
  clock.advance(5_001);
  store.writer.refuseLate(5_000);
  assert.deepEqual(told, ["unavailable"]);
  gate.open();
  await eventually("it is durable", () => told.length === 2);
  assert.deepEqual(told, ["unavailable", "landed"]);
});
