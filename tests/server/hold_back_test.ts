/**
 * Tests of refusals that are held back in a flood.
 * @module
 */
import assert from "node:assert/strict";
import { HoldBack } from "../../lib/server/hold_back.ts";
import { ManualClock } from "../support/manual_clock.ts";

const turn = () => new Promise((resolve) => setTimeout(resolve, 0));

Deno.test("wait() lets 50 refusals through, then 2 a second, holds 512 others for about two seconds, and no more", async () => {
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
  await pass(1_499);
  assert.equal(given, 60);
  await pass(501);
  assert.ok(given > 60 && given < 572, `${given} at different times`);
  await pass(500);
  assert.equal(given, 572);
  await refuse(6);
  assert.equal(given, 577, "five after 2.5 s");
});
