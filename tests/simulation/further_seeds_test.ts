/** The second half of the seeds. */
import { passSeeds, SEEDS } from "./seeds.ts";

Deno.test("every promise holds in the next hundred simulated worlds", () => passSeeds(SEEDS / 2 + 1, SEEDS));
