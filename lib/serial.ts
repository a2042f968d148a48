/**
 * Work on one thing at a time: pieces with the same key run one after the other, in the order they came.
 *
 * Inside a process this takes the place of retries; what other processes do is caught by the checks of a commit.
 * @module
 */
import { type Clock, withDeadline } from "./clock.ts";
import { RequestError } from "./errors.ts";

/** Runs work serially by key. */
export class Serial {
  readonly #tails = new Map<string, Promise<void>>();
  #waiting = 0;

  /**
   * @param clock for the deadline.
   * @param deadlineMs how long a piece may wait for its turn.
   * @param waitingMax how many pieces may be under way or wait in all.
   */
  constructor(readonly clock: Clock, readonly deadlineMs: number, readonly waitingMax: number) {}

  /** Has what comes next under the same key wait for something that is under way already. */
  include<T>(key: string, work: Promise<T>): Promise<T> {
    const over = work.then(() => {}, () => {});
    this.#append(key, (this.#tails.get(key) ?? Promise.resolve()).then(() => over));
    return work;
  }

  /**
   * Runs `work` once everything that came before under the same key is over.
   *
   * @throws {RequestError} `unavailable` if its turn does not come in time; then it is not run.
   */
  async run<T>(key: string, work: () => Promise<T>): Promise<T> {
    if (this.#waiting >= this.waitingMax) throw new RequestError("unavailable", "too much waits already");
    this.#waiting++;
    const before = this.#tails.get(key) ?? Promise.resolve();
    const { promise: over, resolve: finish } = Promise.withResolvers<void>();
    this.#append(key, before.then(() => over));
    try {
      const turn = await withDeadline(this.clock, before.then(() => true), this.deadlineMs, false);
      if (!turn) throw new RequestError("unavailable", "storage is behind: nothing was done, try again");
      return await work();
    } finally {
      this.#waiting--;
      finish();
    }
  }

  #append(key: string, tail: Promise<void>): void {
    this.#tails.set(key, tail);
    // Not before what came earlier is over too, which may outlast a piece that gave up.
    void tail.then(() => {
      if (this.#tails.get(key) === tail) this.#tails.delete(key);
    });
  }
}
