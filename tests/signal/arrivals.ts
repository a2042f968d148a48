/**
 * Arrivals: a list that tests can wait on until enough has come.
 * @module
 */

const DEADLINE_MS = 15_000;

/** Everything of one kind that came in, in order. */
export class Arrivals<T> {
  readonly #what: string;
  readonly #all: T[] = [];
  readonly #onArrival = new Set<() => void>();

  /** @param what is arriving, in the plural, for the message of a wait that fails. */
  constructor(what: string) {
    this.#what = what;
  }

  /** What has come so far. */
  get all(): readonly T[] {
    return this.#all;
  }

  /** Adds to the end. */
  push(arrival: T): void {
    this.#all.push(arrival);
    for (const look of this.#onArrival) look();
  }

  /** Waits until so many are there, and gives all that are; rejects after 15 seconds. */
  async atLeast(count: number): Promise<readonly T[]> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const look = () => {
      if (this.#all.length >= count) resolve();
    };
    const fail = () => reject(new Error(`only ${this.#all.length} of ${count} ${this.#what} came in time`));
    const deadline = setTimeout(fail, DEADLINE_MS);
    this.#onArrival.add(look);
    look();
    try {
      await promise;
      return this.#all;
    } finally {
      clearTimeout(deadline);
      this.#onArrival.delete(look);
    }
  }
}
