/** What every fault gets and gives, and the figures that all of them give. */
import { atMost, type Figure, figure, type Findings } from "../bench/report.ts";
import type { Latencies } from "./latencies.ts";
import type { SoakSettings } from "./settings.ts";
import type { Tally } from "./tally.ts";
import type { Victim } from "./victim.ts";

/** What a fault works with. */
export interface Soak {
  readonly settings: SoakSettings;
  /** Says what was just done. */
  progress(text: string): void;
}

/** One fault: brings it about, and counts what came of it. */
export interface FaultScenario {
  readonly title: string;
  run(soak: Soak): Promise<Findings>;
}

/** What happened, and what must never happen. */
export function countFigures(tally: Tally, victim: Victim): Figure[] {
  const faults = Object.entries(tally.faults).map(([name, count]) => figure(name, "", [count], atMost(0)));
  return [
    figure("sent", "", [tally.sent]),
    figure("accepted", "", [tally.accepted]),
    figure("delivered", "", [tally.delivered]),
    ...faults,
    figure("incidents in the log", "", [victim.incidents.length], atMost(0)),
    figure("MiB most", "MiB", [victim.peakMib]),
  ];
}

/** How long the messages of the healthy clients took, from due to delivered. */
export function latencyFigures(when: string, latencies: Latencies): Figure[] {
  return [
    figure(`p50 ${when}`, "ms", [latencies.quantile(0.5)]),
    figure(`p99 ${when}`, "ms", [latencies.quantile(0.99)]),
  ];
}

/** What one must know beside the figures. */
export function countNotes(tally: Tally, victim: Victim): string[] {
  const list = (counts: ReadonlyMap<number, number>) =>
    [...counts].map(([key, count]) => `${key}: ${count}`).join(", ") || "none";
  return [
    `errors told to clients: ${list(tally.errors)}; upgrades refused: ${list(tally.refusals)}`,
    `${tally.connected} connections, ${tally.disconnected} ended by the server or the fault`,
    ...tally.cases,
    ...victim.incidents.slice(0, 3),
  ];
}
