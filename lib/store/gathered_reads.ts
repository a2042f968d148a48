/**
 * Single reads of a shared database, up to ten in one request: there a request costs more than what it reads.
 *
 * While a few requests are under way, what is asked for collects; nobody waits for company otherwise.
 * @module
 */
import { KV, QUEUES } from "../limits.ts";

/** How many requests may be under way. */
const REQUESTS_MAX = 2;

interface Asked<E> {
  readonly key: Deno.KvKey;
  answer(entry: E | null): void;
  fail(reason: unknown): void;
}

/** Gathers reads. */
export class GatheredReads<E> {
  #waiting: Asked<E>[] = [];
  #requests = 0;

  /**
   * @param readMany reads up to ten entries within its own deadline.
   * @param refuse makes the error for one read too many.
   */
  constructor(
    private readonly readMany: (keys: readonly Deno.KvKey[]) => Promise<(E | null)[]>,
    private readonly refuse: () => Error,
  ) {}

  /**
   * Reads one entry, as it is when this is called or later.
   *
   * @throws {RequestError} `unavailable`.
   */
  get(key: Deno.KvKey): Promise<E | null> {
    if (this.#waiting.length >= QUEUES.laneWritesMax) return Promise.reject(this.refuse());
    return new Promise((answer, fail) => {
      this.#waiting.push({ key, answer, fail });
      this.#next();
    });
  }

  #next(): void {
    while (this.#requests < REQUESTS_MAX && this.#waiting.length > 0) {
      const asked = this.#waiting.splice(0, KV.keysMax);
      this.#requests++;
      this.readMany(asked.map(({ key }) => key)).then(
        (entries) => asked.forEach(({ answer }, i) => answer(entries[i] ?? null)),
        (reason) => asked.forEach(({ fail }) => fail(reason)),
      ).finally(() => {
        this.#requests--;
        this.#next();
      });
    }
  }
}
