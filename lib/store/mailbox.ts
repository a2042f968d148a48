/**
 * Mailboxes: what waits for each installation of a device, in the order of its acceptance.
 *
 * A value is, in this order: format (1 byte, now 1), flags (1), expiry (8, milliseconds), sender's user (16) and device
 * (4), message ID (16), time of acceptance (8, milliseconds), ciphertext. Big-endian.
 * @module
 */
import { type Address, USER_ID_BYTES, userIdFromBytes, userIdToBytes } from "../address.ts";
import type { StoredMessage } from "../domain.ts";
import type { RequestError } from "../errors.ts";
import { TIMES } from "../limits.ts";
import type { Database, Entry } from "./database.ts";
import { inboxKey, inboxPrefix } from "./keys.ts";
import type { Write, Writer } from "./writer.ts";

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

/** How many rows one read of the database fetches: enough for a window, few enough of the largest messages. */
const PAGE_BATCH = 64;

/** A message in a mailbox. */
export interface MailboxEntry extends StoredMessage {
  /** The installation that it is for. */
  readonly epoch: string;
  /** The id as a string, to look it up by. */
  readonly idKey: string;
}

/** The id as a string, one character a byte. */
function toIdKey(id: Uint8Array): string {
  return String.fromCharCode.apply(null, id as unknown as number[]);
}

/** Makes the value of an entry. */
export function encodeEntry(message: Omit<StoredMessage, "id">): Uint8Array {
  const value = new Uint8Array(OFFSET.ciphertext + message.ciphertext.length);
  const view = new DataView(value.buffer);
  value[0] = FORMAT;
  value[OFFSET.flags] = message.transient ? FLAG_TRANSIENT : 0;
  view.setBigUint64(OFFSET.expiresAt, BigInt(message.expiresAt));
  value.set(userIdToBytes(message.from.userId), OFFSET.user);
  view.setUint32(OFFSET.device, message.from.deviceId);
  value.set(message.messageId, OFFSET.messageId);
  view.setBigUint64(OFFSET.timestamp, BigInt(message.timestamp));
  value.set(message.ciphertext, OFFSET.ciphertext);
  return value;
}

/** Reads an entry, or `null` if it is not one: such a row is left alone. */
export function decodeEntry(entry: Pick<Entry, "key" | "value">): MailboxEntry | null {
  const [, , , epoch, id] = entry.key;
  const { value } = entry;
  if (!(value instanceof Uint8Array) || value[0] !== FORMAT || value.length < OFFSET.ciphertext) return null;
  if (!(id instanceof Uint8Array) || typeof epoch !== "string") return null;
  const view = new DataView(value.buffer, value.byteOffset, value.byteLength);
  const userId = userIdFromBytes(value, OFFSET.user);
  if (userId === null) return null;
  return {
    id,
    idKey: toIdKey(id),
    epoch,
    from: { userId, deviceId: view.getUint32(OFFSET.user + USER_ID_BYTES) },
    messageId: value.subarray(OFFSET.messageId, OFFSET.timestamp),
    timestamp: Number(view.getBigUint64(OFFSET.timestamp)),
    expiresAt: Number(view.getBigUint64(OFFSET.expiresAt)),
    transient: ((value[OFFSET.flags] ?? 0) & FLAG_TRANSIENT) !== 0,
    ciphertext: value.subarray(OFFSET.ciphertext),
  };
}

/** Reads, fills and empties mailboxes. */
export class Mailboxes {
  constructor(private readonly database: Database, private readonly writer: Writer) {}

  /**
   * Queues a message for an installation.
   *
   * @param settle called once, with `null` when the message is durable.
   * @returns the entry; it must not be delivered before.
   */
  append(to: Address, epoch: string, message: StoredMessage, settle: Write["settle"]): MailboxEntry {
    const value = encodeEntry(message);
    this.writer.write(to.userId, {
      key: inboxKey(to, epoch, message.id),
      change: value,
      expireInMs: message.expiresAt - message.timestamp + TIMES.expirySlackMs,
      settle,
    });
    // The ciphertext of the entry is that of the value: the frame it came in can go.
    return { ...message, ciphertext: value.subarray(OFFSET.ciphertext), epoch, idKey: toIdKey(message.id) };
  }

  /** Queues the deletion of messages of an installation. */
  remove(
    address: Address,
    epoch: string,
    id: Uint8Array,
    settle: (error: RequestError | null) => void,
  ): void {
    this.writer.write(address.userId, { key: inboxKey(address, epoch, id), change: null, settle });
  }

  /**
   * Reads from the head of a mailbox.
   *
   * @param limit how many rows are looked at.
   * @param wants told each entry in order; says whether it wants more.
   * @returns whether the end was reached: nothing more waited when this read began.
   */
  async page(
    address: Address,
    epoch: string,
    limit: number,
    wants: (entry: MailboxEntry) => boolean,
  ): Promise<boolean> {
    let isSatisfied = false;
    const options = { limit, batchSize: PAGE_BATCH };
    const entries = await this.database.list({ prefix: inboxPrefix(address, epoch) }, options, (row) => {
      const entry = decodeEntry(row);
      if (entry !== null) isSatisfied = !wants(entry);
      return !isSatisfied;
    });
    return !isSatisfied && entries.length < limit;
  }

  /** How many messages and bytes of ciphertext wait. */
  async measure(address: Address, epoch: string): Promise<{ messages: number; bytes: number }> {
    let messages = 0;
    let bytes = 0;
    const now = this.database.clock.now();
    await this.database.list({ prefix: inboxPrefix(address, epoch) }, { limit: 1_000_000 }, (row) => {
      const entry = decodeEntry(row);
      if (entry !== null && entry.expiresAt > now) {
        messages++;
        bytes += entry.ciphertext.length;
      }
      return true;
    });
    return { messages, bytes };
  }
}
