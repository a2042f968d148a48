/**
 * What was found out about tokens, for a short time.
 *
 * Invariant: nothing is kept for longer than its time, and no more than a bound; so what is forgotten is asked again.
 * @module
 */
import { dropOldest } from "../bounded.ts";
import type { Clock } from "../clock.ts";

interface Entry<T> {
  readonly verdict: T;
  /** On the clock that never steps. */
  readonly until: number;
}

/** Verdicts of one kind. */
export class Verdicts<T> {
  readonly #entries = new Map<string, Entry<T>>();

  /** @param keptMs how long a verdict counts. @param sizeMax how many are kept. */
  constructor(
    private readonly clock: Clock,
    private readonly keptMs: number,
    private readonly sizeMax: number,
  ) {}

  /** The verdict on a token, by its hash; `undefined` if it is not known, or not any more. */
  get(hash: string): T | undefined {
    const entry = this.#entries.get(hash);
    if (entry === undefined) return undefined;
    if (this.clock.monotonic() < entry.until) return entry.verdict;
    this.#entries.delete(hash);
    return undefined;
  }

  /** Keeps a verdict from now on. */
  keep(hash: string, verdict: T): void {
    this.#entries.delete(hash); // to the end: the order is that of age
    this.#entries.set(hash, { verdict, until: this.clock.monotonic() + this.keptMs });
    dropOldest(this.#entries, this.sizeMax);
  }

  /** Forgets a verdict. */
  forget(hash: string): void {
    this.#entries.delete(hash);
  }

  /** How many are kept. */
  get size(): number {
    return this.#entries.size;
  }
}
