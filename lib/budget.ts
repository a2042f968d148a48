/**
 * Token buckets by key: a user, a user and its target, a remote address. Counted in memory, for each process alone.
 * @module
 */
import { dropOldest } from "./bounded.ts";
import type { Clock } from "./clock.ts";
import { rateLimited } from "./errors.ts";
import { QUEUES } from "./limits.ts";
import type { Rate } from "./setting_kinds.ts";

/** The key of a rate that all share. */
export const ALL = "";

interface Bucket {
  /** What is left, as of `at`. */
  tokens: number;
  at: number;
}

/** The buckets of one rate. */
export class Budget {
  readonly #buckets = new Map<string, Bucket>();

  /**
   * @param what is named in the error, such as `messages`.
   * @param bucketsMax how many are kept; the oldest is forgotten for one more.
   */
  constructor(
    private readonly rate: Rate,
    private readonly what: string,
    private readonly clock: Clock,
    private readonly bucketsMax: number = QUEUES.bucketsMax,
  ) {}

  /**
   * Takes from a bucket.
   *
   * @throws {RequestError} `rate_limited` with the time to wait; then nothing was taken.
   */
  take(key: string, cost = 1): void {
    const waitMs = this.claim(key, cost);
    if (waitMs > 0) throw rateLimited(this.what, waitMs);
  }

  /** As `take`, but returns how long to wait, in milliseconds: 0 if it was taken. */
  claim(key: string, cost = 1): number {
    if (this.rate === null) return 0;
    const bucket = this.#filled(key, this.rate);
    const waitMs = this.#waitMs(bucket, cost, this.rate);
    if (waitMs === 0) bucket.tokens -= cost;
    return waitMs;
  }

  /**
   * Sees that a bucket has enough, and takes nothing.
   *
   * @throws {RequestError} as `take` does.
   */
  require(key: string, cost = 1): void {
    const waitMs = this.waitMs(key, cost);
    if (waitMs > 0) throw rateLimited(this.what, waitMs);
  }

  /** Takes what something turned out to cost: it is done already, so the bucket may be overdrawn. */
  charge(key: string, cost: number): void {
    if (this.rate !== null && cost > 0) this.#filled(key, this.rate).tokens -= cost;
  }

  /**
   * Empties a bucket, and has so many times its size owed before anything is in it again.
   *
   * @returns whether it is owed from now on: whoever owes already owes no more for it.
   */
  indebt(key: string, times: number): boolean {
    if (this.rate === null) return false;
    const bucket = this.#filled(key, this.rate);
    if (bucket.tokens < 0) return false;
    bucket.tokens = -times * this.rate.burst;
    return true;
  }

  /** Forgets what a bucket owes: it is full. */
  forget(key: string): void {
    this.#buckets.delete(key);
  }

  /** As `require`, but returns how long to wait, in milliseconds: 0 if there is enough. */
  waitMs(key: string, cost = 1): number {
    // Nobody who is refused elsewhere makes a bucket: one that is not there is full.
    if (this.rate === null || !this.#buckets.has(key)) return 0;
    return this.#waitMs(this.#filled(key, this.rate), cost, this.rate);
  }

  /** How long until half of a bucket is there again, in milliseconds. */
  waitForHalfMs(key: string): number {
    return this.rate === null ? 0 : this.waitMs(key, this.rate.burst / 2);
  }

  /** Forgets the buckets that are full again. Call it now and then. */
  sweep(): void {
    if (this.rate === null) return;
    const { perSecond, burst } = this.rate;
    const now = this.clock.monotonic();
    for (const [key, bucket] of this.#buckets) {
      if (bucket.tokens + ((now - bucket.at) / 1_000) * perSecond >= burst) this.#buckets.delete(key);
    }
  }

  /** How many buckets are kept. */
  get size(): number {
    return this.#buckets.size;
  }

  #waitMs(bucket: Bucket, cost: number, { perSecond, burst }: NonNullable<Rate>): number {
    // What costs more than a full bucket holds may go when the bucket is full.
    const missing = Math.min(cost, burst) - bucket.tokens;
    return missing <= 0 ? 0 : (missing / perSecond) * 1_000;
  }

  #filled(key: string, { perSecond, burst }: NonNullable<Rate>): Bucket {
    const now = this.clock.monotonic();
    let bucket = this.#buckets.get(key);
    if (bucket === undefined) {
      bucket = { tokens: burst, at: now };
      this.#buckets.set(key, bucket);
      // Not one that is full again: to look for it would cost a walk each time.
      dropOldest(this.#buckets, this.bucketsMax);
    } else {
      bucket.tokens = Math.min(burst, bucket.tokens + ((now - bucket.at) / 1_000) * perSecond);
      bucket.at = now;
    }
    return bucket;
  }
}
