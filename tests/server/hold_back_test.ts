/**
 * Tests of refusals that are held back in a flood.
 * @module
 */
import assert from "node:assert/strict";
import { HoldBack } from "../../lib/server/hold_back.ts";
import { ManualClock } from "../support/manual_clock.ts";

const turn = () => new Promise((resolve) => setTimeout(resolve, 0));

Deno.test("wait() lets 50 refusals through, then 10 a second, holds 512 others for about a second, and no more", async () => {
  const clock = new ManualClock();
  const holdBack = new HoldBack(clock);
  let given = 0;
  const refuse = async (count: number) => {
    for (let i = 0; i < count; i++) void holdBack.wait().then(() => given++);
    await turn();
  };
  const pass = async (ms: number) => {
    clock.advance(ms);
    await turn();
  };
  await refuse(50);
  assert.equal(given, 50);
  await refuse(512);
  assert.equal(given, 50);
  await refuse(10);
  assert.equal(given, 60, "nobody waits beyond the bound");
  await pass(749);
  assert.equal(given, 60);
  await pass(251);
  assert.ok(given > 60 && given < 572, `${given} at different times`);
  await pass(250);
  assert.equal(given, 572);
  await refuse(13);
  assert.equal(given, 584, "twelve after 1.25 s");
});
