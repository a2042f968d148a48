/** A bug that is planted is found within the seeds that every change must pass. */
import assert from "node:assert/strict";
import { PLANTED_BUGS } from "./planted_bugs.ts";
import { SEEDS } from "./seeds.ts";
import { runWorld } from "./world.ts";

for (const [what, bug] of Object.entries(PLANTED_BUGS)) {
  Deno.test(`it is found that ${what}`, async () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      const { broken } = await runWorld({ seed, bug });
      if (broken.length > 0) return;
    }
    assert.fail(`none of ${SEEDS} seeds finds it`);
  });
}
