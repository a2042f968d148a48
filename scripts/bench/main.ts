/**
 * `deno task bench`: what the server does a second, beside what a bare relay does in the same run.
 * @module
 */
import { Command } from "commander";
import { runPairs } from "./pairs.ts";
import { startRelayProcess, startServerProcess, type Target } from "./processes.ts";

/** The scenarios, each with what it is judged by. */
const SCENARIOS = {
  B1: { title: "50 pairs, 16 unacknowledged each, 300 bytes", pairs: 50, unacknowledged: 16 },
  B2: { title: "1 pair, 64 unacknowledged, 300 bytes", pairs: 1, unacknowledged: 64 },
} as const;

type ScenarioName = keyof typeof SCENARIOS;

interface Result {
  readonly scenario: ScenarioName;
  readonly title: string;
  /** Messages delivered a second, the median of the rounds. */
  readonly server: number;
  readonly relay: number;
  /** The median of the rounds' own ratios. */
  readonly ratio: number;
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;

async function measure(name: ScenarioName, rounds: number, measureMs: number): Promise<Result> {
  const { title, pairs, unacknowledged } = SCENARIOS[name];
  const load = { pairs, unacknowledged, ciphertextBytes: 300, warmUpMs: 1_500, measureMs };
  const run = async (start: () => Promise<Target>) => {
    await using target = await start();
    return await runPairs(target, load);
  };
  const results: { server: number; relay: number }[] = [];
  for (let round = 1; round <= rounds; round++) {
    const server = await run(startServerProcess);
    const relay = await run(startRelayProcess);
    results.push({ server, relay });
    console.error(
      `${name} round ${round} of ${rounds}: server ${server.toFixed(0)}/s, relay ${relay.toFixed(0)}/s`,
    );
  }
  return {
    scenario: name,
    title,
    server: median(results.map(({ server }) => server)),
    relay: median(results.map(({ relay }) => relay)),
    ratio: median(results.map(({ server, relay }) => server / relay)),
  };
}

async function bench(options: { json?: boolean; quick?: boolean; only?: string }): Promise<void> {
  const names = (options.only?.split(",") ?? Object.keys(SCENARIOS)).filter((name) => name in SCENARIOS);
  if (names.length === 0) {
    throw new Error(`--only: found ${options.only}, allowed: ${Object.keys(SCENARIOS)}`);
  }
  const [rounds, measureMs] = options.quick ? [1, 3_000] : [3, 6_000];
  const results: Result[] = [];
  for (const name of names) results.push(await measure(name as ScenarioName, rounds, measureMs));
  if (options.json) return console.log(JSON.stringify({ deno: Deno.version.deno, results }, null, 2));
  console.log(
    "\nMessages delivered a second, version 1: one envelope a frame on both sides. Budgets are off.\n",
  );
  for (const { scenario, title, server, relay, ratio } of results) {
    console.log(
      `${scenario}  ${title.padEnd(46)} server ${server.toFixed(0).padStart(7)}  relay ${
        relay.toFixed(0).padStart(7)
      }` +
        `  ratio ${ratio.toFixed(2)}`,
    );
  }
}

if (import.meta.main) {
  await new Command("bench")
    .description("Measure the server beside a bare relay.")
    .option("--json", "print one object instead of a table")
    .option("--quick", "one short round of each")
    .option("--only <names>", "such as B1,B2")
    .action(bench)
    .parseAsync(Deno.args, { from: "user" });
  Deno.exit(0);
}
