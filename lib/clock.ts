/**
 * Time, in one place, so that tests can move it.
 * @module
 */

/** A pending call that can be called off. */
export interface Timer {
  /** Calls it off; harmless if it has already run. */
  cancel(): void;
}

/** What the server knows of time. */
export interface Clock {
  /** The wall clock in milliseconds since the epoch. It may step in either direction. */
  now(): number;
  /** Milliseconds since some fixed moment. It never steps: for rates, deadlines and intervals. */
  monotonic(): number;
  /** Runs `callback` once, after `delayMs` milliseconds. */
  setTimer(delayMs: number, callback: () => void): Timer;
}

/** `setTimeout` fires at once beyond this delay; longer waits are made of several. */
const TIMEOUT_MS_MAX = 2 ** 31 - 1;

/** The clock of the machine. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  setTimer(delayMs, callback) {
    let id: ReturnType<typeof setTimeout>;
    const arm = (leftMs: number) => {
      const isLast = leftMs <= TIMEOUT_MS_MAX;
      id = setTimeout(
        isLast ? callback : () => arm(leftMs - TIMEOUT_MS_MAX),
        isLast ? leftMs : TIMEOUT_MS_MAX,
      );
    };
    arm(Math.max(delayMs, 0));
    return { cancel: () => clearTimeout(id) };
  },
};

/** Waits `delayMs` milliseconds on the given clock. */
export function sleep(clock: Clock, delayMs: number): Promise<void> {
  return new Promise((resolve) => clock.setTimer(delayMs, resolve));
}

/**
 * Waits for `work`, but no longer than `deadlineMs`.
 *
 * @returns what `work` resolved to, or `late` if it did not settle in time. A rejection that comes in time is passed
 * on; one that comes later is dropped, so the caller must not depend on it.
 */
export function withDeadline<T, L>(
  clock: Clock,
  work: Promise<T>,
  deadlineMs: number,
  late: L,
): Promise<T | L> {
  return new Promise((resolve, reject) => {
    const timer = clock.setTimer(deadlineMs, () => resolve(late));
    work.then(resolve, reject).finally(() => timer.cancel());
  });
}
