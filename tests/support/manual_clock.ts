/** A clock that a test moves. */
import type { Clock, Timer } from "../../lib/clock.ts";

interface Pending {
  readonly at: number;
  readonly callback: () => void;
}

/** A clock whose wall time is shifted against the machine's; timers run in real time. */
export class ShiftedClock implements Clock {
  #shiftMs = 0;

  now(): number {
    return Date.now() + this.#shiftMs;
  }

  monotonic(): number {
    return performance.now();
  }

  setTimer(delayMs: number, callback: () => void): Timer {
    const id = setTimeout(callback, Math.min(delayMs, 2 ** 31 - 1));
    return { cancel: () => clearTimeout(id) };
  }

  /** Steps the wall clock, in either direction. */
  step(ms: number): void {
    this.#shiftMs += ms;
  }
}

/** A clock that stands still until it is moved: then the timers that are due run, in their order. */
export class ManualClock implements Clock {
  #now: number;
  #elapsed = 0;
  readonly #pending = new Set<Pending>();

  constructor(now = Date.UTC(2030, 0, 1)) {
    this.#now = now;
  }

  now(): number {
    return this.#now;
  }

  monotonic(): number {
    return this.#elapsed;
  }

  setTimer(delayMs: number, callback: () => void): Timer {
    const pending = { at: this.#elapsed + Math.max(0, delayMs), callback };
    this.#pending.add(pending);
    return { cancel: () => this.#pending.delete(pending) };
  }

  /** Lets time pass. */
  advance(ms: number): void {
    const until = this.#elapsed + ms;
    for (;;) {
      const next = [...this.#pending].filter(({ at }) => at <= until).sort((a, b) => a.at - b.at)[0];
      if (next === undefined) break;
      this.#pending.delete(next);
      this.#now += next.at - this.#elapsed;
      this.#elapsed = next.at;
      next.callback();
    }
    this.#now += until - this.#elapsed;
    this.#elapsed = until;
  }

  /** Steps the wall clock alone. */
  step(ms: number): void {
    this.#now += ms;
  }
}
