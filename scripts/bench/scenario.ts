/**
 * What every scenario gets and gives.
 * @module
 */
import type { Findings } from "./report.ts";
import type { Settings } from "./settings.ts";

/** What a scenario works with. */
export interface Bench {
  readonly settings: Settings;
  /** Says what was just found. */
  progress(text: string): void;
}

/** One scenario. */
export interface Scenario {
  readonly title: string;
  /** What must have begun long before the scenario: done for all that were chosen, before the first. */
  prepare?(bench: Bench): Promise<void>;
  run(bench: Bench): Promise<Findings>;
}

/** Runs something on a target, and ends the target. */
export async function on<T extends AsyncDisposable, R>(
  starting: Promise<T>,
  work: (target: T) => Promise<R>,
): Promise<R> {
  await using target = await starting;
  return await work(target);
}

/** Runs a number of rounds, one after the other. */
export async function inRounds<R>(rounds: number, work: (round: number) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  for (let round = 1; round <= rounds; round++) results.push(await work(round));
  return results;
}
