/**
 * Deleting what leaves a mailbox: acknowledged or expired, remembered until storage has it, and tried until it has.
 * @module
 */
import type { Address } from "../address.ts";
import { sleep } from "../clock.ts";
import { RequestError } from "../errors.ts";
import type { MailboxEntry } from "../store/mod.ts";
import type { Acknowledged } from "./acknowledged.ts";
import type { Core } from "./core.ts";

/** The wait before a deletion that storage refused is tried again. */
const RETRY_MS = 1_000;

/** How often a deletion is tried: over a minute, far beyond any hiccup. */
const ATTEMPTS = 60;

type Settle = (error: RequestError | null) => void;

/** Deletes messages of one address. */
export class Removal {
  constructor(
    private readonly core: Core,
    private readonly address: Address,
    private readonly remembered: Acknowledged,
  ) {}

  /**
   * The recipient has the message for good.
   *
   * @param mayComeAgain whether it could still be handed over, since the commit that stored it may not be known yet.
   */
  acknowledged(entry: MailboxEntry, mayComeAgain: boolean): void {
    const settle = this.#begin(entry, mayComeAgain, false);
    if (settle !== null) this.core.store.mailboxes.remove(this.address, entry, settle);
  }

  /** The message has expired undelivered. */
  expired(entry: MailboxEntry): void {
    const settle = this.#begin(entry, false, true);
    if (settle === null) return;
    this.core.store.mailboxes.expire(this.address, entry, entry.ciphertext.length, settle);
  }

  /** Remembers it, and gives what to tell when storage has it; `null` if it is being deleted already. */
  #begin(entry: MailboxEntry, mayComeAgain: boolean, isExpired: boolean): Settle | null {
    const { core, address, remembered } = this;
    if (remembered.has(entry.idKey)) return null;
    remembered.add(entry.idKey);
    const counted = { bytes: entry.ciphertext.length, transient: entry.transient };
    core.depths.left(address, entry.epoch, counted);
    const done = (isDeleted: boolean) => remembered.deleted(entry.idKey, mayComeAgain || !isDeleted);
    return (error) => {
      core.depths.settled(address, entry.epoch, counted);
      if (error === null) return done(true);
      // Storage swallowed it: until it is back, the message is only remembered.
      void this.#removeAgain(entry, isExpired).then(done);
    };
  }

  async #removeAgain(entry: MailboxEntry, isExpired: boolean): Promise<boolean> {
    for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
      await sleep(this.core.clock, RETRY_MS * (0.5 + Math.random()));
      try {
        await this.core.store.setAside.remove(this.address, entry, isExpired);
        return true;
      } catch {
        continue; // already in the log
      }
    }
    return false;
  }
}
