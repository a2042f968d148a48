/**
 * `deno task bench`: what the server does, beside what a bare relay, echo or WebSocket server does in the same run.
 * @module
 */
import { Command } from "commander";
import { describeMachine } from "./process_figures.ts";
import { endAll, ENVIRONMENT } from "./processes.ts";
import { formatTable, isMet, type Result } from "./report.ts";
import type { Bench, Scenario } from "./scenario.ts";
import { backlog } from "./scenarios/backlog.ts";
import { churn } from "./scenarios/churn.ts";
import { fastSender } from "./scenarios/fast_sender.ts";
import { growth } from "./scenarios/growth.ts";
import { idle } from "./scenarios/idle.ts";
import { latency } from "./scenarios/latency.ts";
import { preKeys } from "./scenarios/prekeys.ts";
import { manyPairs, onePair } from "./scenarios/relay.ts";
import { slowReader } from "./scenarios/slow_reader.ts";
import { FULL, QUICK } from "./settings.ts";

/** The scenarios, in the order in which they run. */
const SCENARIOS: Readonly<Record<string, Scenario>> = {
  B1: manyPairs,
  B2: onePair,
  B3: latency,
  B4: idle,
  B5: preKeys,
  B6: backlog,
  B7: growth,
  B8: churn,
  B9: slowReader,
  B10: fastSender,
};

/** A run that takes longer is ended, with what it has. */
const RUN_MS_MAX = 12 * 60_000;

interface Options {
  readonly json?: boolean;
  readonly quick?: boolean;
  readonly only?: string;
  readonly engine?: string;
}

const now = () => performance.now();

function choose(only: string | undefined): [string, Scenario][] {
  const names = only?.split(",").map((name) => name.trim().toUpperCase()) ?? Object.keys(SCENARIOS);
  return names.map((name) => {
    const scenario = SCENARIOS[name];
    if (scenario === undefined) {
      console.error(`bench: --only: found ${name}, allowed: ${Object.keys(SCENARIOS).join(",")}`);
      Deno.exit(2);
    }
    return [name, scenario];
  });
}

async function runAll(chosen: readonly [string, Scenario][], bench: Bench): Promise<Result[]> {
  const failures = new Map<Scenario, string>();
  const results: Result[] = [];
  for (const [, scenario] of chosen) {
    await scenario.prepare?.(bench).catch((error) => failures.set(scenario, String(error)));
  }
  for (const [name, scenario] of chosen) {
    const startedAt = now();
    const { title } = scenario;
    const seconds = () => (now() - startedAt) / 1_000;
    try {
      const failure = failures.get(scenario);
      if (failure !== undefined) throw new Error(failure);
      const findings = await scenario.run(bench);
      results.push({ scenario: name, title, ...findings, seconds: seconds() });
    } catch (error) {
      const failure = error instanceof Error ? error.stack ?? error.message : String(error);
      bench.progress(`${name} failed: ${failure}`);
      results.push({ scenario: name, title, figures: [], notes: [], seconds: seconds(), failure });
    }
  }
  return results;
}

async function run(options: Options): Promise<number> {
  const chosen = choose(options.only);
  if (options.engine !== undefined) Deno.env.set("WS_ENGINE", options.engine); // servers inherit it
  const settings = options.quick ? QUICK : FULL;
  const startedAt = now();
  const bench: Bench = {
    settings,
    progress: (text) => console.error(`[${((now() - startedAt) / 1_000).toFixed(0).padStart(3)} s] ${text}`),
  };
  const machine = await describeMachine();
  const results = await runAll(chosen, bench);
  const seconds = Math.round((now() - startedAt) / 1_000);
  const { AUTH_SECRET: _, ...environment } = ENVIRONMENT;
  const deno = Deno.version.deno;
  const engine = Deno.env.get("WS_ENGINE") ?? "deno";
  if (options.json) {
    const judged = results.map((result) => ({
      ...result,
      figures: result.figures.map((row) => ({ ...row, met: isMet(row) })),
    }));
    console.log(
      JSON.stringify({
        machine,
        deno,
        engine,
        seconds,
        quick: !!options.quick,
        settings,
        environment,
        results: judged,
      }),
    );
  } else {
    console.log(formatTable(results, [
      "",
      `Deno ${deno}, ${machine["processor"]}, ${machine["processors"]} processors, ${
        machine["memoryMib"]
      } MiB; ` +
      `fsync ${machine["fsyncMs"]} ms; load average at the start ${
        Number(machine["loadAverageAtStart"]).toFixed(2)
      }; ` +
      `${seconds} s${options.quick ? ", quick: hints only" : ""}; engine ${engine}`,
      "Budgets (RATE_…) are off and mailboxes take 1,000,000 messages. The database is a file; every Ack is behind an " +
      "fsync. The load is one process beside the server.",
      "Behind a figure its rounds. How to read it: scripts/README.md",
    ]));
  }
  return results.some(({ failure }) => failure !== undefined) ? 1 : 0;
}

if (import.meta.main) {
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(signal, () => {
      endAll();
      Deno.exit(130);
    });
  }
  globalThis.addEventListener("unload", endAll);
  setTimeout(() => {
    console.error("bench: took too long, ended");
    endAll();
    Deno.exit(1);
  }, RUN_MS_MAX);
  await new Command("bench")
    .description("Measure the server beside a bare relay, echo and WebSocket server.")
    .option("--json", "print one object instead of a table")
    .option("--quick", "one short round of each: hints only")
    .option("--only <names>", "such as B1,B3")
    .option("--engine <name>", "deno or ws: WS_ENGINE of the servers")
    .action(async (options: Options) => {
      const code = await run(options);
      endAll();
      Deno.exit(code);
    })
    .parseAsync(Deno.args, { from: "user" });
}
