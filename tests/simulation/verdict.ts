/** What a run broke, and what the clocks of all processes have shown: by which it is judged. */
import type { Scheduler } from "./scheduler.ts";

/** The first thing that went wrong is what counts. */
export class Verdict {
  readonly broken: string[] = [];

  constructor(private readonly scheduler: Scheduler) {}

  /** A promise was broken. */
  broke(promise: string): void {
    const line = `after ${Math.round(this.scheduler.elapsed)} ms: ${promise}`;
    this.scheduler.trace(`BROKEN ${line}`);
    this.broken.push(line);
  }
}

interface Segment {
  readonly from: number;
  /** Wall clock less elapsed time. */
  readonly offset: number;
  until: number;
}

/** The wall clocks of all processes, as they were. */
export class WallHistory {
  readonly #segments: Segment[] = [];
  readonly #current = new Map<number, Segment>();

  constructor(private readonly scheduler: Scheduler) {}

  /** A process starts, or its clock was stepped: it shows this from here on. */
  shows(processId: number, wall: number): void {
    this.ends(processId);
    const { elapsed } = this.scheduler;
    const segment = { from: elapsed, offset: wall - elapsed, until: Infinity };
    this.#current.set(processId, segment);
    this.#segments.push(segment);
  }

  /** A process is gone. */
  ends(processId: number): void {
    const segment = this.#current.get(processId);
    if (segment !== undefined) segment.until = this.scheduler.elapsed;
    this.#current.delete(processId);
  }

  /** The latest and the earliest that any clock has shown since a moment. */
  extremes(since: number): { readonly latest: number; readonly earliest: number } {
    let [latest, earliest] = [-Infinity, Infinity];
    for (const { from, offset, until } of this.#segments) {
      if (until < since) continue;
      latest = Math.max(latest, offset + Math.min(until, this.scheduler.elapsed));
      earliest = Math.min(earliest, offset + Math.max(from, since));
    }
    return { latest, earliest };
  }
}
