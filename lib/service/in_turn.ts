/**
 * Reads in turn: so many under way, the rest waits, first come, first served.
 *
 * When thousands of devices connect at once, what they read of their own must not pile up in storage: there each read
 * would use up its deadline while it waits, and so would everybody else's.
 * @module
 */
import type { Clock } from "../clock.ts";
import type { RequestError } from "../errors.ts";
import { QUEUES, TIMES } from "../limits.ts";

/** Nothing has succeeded for so long: a little less than the deadline of a read. */
const SILENCE_MS = TIMES.storageDeadlineMs - 250;

/** One that waits. */
interface Waiting {
  readonly begin: () => void;
  readonly fail: (reason: unknown) => void;
  next: Waiting | null;
}

/** Gives turns. */
export class InTurn {
  #first: Waiting | null = null;
  #last: Waiting | null = null;
  #waiting = 0;
  #underWay = 0;
  /** When a read succeeded last, or the first one after a rest began; by the monotonic clock. */
  #aliveAt = 0;

  /** @param refuse makes the error for one read too many. */
  constructor(private readonly clock: Clock, private readonly refuse: () => RequestError) {}

  /** How many wait. */
  get waiting(): number {
    return this.#waiting;
  }

  /**
   * Has `read` made when its turn comes.
   *
   * @throws {RequestError} `unavailable` if too many wait. Rejects as the read does, and as the last one did if nothing
   * succeeds for so long that storage must be taken for silent: nobody waits for turns that bring nothing.
   */
  run<T>(read: () => Promise<T>): Promise<T> {
    if (this.#underWay < QUEUES.ownReadsMax) {
      if (this.#underWay === 0) this.#aliveAt = this.clock.monotonic();
      this.#underWay++;
      return this.#run(read);
    }
    if (this.#waiting >= QUEUES.ownReadsWaitingMax) return Promise.reject(this.refuse());
    return new Promise((resolve, fail) => {
      const waiting = { begin: () => void this.#run(read).then(resolve, fail), fail, next: null };
      if (this.#last === null) this.#first = waiting;
      else this.#last.next = waiting;
      this.#last = waiting;
      this.#waiting++;
    });
  }

  async #run<T>(read: () => Promise<T>): Promise<T> {
    try {
      const result = await read();
      this.#aliveAt = this.clock.monotonic();
      return result;
    } catch (error) {
      if (this.clock.monotonic() - this.#aliveAt >= SILENCE_MS) this.#failAll(error);
      throw error;
    } finally {
      // Whoever is next takes the turn over.
      const next = this.#take();
      if (next === null) this.#underWay--;
      else next.begin();
    }
  }

  #take(): Waiting | null {
    const first = this.#first;
    if (first === null) return null;
    this.#first = first.next;
    if (this.#first === null) this.#last = null;
    this.#waiting--;
    return first;
  }

  #failAll(reason: unknown): void {
    for (let next = this.#take(); next !== null; next = this.#take()) next.fail(reason);
  }
}
