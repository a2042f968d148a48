/**
 * How many questions to an identity provider the tokens from one remote address may cause.
 * @module
 */
import { dropOldest } from "../bounded.ts";
import type { Clock } from "../clock.ts";

interface Bucket {
  /** What is left, as of `at`. */
  left: number;
  readonly at: number;
}

/** Counts by remote address, in memory, for this process alone. */
export class AddressRate {
  readonly #buckets = new Map<string, Bucket>();

  /** @param perSecond how many come in, and the most saved up. @param addressesMax how many addresses are counted. */
  constructor(
    private readonly perSecond: number,
    private readonly addressesMax: number,
    private readonly clock: Clock,
  ) {}

  /**
   * Takes one; `false` if the address has none left.
   *
   * @param remoteAddress any string that is the same for all addresses which count as one; `null` counts as one too.
   */
  take(remoteAddress: string | null): boolean {
    const remote = remoteAddress ?? "";
    const now = this.clock.monotonic();
    const { left, at } = this.#buckets.get(remote) ?? { left: this.perSecond, at: now };
    const filled = Math.min(this.perSecond, left + ((now - at) / 1_000) * this.perSecond);
    const isAllowed = filled >= 1;
    this.#buckets.delete(remote); // to the end: who comes often is not the one that is forgotten
    this.#buckets.set(remote, { left: isAllowed ? filled - 1 : filled, at: now });
    dropOldest(this.#buckets, this.addressesMax);
    return isAllowed;
  }

  /** How many addresses are counted. */
  get size(): number {
    return this.#buckets.size;
  }
}
