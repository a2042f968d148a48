/** The seeds that every change must pass, shared out so that they run beside each other. */
import assert from "node:assert/strict";
import { runWorld } from "./world.ts";

/** How many there are. */
export const SEEDS = 200;

/** Runs seeds, and fails with the first that breaks a promise. */
export async function passSeeds(first: number, last: number): Promise<void> {
  let deliveries = 0;
  for (let seed = first; seed <= last; seed++) {
    const { broken, figures } = await runWorld({ seed });
    assert.deepEqual(broken, [], `deno task simulate --seed ${seed} --trace`);
    deliveries += figures["deliveries"] ?? 0;
  }
  // A world in which nothing happens keeps every promise.
  assert.ok(deliveries > 20 * (last - first), `only ${deliveries} messages were delivered`);
}
