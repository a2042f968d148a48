/**
 * A message as it lies in a mailbox.
 *
 * A value is, in this order: format (1 byte, now 1), flags (1), expiry (8, milliseconds), sender's user (16) and device
 * (4), message ID (16), time of acceptance (8, milliseconds), ciphertext. Big-endian.
 * @module
 */
import { type Address, userIdFromBytes, userIdToBytes } from "../address.ts";
import { readUint32, readUint64, writeUint32, writeUint64 } from "../bytes.ts";
import type { StoredMessage } from "../domain.ts";
import { TIMES } from "../limits.ts";
import type { Mutation } from "./batch.ts";
import type { Entry } from "./database.ts";
import { inboxKey } from "./keys.ts";
import { bucketEnd, bucketOf, type Tally, waitingTally } from "./tally.ts";

const FORMAT = 1;
const FLAG_TRANSIENT = 1;
const OFFSET = {
  flags: 1,
  expiresAt: 2,
  user: 10,
  device: 26,
  messageId: 30,
  timestamp: 46,
  ciphertext: 54,
} as const;

/** The key of a message that was moved behind its mailbox is one part longer than that of another one. */
const ASIDE_KEY_PARTS = 6;

/** A message in a mailbox. */
export interface MailboxEntry extends StoredMessage {
  /** The installation that it is for. */
  readonly epoch: string;
  /** The id as a string, to look it up by. */
  readonly idKey: string;
  /** Whether it is counted as one that its client does not deal with: then it may be moved at any time. Absent if not. */
  readonly isCounted?: true;
  /** Whether it was moved behind the mailbox. Absent if not. */
  readonly isAside?: true;
}

/** The id as a string, one character a byte. */
export function toIdKey(id: Uint8Array): string {
  return String.fromCharCode.apply(null, id as unknown as number[]);
}

/** Makes the value of an entry. */
export function encodeEntry(message: Omit<StoredMessage, "id">): Uint8Array {
  const value = new Uint8Array(OFFSET.ciphertext + message.ciphertext.length);
  value[0] = FORMAT;
  value[OFFSET.flags] = message.transient ? FLAG_TRANSIENT : 0;
  writeUint64(value, OFFSET.expiresAt, message.expiresAt);
  value.set(userIdToBytes(message.from.userId), OFFSET.user);
  writeUint32(value, OFFSET.device, message.from.deviceId);
  value.set(message.messageId, OFFSET.messageId);
  writeUint64(value, OFFSET.timestamp, message.timestamp);
  value.set(message.ciphertext, OFFSET.ciphertext);
  return value;
}

/** Reads an entry, or `null` if it is not one: such a row is left alone. */
export function decodeEntry({ key, value }: Pick<Entry, "key" | "value">): MailboxEntry | null {
  const epoch = key[3];
  const isAside = key.length === ASIDE_KEY_PARTS;
  const last = key.at(-1);
  const id = isAside && last instanceof Uint8Array ? last.toReversed() : last;
  if (!(value instanceof Uint8Array) || value[0] !== FORMAT || value.length < OFFSET.ciphertext) return null;
  if (!(id instanceof Uint8Array) || typeof epoch !== "string") return null;
  const userId = userIdFromBytes(value, OFFSET.user);
  if (userId === null) return null;
  const entry = {
    id,
    idKey: toIdKey(id),
    epoch,
    from: { userId, deviceId: readUint32(value, OFFSET.device) },
    messageId: value.subarray(OFFSET.messageId, OFFSET.timestamp),
    timestamp: readUint64(value, OFFSET.timestamp),
    expiresAt: readUint64(value, OFFSET.expiresAt),
    transient: ((value[OFFSET.flags] ?? 0) & FLAG_TRANSIENT) !== 0,
    ciphertext: value.subarray(OFFSET.ciphertext),
  };
  return isAside ? { ...entry, isAside } : entry;
}

/** Makes an entry, and the mutation that stores it. */
export function prepareEntry(to: Address, epoch: string, message: StoredMessage): [MailboxEntry, Mutation] {
  const value = encodeEntry(message);
  // Until its stretch of time is over, an expired row stays: whoever reads it counts it as lost.
  const collectableAt = message.transient ? message.expiresAt : bucketEnd(message.expiresAt);
  const mutation = {
    key: inboxKey(to, epoch, message.id),
    change: value,
    expireInMs: collectableAt - message.timestamp + TIMES.expirySlackMs,
  };
  // What the entry has in bytes is in the value: the frame that it came in can go.
  const entry = {
    id: message.id,
    idKey: toIdKey(message.id),
    epoch,
    from: message.from,
    messageId: value.subarray(OFFSET.messageId, OFFSET.timestamp),
    timestamp: message.timestamp,
    expiresAt: message.expiresAt,
    transient: message.transient,
    ciphertext: value.subarray(OFFSET.ciphertext),
  };
  return [entry, mutation];
}

/** How a message that comes or goes is counted; transient ones are not. */
export function tallyOf(address: Address, entry: MailboxEntry, messages: 1 | -1): Tally | null {
  if (entry.transient) return null;
  return waitingTally(
    address,
    entry.epoch,
    bucketOf(entry.expiresAt),
    messages,
    messages * entry.ciphertext.length,
  );
}
