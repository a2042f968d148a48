/**
 * The turn of what was moved behind the mailbox: some of it once a connection, when everything else has been sent.
 * @module
 */
import { RequestError } from "../errors.ts";
import { DELIVERY } from "../limits.ts";
import type { MailboxEntry, Receiver } from "../service/mod.ts";
import { incident } from "./incident.ts";

/** What is known of it, for one mailbox. */
export class AsideTurn {
  /** Whether something was moved: not known yet, not delivered yet, or delivered. */
  #state: "unknown" | "due" | "done" = "unknown";

  get isUnknown(): boolean {
    return this.#state === "unknown";
  }

  get isDue(): boolean {
    return this.#state === "due";
  }

  /** Something was found. */
  found(): void {
    this.#state = "due";
  }

  /** Begins with another mailbox. */
  reset(): void {
    this.#state = "unknown";
  }

  /**
   * Delivers some of it.
   *
   * @param deliver is told each message, and says whether more may come.
   * @returns whether storage answered; if not, its turn is yet to come.
   */
  async take(receiver: Receiver, epoch: string, deliver: (entry: MailboxEntry) => boolean): Promise<boolean> {
    this.#state = "done";
    try {
      let bytes = 0;
      for (const entry of await receiver.readAside(epoch)) {
        if (bytes >= DELIVERY.asideBytesMax || !deliver(entry)) break;
        bytes += entry.ciphertext.length;
      }
      return true;
    } catch (error) {
      if (!(error instanceof RequestError)) incident(error); // else storage is not available: already in the log
      this.#state = "due";
      return false;
    }
  }
}
