/**
 * Runs seeds for as long as it is told: `deno task simulate --seconds 60`, or one of them again: `--seed 17`.
 *
 * A seed that fails is printed with what it broke, and with how to replay it; `--trace` prints all that happens in it.
 */
import { parseArgs } from "node:util";
import { type Outcome, runWorld } from "./world.ts";

const { values: options } = parseArgs({
  options: {
    seconds: { type: "string", default: "60" },
    first: { type: "string" },
    seed: { type: "string" },
    trace: { type: "boolean", default: false },
  },
});

const print = (line: string) => console.log(line);

function report({ seed, broken, traceHash }: Outcome): void {
  console.error(`seed ${seed} fails, trace ${traceHash.slice(0, 16)}:`);
  for (const line of broken) console.error(`  ${line}`);
  console.error(`again: deno task simulate --seed ${seed} --trace`);
}

const startedAt = Date.now();
const total: Record<string, number> = {};
let [runs, failed] = [0, 0];
let seed = Number(options.seed ?? options.first ?? startedAt % 1_000_000_000);
do {
  const outcome = await runWorld({ seed, ...(options.trace ? { onTrace: print } : {}) });
  runs++;
  for (const [name, figure] of Object.entries(outcome.figures)) total[name] = (total[name] ?? 0) + figure;
  if (options.seed !== undefined) print(`seed ${seed}: trace ${outcome.traceHash.slice(0, 16)}`);
  if (outcome.broken.length > 0) {
    failed++;
    report(outcome);
  }
  seed++;
} while (options.seed === undefined && Date.now() - startedAt < Number(options.seconds) * 1_000);
print(`${runs} runs, ${failed} failed: ${JSON.stringify(total)}`);
if (failed > 0) Deno.exit(1);
