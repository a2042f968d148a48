/**
 * Sends what nobody should send, for as long as one likes: `deno task fuzz --seconds 600`.
 *
 * Every round has a seed of its own; the one that fails is printed with the command that runs it again.
 */
import { parseArgs } from "node:util";
import { RoundError, runRounds } from "./rounds.ts";
import { TARGETS } from "./targets.ts";

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "60" },
    seed: { type: "string" },
    only: { type: "string" },
  },
});
const names = TARGETS.map(({ name }) => name);
const wanted = values.only?.split(",") ?? names;
const seconds = Number(values.seconds);
const seed = values.seed === undefined
  ? crypto.getRandomValues(new Uint32Array(1))[0] ?? 0
  : Number(values.seed);
const isSeed = Number.isInteger(seed) && seed >= 0 && seed <= 0xffff_ffff;
if (!wanted.every((name) => names.includes(name)) || !(seconds >= 0) || !isSeed) {
  console.error(`deno task fuzz [--seconds 60] [--seed 1] [--only ${names.join(",")}]`);
  Deno.exit(2);
}
console.log(`seed ${seed}`);
try {
  for (const target of TARGETS.filter(({ name }) => wanted.includes(name))) {
    await runRounds(target, seed, seconds * 1_000 / wanted.length, console.log);
  }
} catch (error) {
  console.error(error instanceof RoundError ? error.message : error);
  Deno.exit(1);
}
