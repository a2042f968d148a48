/**
 * What happens next: one event after another, at moments of a time of its own.
 *
 * An event runs, then everything that it set free by promises; only then the next one. Within a turn the order is that
 * of the engine's queue of microtasks, which depends on nothing outside. Which of two events of one moment goes first
 * is left to the seed.
 */
import { createHash } from "node:crypto";
import { setImmediate } from "node:timers";
import type { Clock, Timer } from "../../lib/clock.ts";
import type { Random } from "./random.ts";

interface Event {
  readonly at: number;
  readonly order: number;
  readonly number: number;
  /** `null` once it was called off. */
  run: (() => void) | null;
}

const isBefore = (a: Event, b: Event) =>
  a.at !== b.at ? a.at < b.at : a.order !== b.order ? a.order < b.order : a.number < b.number;

/** The events of one run. */
export class Scheduler {
  /** Milliseconds since the run began. */
  elapsed = 0;
  /** Events that ran. */
  count = 0;
  /** Told every line of the trace; for people. */
  onTrace: ((line: string) => void) | null = null;
  readonly #heap: Event[] = [];
  readonly #hash = createHash("sha256");
  #number = 0;

  constructor(private readonly random: Random) {}

  /** Runs something later. */
  after(delayMs: number, run: () => void): Timer {
    const event: Event = {
      at: this.elapsed + Math.max(0, delayMs),
      order: this.random.uint32(),
      number: this.#number++,
      run,
    };
    this.#push(event);
    return {
      cancel: () => {
        event.run = null;
      },
    };
  }

  /** Lets time pass, with all that happens meanwhile. */
  async advance(ms: number): Promise<void> {
    const until = this.elapsed + ms;
    await turn();
    for (let next = this.#heap[0]; next !== undefined && next.at <= until; next = this.#heap[0]) {
      this.#pop();
      if (next.run === null) continue;
      this.elapsed = next.at;
      this.count++;
      next.run();
      await turn();
    }
    this.elapsed = until;
  }

  /** Notes what happened: two runs of a seed must note the same. */
  trace(line: string): void {
    const text = `${this.elapsed.toFixed(3)} ${line}`;
    this.#hash.update(text);
    this.onTrace?.(text);
  }

  /** The hash of everything that was noted. */
  traceHash(): string {
    return this.#hash.copy().digest("hex");
  }

  #push(event: Event): void {
    const heap = this.#heap;
    let i = heap.push(event) - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      const above = heap[parent];
      if (above === undefined || !isBefore(event, above)) break;
      heap[i] = above;
      i = parent;
    }
    heap[i] = event;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      const [left, right] = [heap[child], heap[child + 1]];
      if (left === undefined) break;
      if (right !== undefined && isBefore(right, left)) child++;
      const least = heap[child];
      if (least === undefined || !isBefore(least, last)) break;
      heap[i] = least;
      i = child;
    }
    heap[i] = last;
  }
}

/** Everything that waits for nothing but promises runs before this resolves. */
function turn(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}

/** The clock of one process: its wall clock can be stepped, and its timers end with it. */
export class ProcessClock implements Clock {
  #stepMs = 0;
  #isStopped = false;
  /** Timers that wait. */
  pending = 0;

  constructor(private readonly scheduler: Scheduler, private readonly startMs: number) {}

  now(): number {
    return Math.floor(this.startMs + this.#stepMs + this.scheduler.elapsed);
  }

  monotonic(): number {
    return this.scheduler.elapsed;
  }

  setTimer(delayMs: number, callback: () => void): Timer {
    let isOver = false;
    const over = () => {
      if (!isOver) this.pending--;
      isOver = true;
    };
    this.pending++;
    const timer = this.scheduler.after(delayMs, () => {
      over();
      if (!this.#isStopped) callback();
    });
    return {
      cancel: () => {
        over();
        timer.cancel();
      },
    };
  }

  /** Steps the wall clock. */
  step(ms: number): void {
    this.#stepMs += ms;
  }

  /** The process is gone: nothing of it runs any more. */
  stop(): void {
    this.#isStopped = true;
  }
}
