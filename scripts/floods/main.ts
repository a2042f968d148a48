/**
 * Measures what a flood of one account costs the others: their throughput, and their p99 at a steady load.
 *
 * Everything shares the processors of one machine, so a flood costs something wherever it goes. So the others are measured
 * with no flood, with the flood against an idle bare server, and with it against the server itself.
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

/** How long the flood is watched alone, where there is one. */
const WATCH_MS = 10_000;

/** How long the others' latencies are watched, at least; at the server longer than until the attacker is let in again. */
const BESIDE_MS = { none: 20_000, idle: 10_000, server: 55_000 } as const;

/** What waits for the attacker's second account. */
const WAITING = 2_000;

/** The whole run, at most. */
const RUN_MS_MAX = 3 * 60 * 60_000;

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
  readonly longest: number;
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

/** Whoever is refused or gets nothing while storage or the event loop starve: the flood has won. */
function orStarved<T>(measured: Promise<T>, starved: T): Promise<T> {
  return measured.catch((error) => {
    if (/delivered nothing|refused a send/.test(String(error))) return starved;
    throw error;
  });
}

async function measure(kind: string | null, place: Place, measureMs: number): Promise<Figures> {
  const { recipients, seed } = makeRecipients(PAIRS);
  const [victim = "", accomplice = ""] = makeUsers(2);
  const folder = makeFolder();
  const others = [{ userId: victim, preKeys: 500 }, { userId: accomplice, waiting: WAITING }];
  await fill(folder, { devices: [...seed.devices ?? [], ...others] });
  await using server = await startServer(folder, false, SETTINGS);
  await using idle = await startEcho();
  await using _flood = kind === null
    ? null
    : await startFlood(kind, (place === "idle" ? idle : server).url, victim, accomplice);
  await wait(SETTLE_MS);
  const watched = await watchProcessors(place === "idle" ? idle : server);
  if (kind !== null) await wait(WATCH_MS);
  const { target: busy } = await watched();
  const pairs = runPairs(server, { ...PAIRS_LOAD, recipients, measureMs });
  const { rate } = await orStarved<{ rate: number }>(pairs, { rate: 0 });
  const besideMs = Math.max(BESIDE_MS[place], measureMs);
  const steady = runSteady(server, { ...STEADY_LOAD, recipients, measureMs: besideMs });
  const never = Number.POSITIVE_INFINITY;
  const { p99, longest } = await orStarved<Pick<Figures, "p99" | "longest">>(steady, {
    p99: never,
    longest: never,
  });
  return { busy, rate, p99, longest };
}

interface Row {
  readonly kind: string;
  readonly rounds: readonly Readonly<Record<Place, Figures>>[];
}

const percent = (ratio: number) => `${ratio >= 1 ? "+" : "−"}${Math.abs((ratio - 1) * 100).toFixed(0)} %`;

const figure = (value: number, digits: number) => Number.isFinite(value) ? value.toFixed(digits) : "never";

function describe({ kind, rounds }: Row): string {
  const of = (place: Place, what: keyof Figures) => median(rounds.map((round) => round[place][what]));
  const ratio = (what: keyof Figures, to: Place) =>
    percent(median(rounds.map((round) => round.server[what] / round[to][what])));
  const three = (what: keyof Figures, digits: number) =>
    PLACES.map((place) => figure(of(place, what), digits)).join(" / ");
  const two = (what: keyof Figures) => `${ratio(what, "none")}, ${ratio(what, "idle")}`;
  const about = FLOODS[kind]?.({ victim: crypto.randomUUID(), accomplice: crypto.randomUUID() }).about ?? "";
  return `| ${kind} | ${about} | ${three("busy", 2)} | ${three("rate", 0)} | ${two("rate")} | ${
    three("p99", 1)
  } | ${two("p99")} | ${three("longest", 0)} |`;
}

interface Options {
  readonly only?: string;
  readonly engine?: string;
  readonly rounds: string;
  readonly ms: string;
}

async function run(options: Options) {
  const kinds = options.only?.split(",") ?? Object.keys(FLOODS);
  if (options.engine !== undefined) Deno.env.set("WS_ENGINE", options.engine); // servers inherit it
  const machine = await describeMachine();
  const load = Number(machine["loadAverageAtStart"]).toFixed(1);
  console.log(`${machine["processors"]} processors, load average ${load} at the start\n`);
  console.log("No flood / the flood goes to an idle bare server / it goes to the server.\n");
  console.log(
    "| flood | what | processors | delivered/s | ÷ none, idle | p99 ms | ÷ none, idle | longest ms |",
  );
  console.log("|---|---|---|---|---|---|---|---|");
  const measureMs = Number(options.ms);
  for (const kind of kinds) {
    const rounds: Record<Place, Figures>[] = [];
    for (let i = 0; i < Number(options.rounds); i++) {
      const none = await measure(null, "none", measureMs);
      const idle = await measure(kind, "idle", measureMs);
      rounds.push({ none, idle, server: await measure(kind, "server", measureMs) });
    }
    console.log(describe({ kind, rounds }));
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
    .option("--ms <n>", "how long each measurement takes, but for p99", "8000")
    .option("--engine <name>", "deno or ws: WS_ENGINE of the servers")
    .action(run)
    .parseAsync(Deno.args, { from: "user" });
  endAll();
  Deno.exit(0);
}
