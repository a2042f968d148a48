/**
 * Messages that are stored on conditions: all of them in one commit, or none.
 * @module
 */
import type { Address } from "../address.ts";
import type { Accepted, StoredMessage } from "../domain.ts";
import type { AcceptedSends, SendIdentity } from "./accepted.ts";
import type { DeviceList } from "./devices.ts";
import { deviceListKey } from "./keys.ts";
import { type MailboxEntry, prepareEntry, tallyOf } from "./mailbox_entry.ts";
import { packTally } from "./tally.ts";
import { mutate, type Mutation, type Writer } from "./writer.ts";

/** A send that is stored on conditions. */
export interface Posting {
  /** Whose mailboxes: the lane of the commit. */
  readonly userId: string;
  /** What goes into which mailbox. */
  readonly copies: readonly {
    readonly to: Address;
    readonly epoch: string;
    readonly message: StoredMessage;
  }[];
  readonly identity: SendIdentity;
  /** What a repeat is answered with. */
  readonly accepted: Accepted;
  /** Whether it must not have been accepted within the last hour, as far as it has a row of its own: four checks. */
  readonly mustBeNew: boolean;
  /** The device list that it was judged on, which must be current; `null` if it need not. One check. */
  readonly list: DeviceList | null;
  /** What rings bells, in the same commit. */
  readonly rings?: readonly Mutation[];
}

/** Stores sends on conditions. */
export class Postings {
  constructor(private readonly writer: Writer, private readonly acceptedSends: AcceptedSends) {}

  /**
   * Stores a send, and remembers it for its repeats.
   *
   * @param landed told if it was stored after all, when `unavailable` had been thrown.
   * @returns the entries, now durable; `null` if a condition does not hold any more: judge again.
   * @throws {RequestError} `unavailable`: it may have been stored.
   */
  async post(posting: Posting, landed: () => void = () => {}): Promise<MailboxEntry[] | null> {
    const { userId, identity, accepted, list } = posting;
    const prepared = posting.copies.map(({ to, epoch, message }) => {
      const [entry, mutation] = prepareEntry(to, epoch, message);
      return { entry, mutation, tally: tallyOf(to, entry, 1) };
    });
    const result = await this.writer.commit(
      userId,
      (atomic) => {
        if (list !== null) atomic.check({ key: deviceListKey(userId), versionstamp: list.versionstamp });
        if (posting.mustBeNew) this.acceptedSends.requireNew(atomic, identity);
        mutate(atomic, this.acceptedSends.remember(identity, accepted));
        for (const ring of posting.rings ?? []) mutate(atomic, ring);
        for (const { mutation, tally } of prepared) {
          mutate(atomic, mutation);
          if (tally !== null) atomic.sum(tally.key, packTally(tally.messages, tally.bytes));
        }
        return atomic;
      },
      posting.copies.reduce((sum, { message }) => sum + message.ciphertext.length, 0),
      landed,
    );
    return result.ok ? prepared.map(({ entry }) => entry) : null;
  }
}
