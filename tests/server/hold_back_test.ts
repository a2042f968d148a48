/**
 * Tests of refusals that are held back in a flood.
 * @module
 */
import assert from "node:assert/strict";
import { HoldBack } from "../../lib/server/hold_back.ts";
import { ManualClock } from "../support/manual_clock.ts";

const turn = () => new Promise((resolve) => setTimeout(resolve, 0));

Deno.test("wait() lets 50 refusals a second through, holds 512 others for a second, and no more", async () => {
  const clock = new ManualClock();
  const holdBack = new HoldBack(clock);
  let given = 0;
  const refuse = async (count: number) => {
    for (let i = 0; i < count; i++) void holdBack.wait().then(() => given++);
    await turn();
  };
  await refuse(50);
  assert.equal(given, 50);
  await refuse(512);
  assert.equal(given, 50);
  await refuse(10);
  assert.equal(given, 60, "nobody waits beyond the bound");
  clock.advance(999);
  await turn();
  assert.equal(given, 60);
  clock.advance(1);
  await turn();
  assert.equal(given, 572);
  await refuse(51);
  assert.equal(given, 622, "the next second begins anew");
});
