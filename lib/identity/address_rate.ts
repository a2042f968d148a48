/**
 * How many questions to an identity provider the tokens from one remote address may cause.
 *
 * Whoever has an IPv6 address has 2^64 of them: those of one network count as one.
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

  /** Takes one; `false` if the address has none left. */
  take(remoteAddress: string | null): boolean {
    const network = networkOf(remoteAddress ?? "");
    const now = this.clock.monotonic();
    const { left, at } = this.#buckets.get(network) ?? { left: this.perSecond, at: now };
    const filled = Math.min(this.perSecond, left + ((now - at) / 1_000) * this.perSecond);
    const isAllowed = filled >= 1;
    this.#buckets.delete(network); // to the end: who comes often is not the one that is forgotten
    this.#buckets.set(network, { left: isAllowed ? filled - 1 : filled, at: now });
    dropOldest(this.#buckets, this.addressesMax);
    return isAllowed;
  }

  /** How many addresses are counted. */
  get size(): number {
    return this.#buckets.size;
  }
}

/** The /64 of an IPv6 address; an IPv4 address as it is, also where it is written as IPv6. */
export function networkOf(address: string): string {
  if (!address.includes(":")) return address;
  const mapped = /^::ffff:([0-9.]+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  const [head = "", tail] = address.toLowerCase().split("%")[0]?.split("::") ?? [];
  const groupsOf = (part: string) => part === "" ? [] : part.split(":");
  const [first, last] = [groupsOf(head), groupsOf(tail ?? "")];
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - first.length - last.length);
  const groups = [...first, ...Array<string>(zeros).fill("0"), ...last];
  return `${groups.slice(0, 4).map((group) => group.replace(/^0+(?=.)/, "")).join(":")}::/64`;
}
