/**
 * Measures what a flood of one account costs the others: their throughput, and their p99 at a steady load.
 *
 * Everything shares the processors of one machine, so a flood costs something wherever it goes. Each measurement is made
 * three times in turn: with no flood, with the flood against an idle bare server, and with it against the server itself.
 * What the flood alone has its target do, in processors, is the figure that a busy machine disturbs least.
 * @module
 */
import { Command } from "commander";
import { makeRecipients } from "../bench/fleet.ts";
import { runPairs } from "../bench/pairs.ts";
import { describeMachine, wait, watchProcessors } from "../bench/process_figures.ts";
import {
  benchToken,
  endAll,
  ENVIRONMENT,
  makeFolder,
  startEcho,
  startProgram,
  startServer,
  type Target,
} from "../bench/processes.ts";
import { fill, makeUsers } from "../bench/seed.ts";
import { median } from "../bench/statistics.ts";
import { runSteady } from "../bench/steady.ts";
import { FLOODS } from "./traffic.ts";

/** The budgets are those that a server has by default; only what one may send to one other is not limited. */
const SETTINGS = {
  ...Object.fromEntries(
    Object.entries(ENVIRONMENT).filter(([name]) => !/^(RATE|MAILBOX)_/.test(name) || name === "RATE_PAIR"),
  ),
  TRUSTED_PROXIES: "127.0.0.1",
};

const PAIRS = 50;
const PAIRS_LOAD = { version: 2, unacknowledged: 8, ciphertextBytes: 300, warmUpMs: 500 } as const;
const STEADY_LOAD = { messagesPerSecond: 300, ciphertextBytes: 300, warmUpMs: 500 } as const;

/** How long a flood goes on before it is measured: what a user has saved up is used, as far as that goes. */
const SETTLE_MS = 4_000;

/** How long the flood is watched alone: longer than it takes until the attacker is let in again. */
const WATCH_MS = 11_000;

/** What waits for the attacker's second account. */
const WAITING = 2_000;

/** The whole run, at most. */
const RUN_MS_MAX = 60 * 60_000;

/** Where the flood goes. */
const PLACES = ["none", "idle", "server"] as const;
type Place = typeof PLACES[number];

interface Figures {
  /** Processors that the target of the flood keeps busy while nobody else is there; without a flood, the server. */
  readonly busy: number;
  /** Delivered a second, of a closed load. */
  readonly rate: number;
  /** Milliseconds, of an open load. */
  readonly p99: number;
}

async function startFlood(kind: string, url: string, victim: string, accomplice: string): Promise<Target> {
  const [user = ""] = makeUsers(1);
  const tokens = [await benchToken(user), await benchToken(accomplice)];
  return await startProgram("attacker", "../floods/attacker.ts", [
    kind,
    url,
    victim,
    accomplice,
    user,
    ...tokens,
  ]);
}

async function measure(kind: string, place: Place, measureMs: number): Promise<Figures> {
  const { recipients, seed } = makeRecipients(PAIRS);
  const [victim = "", accomplice = ""] = makeUsers(2);
  const folder = makeFolder();
  const others = [{ userId: victim, preKeys: 500 }, { userId: accomplice, waiting: WAITING }];
  await fill(folder, { devices: [...seed.devices ?? [], ...others] });
  await using server = await startServer(folder, false, SETTINGS);
  await using idle = await startEcho();
  await using _flood = place === "none"
    ? null
    : await startFlood(kind, (place === "idle" ? idle : server).url, victim, accomplice);
  await wait(SETTLE_MS);
  const watched = await watchProcessors(place === "idle" ? idle : server);
  await wait(WATCH_MS);
  const { target: busy } = await watched();
  const rate = await runPairs(server, { ...PAIRS_LOAD, recipients, measureMs }).then(
    ({ rate }) => rate,
    (error) => {
      if (/delivered nothing/.test(String(error))) return 0;
      throw error;
    },
  );
  const { p99 } = await runSteady(server, { ...STEADY_LOAD, recipients, measureMs });
  return { busy, rate, p99 };
}

interface Row {
  readonly kind: string;
  readonly about: string;
  readonly rounds: readonly Readonly<Record<Place, Figures>>[];
}

const percent = (ratio: number) => `${ratio >= 1 ? "+" : "−"}${Math.abs((ratio - 1) * 100).toFixed(0)} %`;

function describe({ kind, about, rounds }: Row): string {
  const of = (place: Place, what: keyof Figures) => median(rounds.map((round) => round[place][what]));
  const ratio = (what: keyof Figures, to: Place) =>
    percent(median(rounds.map((round) => round.server[what] / round[to][what])));
  const three = (what: keyof Figures, digits: number) =>
    PLACES.map((place) => of(place, what).toFixed(digits)).join(" / ");
  return `| ${kind} | ${about} | ${three("busy", 2)} | ${three("rate", 0)} | ${ratio("rate", "idle")} | ${
    three("p99", 1)
  } | ${ratio("p99", "idle")} |`;
}

async function run(options: { readonly only?: string; readonly rounds: string; readonly ms: string }) {
  const kinds = options.only?.split(",") ?? Object.keys(FLOODS);
  const machine = await describeMachine();
  const load = Number(machine["loadAverageAtStart"]).toFixed(1);
  console.log(`${machine["processors"]} processors, load average ${load} at the start\n`);
  console.log(
    "Each three times: no flood / the flood goes to an idle bare server / it goes to the server.\n",
  );
  console.log("| flood | what | processors | delivered/s | ÷ idle | p99 ms | ÷ idle |");
  console.log("|---|---|---|---|---|---|---|");
  for (const kind of kinds) {
    const rounds: Record<Place, Figures>[] = [];
    for (let i = 0; i < Number(options.rounds); i++) {
      const round: Partial<Record<Place, Figures>> = {};
      for (const place of PLACES) round[place] = await measure(kind, place, Number(options.ms));
      rounds.push(round as Record<Place, Figures>);
    }
    const about = FLOODS[kind]?.({ victim: crypto.randomUUID(), accomplice: crypto.randomUUID() }).about ??
      "";
    console.log(describe({ kind, about, rounds }));
  }
}

if (import.meta.main) {
  globalThis.addEventListener("unload", endAll);
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(signal, () => {
      endAll();
      Deno.exit(130);
    });
  }
  setTimeout(() => Deno.exit(1), RUN_MS_MAX);
  await new Command("floods")
    .description("Measure what a flood of one account costs the others.")
    .option("--only <names>", `some of ${Object.keys(FLOODS).join(",")}`)
    .option("--rounds <n>", "rounds of each", "3")
    .option("--ms <n>", "how long each measurement takes", "3000")
    .action(run)
    .parseAsync(Deno.args, { from: "user" });
  endAll();
  Deno.exit(0);
}
