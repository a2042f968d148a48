/**
 * Finds out who keeps Deno's server busy with what no session sees: WebSocket pings, which the platform answers by itself,
 * or a message in fragments without an end. Eight connections that ping as fast as they can starve all others.
 *
 * Nobody can see who it is. So when the JavaScript thread has been busy with hardly anything to show for it, the user with
 * the most connections is sent away for a moment. If that ends it, it stays away; if not, it may come back, and the next
 * one is tried.
 * @module
 */
import process from "node:process";
import { logger } from "../log.ts";

const log = logger("server");

/** Busy with nothing: so much of a processor, and fewer things done than it would take a millisecond each. */
const BUSY = { share: 0.4, thingsPerMs: 1 };

/** For so many looks in a row, before anybody is tried. */
const LOOKS = 3;

/** Looks until the processors tell what the absence of a user has changed: the first still has its end in it. */
const TRIAL_LOOKS = 2;

/** So many users are tried … */
const TRIALS_MAX = 5;

/** … then nobody for so long: it may be something else, and those who are tried have to connect again. */
const REST_MS = 600_000;

/** What the process has done since it started. */
export interface Done {
  /** Milliseconds of a processor that the JavaScript thread took. */
  readonly busyMs: number;
  /** Messages, requests, rows, reads: whatever costs anything. */
  readonly things: number;
}

/** What this process has done; `null` before Deno 2.9, which does not tell the time of one thread. */
export function threadWork(things: () => number): Done | null {
  // Not among the types of older versions either.
  const { threadCpuUsage } = process as { threadCpuUsage?: () => { user: number; system: number } };
  if (threadCpuUsage === undefined) return null;
  const { user, system } = threadCpuUsage();
  return { busyMs: (user + system) / 1_000, things: things() };
}

/** Those who are connected. */
export interface Crowd {
  /** The user with the most connections, but for those who were tried; `null` if there is nobody. */
  busiest(tried: ReadonlySet<string>): string | null;
  /** Ends a user's connections, and takes no new ones from it; returns what lets it back in. */
  sendAway(userId: string): () => void;
}

interface Trial {
  readonly letBack: () => void;
  looks: number;
}

/** The watch over one process. */
export class UnseenWork {
  #last: Done | null = null;
  #lastAt = 0;
  #busyLooks = 0;
  #trial: Trial | null = null;
  readonly #tried = new Set<string>();
  #restsUntil = Number.NEGATIVE_INFINITY;

  /** @param done what was done so far; `null` where the platform does not tell. */
  constructor(private readonly done: () => Done | null, private readonly crowd: Crowd) {}

  /** Looks at what was done since the last look. Call it about once a second. */
  look(now: number): void {
    const done = this.done();
    const last = this.#last;
    const elapsedMs = now - this.#lastAt;
    this.#last = done;
    this.#lastAt = now;
    if (done === null || last === null || elapsedMs <= 0) return;
    const busyMs = done.busyMs - last.busyMs;
    const isBusy = busyMs >= BUSY.share * elapsedMs && done.things - last.things < busyMs * BUSY.thingsPerMs;
    this.#busyLooks = isBusy ? this.#busyLooks + 1 : 0;
    if (this.#trial === null) return this.#judge(now);
    if (++this.#trial.looks < TRIAL_LOOKS) return;
    if (isBusy) this.#trial.letBack();
    else {
      log.warn(
        "the connections of one user kept the process busy with what no session sees, such as WebSocket pings: " +
          "it was sent away. WS_ENGINE=ws ends such connections at once",
      );
      this.#tried.clear();
    }
    this.#trial = null;
    this.#judge(now);
  }

  #judge(now: number): void {
    if (this.#busyLooks < LOOKS || now < this.#restsUntil) return;
    const userId = this.#tried.size < TRIALS_MAX ? this.crowd.busiest(this.#tried) : null;
    if (userId === null) {
      log.warn(
        "the process is busy with what no session sees, such as WebSocket pings or a message without an end, and " +
          "it was none of the {count} users with the most connections. WS_ENGINE=ws ends such connections at once",
        { count: this.#tried.size },
      );
      this.#tried.clear();
      this.#restsUntil = now + REST_MS;
      return;
    }
    this.#tried.add(userId);
    this.#trial = { letBack: this.crowd.sendAway(userId), looks: 0 };
  }
}
