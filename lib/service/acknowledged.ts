/**
 * The memory of what was acknowledged at an address, for as long as storage might still show it.
 *
 * A page of the mailbox that was read before a deletion may still hold the entry, and would bring it again.
 * @module
 */
import type { Clock } from "../clock.ts";
import { TIMES } from "../limits.ts";

/** Ids that must not be delivered again, of one address. */
export class Acknowledged {
  /**
   * Until when each is remembered, by the monotonic clock; infinite while its deletion is under way. `null` if there are
   * none: so it is for most addresses.
   */
  #until: Map<string, number> | null = null;
  #reads = 0;

  constructor(private readonly clock: Clock) {}

  /** How many are remembered. */
  get size(): number {
    return this.#until?.size ?? 0;
  }

  /** Whether the message was acknowledged. */
  has(idKey: string): boolean {
    return this.#until?.has(idKey) ?? false;
  }

  /** Remembers a message from its acknowledgement on. */
  add(idKey: string): void {
    (this.#until ??= new Map()).set(idKey, Number.POSITIVE_INFINITY);
  }

  /**
   * Its deletion is durable.
   *
   * @param mayComeAgain whether it could still be handed over, since the commit that stored it may not be known yet.
   */
  deleted(idKey: string, mayComeAgain: boolean): void {
    if (this.#reads === 0 && !mayComeAgain) this.#until?.delete(idKey);
    else (this.#until ??= new Map()).set(idKey, this.clock.monotonic() + TIMES.acknowledgedMs);
  }

  /** A read of the mailbox begins: until it ends, deletions may not show in it. It ends within its deadline. */
  readBegins(): void {
    this.#reads++;
  }

  /** A read of the mailbox is over. */
  readEnds(): void {
    this.#reads--;
  }

  /** Forgets what can't come again. Call it now and then. */
  sweep(): void {
    if (this.#until === null) return;
    const now = this.clock.monotonic();
    for (const [idKey, until] of this.#until) if (until < now) this.#until.delete(idKey);
    if (this.#until.size === 0) this.#until = null;
  }
}
