/**
 * `deno task soak`: a real server under fire. Each fault is brought about on a process of its own, and everything that
 * was lost, came twice or out of order is counted, beside the latencies of the healthy clients and the memory.
 * @module
 */
import { Command } from "commander";
import { describeMachine } from "./bench/process_figures.ts";
import { isMet, type Result } from "./bench/report.ts";
import { SCENARIOS } from "./soak/mod.ts";
import { formatReport } from "./soak/report.ts";
import type { FaultScenario, Soak } from "./soak/scenario.ts";
import { FULL, SHORT, type SoakSettings } from "./soak/settings.ts";

interface Options {
  readonly short?: boolean;
  readonly json?: boolean;
  readonly only?: string;
  readonly kills?: boolean;
  readonly messages?: string;
  readonly seconds?: string;
  readonly alive?: string;
}

function fail(text: string): never {
  console.error(`soak: ${text}`);
  Deno.exit(2);
}

function choose({ only, kills }: Options): [string, FaultScenario][] {
  const names = kills ? ["kills"] : only?.split(",").map((name) => name.trim()) ?? Object.keys(SCENARIOS);
  return names.map((name) => {
    const scenario = SCENARIOS[name];
    return scenario === undefined
      ? fail(`--only: found ${name}, allowed: ${Object.keys(SCENARIOS).join(",")}`)
      : [name, scenario];
  });
}

function readCount(flag: string, value: string | undefined, initial: number): number {
  if (value === undefined) return initial;
  return /^[1-9][0-9]{0,9}$/.test(value)
    ? Number(value)
    : fail(`${flag}: found ${value}, allowed: 1 and more`);
}

function chooseSettings({ short, messages, seconds, alive }: Options): SoakSettings {
  const settings = short ? SHORT : FULL;
  return {
    ...settings,
    kills: {
      ...settings.kills,
      messages: readCount("--messages", messages, settings.kills.messages),
      seconds: readCount("--seconds", seconds, settings.kills.seconds),
      aliveMs: alive === undefined ? settings.kills.aliveMs : 1_000 * readCount("--alive", alive, 0),
    },
  };
}

async function runAll(chosen: readonly [string, FaultScenario][], soak: Soak): Promise<Result[]> {
  const results: Result[] = [];
  for (const [name, scenario] of chosen) {
    const startedAt = performance.now();
    const seconds = () => (performance.now() - startedAt) / 1_000;
    const { title } = scenario;
    try {
      results.push({ scenario: name, title, ...await scenario.run(soak), seconds: seconds() });
    } catch (error) {
      const failure = error instanceof Error ? error.stack ?? error.message : String(error);
      results.push({ scenario: name, title, figures: [], notes: [], seconds: seconds(), failure });
    }
    soak.progress(`${name}: done in ${seconds().toFixed(0)} s`);
  }
  return results;
}

async function run(options: Options): Promise<number> {
  const settings = chooseSettings(options);
  const startedAt = performance.now();
  const progress = (text: string) =>
    console.error(`[${((performance.now() - startedAt) / 1_000).toFixed(0).padStart(4)} s] ${text}`);
  const machine = await describeMachine();
  const results = await runAll(choose(options), { settings, progress });
  const rows = results.map((result) => ({
    ...result,
    figures: result.figures.map((row) => ({ ...row, met: isMet(row) })),
  }));
  const deno = Deno.version.deno;
  if (options.json) console.log(JSON.stringify({ machine, deno, settings, results: rows }));
  else {
    const { processor, processors, memoryMib, fsyncMs } = machine;
    const load = Number(machine["loadAverageAtStart"]).toFixed(2);
    console.log(formatReport(results, [
      "",
      `Deno ${deno}, ${processor}, ${processors} processors, ${memoryMib} MiB; fsync ${fsyncMs} ms; ` +
      `load average at the start ${load}`,
    ]));
  }
  const isWell = rows.every(({ failure, figures }) =>
    failure === undefined && figures.every(({ met }) => met !== false)
  );
  return isWell ? 0 : 1;
}

if (import.meta.main) {
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(signal, () => Deno.exit(130)); // what was begun is undone on the way out
  }
  await new Command("soak")
    .description(
      "Hurt a real server, and count what it loses. Names for --only: " + Object.keys(SCENARIOS).join(", "),
    )
    .option("--only <names>", "such as kills,disk_full; default: all")
    .option("--kills", "the same as --only kills")
    .option("--messages <count>", "the kills end when so many messages were sent (default: 1000000)")
    .option("--seconds <count>", "the kills end after so long, however many were sent (default: 3600)")
    .option("--alive <seconds>", "the longest that a server lives before it is killed (default: 20)")
    .option("--short", "small sizes, as in the gate")
    .option("--json", "print one object instead of a table")
    .action(async (options: Options) => Deno.exit(await run(options)))
    .parseAsync(Deno.args, { from: "user" });
}
