/**
 * A clock that leaps: like a machine that was asleep, it runs what became due meanwhile at the end of the leap. So what
 * these timers begin has its whole deadline before it, which it has not on a clock that passes every moment.
 * @module
 */
import type { Clock, Timer } from "../../lib/clock.ts";

interface Pending {
  readonly at: number;
  readonly callback: () => void;
}

/** Stands still until it leaps. */
export class LeapingClock implements Clock {
  #elapsed = 0;
  readonly #pending = new Set<Pending>();

  now(): number {
    return Date.UTC(2030, 0, 1) + this.#elapsed;
  }

  monotonic(): number {
    return this.#elapsed;
  }

  setTimer(delayMs: number, callback: () => void): Timer {
    const pending = { at: this.#elapsed + Math.max(0, delayMs), callback };
    this.#pending.add(pending);
    return { cancel: () => this.#pending.delete(pending) };
  }

  /** Leaps, then lets what was begun by that ask the database a few times. */
  async leap(ms: number): Promise<void> {
    this.#elapsed += ms;
    const due = [...this.#pending].filter(({ at }) => at <= this.#elapsed).sort((a, b) => a.at - b.at);
    for (const pending of due) if (this.#pending.delete(pending)) pending.callback();
    for (let turns = 0; turns < 10; turns++) await new Promise((resolve) => setTimeout(resolve, 0));
  }
}
