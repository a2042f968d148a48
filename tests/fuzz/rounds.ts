/** Rounds of a target, one seed after the other; and how the one that failed is run again. */
import type { OpenTarget, Target } from "./target.ts";

/** How often it is told how far it is. */
const REPORT_MS = 10_000;

/** A round failed. The message has the command that runs it again. */
export class RoundError extends Error {
  override readonly name = "RoundError";

  constructor(target: string, seed: number, cause: unknown) {
    const what = cause instanceof Error ? cause.stack ?? cause.message : String(cause);
    super(`${what}\n\nTo run it again: deno task fuzz --only ${target} --seed ${seed} --seconds 0\n`, {
      cause,
    });
  }
}

/** Runs one round. @throws {RoundError} */
export async function runRound(name: string, open: OpenTarget, seed: number): Promise<void> {
  try {
    await open.run(seed);
  } catch (error) {
    throw new RoundError(name, seed, error);
  }
}

/**
 * Runs rounds until the time is up, one at least.
 *
 * @param tell told now and then, and at the end, how far it is.
 * @throws {RoundError} at the first that fails.
 */
export async function runRounds(
  target: Target,
  firstSeed: number,
  ms: number,
  tell: (line: string) => void,
): Promise<void> {
  const startedAt = performance.now();
  let reportedAt = startedAt;
  let rounds = 0;
  await using open = await target.open();
  const report = () => {
    const seconds = ((performance.now() - startedAt) / 1_000).toFixed(1);
    tell(`${target.name}: ${rounds} rounds in ${seconds} s; ${open.describe()}`);
  };
  do {
    await runRound(target.name, open, (firstSeed + rounds) >>> 0);
    rounds++;
    if (performance.now() - reportedAt > REPORT_MS) {
      reportedAt = performance.now();
      report();
    }
  } while (performance.now() - startedAt < ms);
  report();
}
