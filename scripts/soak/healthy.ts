/**
 * The healthy clients beside a fault: their latencies before, during and after it, and the memory of the server.
 * @module
 */
import { wait } from "../bench/process_figures.ts";
import type { Figure } from "../bench/report.ts";
import { atMost, figure } from "../bench/report.ts";
import { Load } from "./load.ts";
import { countFigures, countNotes, latencyFigures, type Soak } from "./scenario.ts";
import type { Victim } from "./victim.ts";

/** What was found beside a fault. */
export interface Beside<T> {
  readonly figures: readonly Figure[];
  readonly notes: readonly string[];
  /** What the fault itself gave. */
  readonly result: T;
}

/** What differs from other faults. */
export interface BesideOptions {
  /** Whether the fault ends connections of healthy clients. Default: it must not. */
  readonly endsConnections?: boolean;
}

/** Has healthy clients write to each other at a steady rate while a fault is brought about. */
export async function besideHealthy<T>(
  { settings, progress }: Soak,
  victim: Victim,
  fault: (load: Load) => Promise<T>,
  options: BesideOptions = {},
): Promise<Beside<T>> {
  const { pairs, messagesPerSecond, beforeMs } = settings.healthy;
  await using load = await Load.start(victim, { pairs });
  load.pace(messagesPerSecond);
  await wait(beforeMs);
  const memoryBefore = await victim.residentMib();
  const before = load.tally.cut();
  progress(`before: p99 ${before.delivery.quantile(0.99).toFixed(0)} ms, ${memoryBefore.toFixed(0)} MiB`);
  const result = await fault(load);
  const during = load.tally.cut();
  progress(`during: p99 ${during.delivery.quantile(0.99).toFixed(0)} ms, ${load.tally.faultCount} faults`);
  await wait(beforeMs);
  const memoryAfter = victim.isRunning ? await victim.residentMib() : Number.NaN;
  const after = load.tally.cut();
  await load.settle();
  const tally = await load.end();
  return {
    result,
    figures: [
      ...countFigures(tally, victim),
      figure(
        "healthy connections that ended",
        "",
        [tally.disconnected],
        options.endsConnections === true ? undefined : atMost(0),
      ),
      figure("MiB before", "MiB", [memoryBefore]),
      figure("MiB after", "MiB", [memoryAfter]),
      ...latencyFigures("before", before.delivery),
      ...latencyFigures("during", during.delivery),
      ...latencyFigures("after", after.delivery),
      figure("longest", "ms", [Math.max(during.delivery.longest, after.delivery.longest)]),
      figure("longest wait for an answer, during", "ms", [during.answers.longest]),
      figure("longest wait for a refusal, during", "ms", [during.refusedAfter.longest]),
    ],
    notes: [
      ...countNotes(tally, victim),
      `${load.notSent} messages were due while a client was not connected`,
    ],
  };
}
