/**
 * What all sends share: what they cost, how they are stored, and how what is durable is delivered.
 * @module
 */
import { type Address, addressKey } from "../address.ts";
import type { Accepted, OutgoingMessage, StoredMessage } from "../domain.ts";
import { RequestError } from "../errors.ts";
import type { MailboxEntry, Posting } from "../store/mod.ts";
import { type Core, requireSize } from "./core.ts";
import type { Asking } from "./depth.ts";

/** Bytes that one unit of the budget for a pair pays for. */
const PAIR_UNIT_BYTES = 4_096;

/** A transient message is of no use after this. */
const TRANSIENT_MS_MAX = 10_000;

/**
 * Refuses a ciphertext that is too large, or one too many, and takes from the budgets: for all copies, or for none.
 *
 * @throws {RequestError} `too_large` or `rate_limited`.
 */
export function payForSends(
  { config, rates }: Core,
  from: Address,
  copies: readonly { readonly to: Address; readonly ciphertext: Uint8Array }[],
): void {
  for (const { ciphertext } of copies) requireSize("ciphertext", ciphertext.length, config.messageBytesMax);
  const count = Math.max(1, copies.length);
  rates.sends.require(from.userId, count);
  // One's own devices are exempt.
  const pairs = copies.filter(({ to }) => to.userId !== from.userId);
  const [first] = pairs;
  if (pairs.length === 1 && first !== undefined) rates.pair.take(pairOf(from, first.to), unitsOf(first));
  else {
    for (const copy of pairs) rates.pair.require(pairOf(from, copy.to), unitsOf(copy));
    for (const copy of pairs) rates.pair.take(pairOf(from, copy.to), unitsOf(copy));
  }
  rates.sends.take(from.userId, count);
}

const pairOf = (from: Address, to: Address) => `${from.userId}>${addressKey(to)}`;

function unitsOf({ ciphertext }: { readonly ciphertext: Uint8Array }): number {
  return Math.max(1, Math.ceil(ciphertext.length / PAIR_UNIT_BYTES));
}

/** From when on a message that is accepted now must not be delivered, milliseconds since the epoch. */
function expiryOf(
  { config }: Core,
  { transient, ttlSeconds }: Pick<OutgoingMessage, "transient" | "ttlSeconds">,
  timestamp: number,
): number {
  const keptMs = transient ? Math.min(TRANSIENT_MS_MAX, config.retentionMs) : config.retentionMs;
  return timestamp + (ttlSeconds === 0 ? keptMs : Math.min(ttlSeconds * 1_000, keptMs));
}

/** What a message asks of a mailbox. */
export function asking(
  core: Core,
  message: Pick<OutgoingMessage, "transient" | "ttlSeconds" | "ciphertext">,
): Asking {
  const { transient, ciphertext } = message;
  return { bytes: ciphertext.length, transient, expiresAt: expiryOf(core, message, core.clock.now()) };
}

/** Makes the message as it is stored. */
export function toStored(
  core: Core,
  from: Address,
  message: Pick<OutgoingMessage, "messageId" | "transient" | "ttlSeconds" | "ciphertext">,
  timestamp: number = core.clock.now(),
): StoredMessage {
  const id = core.store.ids.next();
  const { messageId = id, transient, ciphertext } = message;
  const expiresAt = expiryOf(core, message, timestamp);
  return { id, from, messageId, timestamp, expiresAt, transient, ciphertext };
}

/** Remembers that a mailbox was full, for its owner, and makes the refusal. */
export function mailboxFull({ store }: Core, to: Address, epoch: string, transient: boolean): RequestError {
  if (!transient) store.waiting.addLost(to, epoch, 1);
  return new RequestError("mailbox_full", "the recipient's mailbox is full");
}

/**
 * Stores what has its room in the mailboxes already, and has it delivered.
 *
 * @returns `null` if a condition does not hold any more; then the room is given back.
 */
export async function post(
  { store, depths, doorbell, metrics }: Core,
  posting: Posting,
): Promise<Accepted | null> {
  let entries: MailboxEntry[] | null = null;
  const rings = posting.copies.map(({ to }) => doorbell.ringOf(to));
  try {
    const wake = () => posting.copies.forEach(({ to }) => doorbell.wake(to));
    entries = await store.postings.post({ ...posting, rings: rings.filter((ring) => ring !== null) }, wake);
  } finally {
    for (const { to, epoch, message: { ciphertext, transient } } of posting.copies) {
      const counted = { bytes: ciphertext.length, transient };
      if (entries === null) depths.release(to, epoch, counted);
      else depths.settled(to, epoch, counted);
    }
  }
  if (entries === null) return null;
  metrics.counts.messagesAccepted += entries.length;
  posting.copies.forEach(({ to }, i) => {
    const entry = entries?.[i];
    if (entry !== undefined) doorbell.handOver(to, entry, rings[i] !== null);
  });
  return posting.accepted;
}
