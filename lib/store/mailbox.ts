/**
 * Mailboxes: what waits for each installation of a device, in the order of its acceptance.
 *
 * A value is, in this order: format (1 byte, now 1), flags (1), expiry (8, milliseconds), sender's user (16) and device
 * (4), message ID (16), time of acceptance (8, milliseconds), ciphertext. Big-endian.
 * @module
 */
import { type Address, USER_ID_BYTES, userIdFromBytes, userIdToBytes } from "../address.ts";
import type { StoredMessage } from "../domain.ts";
import { TIMES } from "../limits.ts";
import type { Database, Entry } from "./database.ts";
import { inboxKey, inboxPrefix } from "./keys.ts";
import { bucketEnd, bucketOf, lostTally, packTally, type Tally, waitingTally } from "./tally.ts";
import type { Mutation, Write, Writer } from "./writer.ts";

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
   * @param companion written in the same commit.
   * @param settle called once, with `null` when the message is durable.
   * @param landed called if it became durable after all, when that was not known in time.
   * @returns the entry; it must not be delivered before.
   */
  append(
    to: Address,
    epoch: string,
    message: StoredMessage,
    companion: Mutation | null,
    settle: Write["settle"],
    landed: () => void = () => {},
  ): MailboxEntry {
    const [entry, mutation] = prepareEntry(to, epoch, message);
    const tally = tallyOf(to, entry, 1);
    const mutations = companion === null ? [mutation] : [mutation, companion];
    this.writer.write(to.userId, {
      mutations,
      ...(tally === null ? {} : { tallies: [tally] }),
      settle,
      landed,
    });
    return entry;
  }

  /** Queues the deletion of a message, which then no longer counts as waiting. */
  remove(address: Address, entry: MailboxEntry, settle: Write["settle"]): void {
    const tally = tallyOf(address, entry, -1);
    const mutations = [{ key: inboxKey(address, entry.epoch, entry.id), change: null }];
    const tallies = tally === null ? {} : { tallies: [tally] };
    this.writer.write(address.userId, { mutations, ...tallies, isPatient: true, settle });
  }

  /**
   * Queues the deletion of a message that expired undelivered, and counts it as lost: in one commit.
   *
   * @param bytes of its ciphertext, which need not be there any more.
   */
  expire(address: Address, entry: MailboxEntry, bytes: number, settle: Write["settle"] = () => {}): void {
    const { epoch, id, expiresAt, transient } = entry;
    const mutations = [{ key: inboxKey(address, epoch, id), change: null }];
    const tallies = transient
      ? []
      : [waitingTally(address, epoch, bucketOf(expiresAt), -1, -bytes), lostTally(address, epoch, 1)];
    this.writer.write(address.userId, { mutations, tallies, isPatient: true, settle });
  }

  /**
   * Deletes a message whose deletion may have been carried out: counted once, whichever it was.
   *
   * @throws {RequestError} `unavailable`.
   */
  async removeAgain(address: Address, entry: MailboxEntry): Promise<void> {
    const row = await this.database.get(inboxKey(address, entry.epoch, entry.id));
    if (row === null) return;
    // Where nobody else deletes, what is there was not deleted: with many to repeat, they must share commits.
    if (!this.database.isShared) return await this.#removed(address, entry);
    const tally = tallyOf(address, entry, -1);
    await this.writer.commit(address.userId, (atomic) => {
      atomic.check(row).delete(row.key);
      return tally === null ? atomic : atomic.sum(tally.key, packTally(tally.messages, tally.bytes));
    });
  }

  #removed(address: Address, entry: MailboxEntry): Promise<void> {
    return new Promise((resolve, reject) => {
      this.remove(address, entry, (error) => error === null ? resolve() : reject(error));
    });
  }

  /** Queues the deletion of a message that does not count as waiting any more, or may have been deleted. */
  discard(address: Address, epoch: string, id: Uint8Array, settle: Write["settle"]): void {
    this.writer.write(address.userId, {
      mutations: [{ key: inboxKey(address, epoch, id), change: null }],
      isPatient: true,
      settle,
    });
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

  /** Looks at everything in a mailbox, expired or not, without keeping it. */
  async scan(address: Address, epoch: string, look: (entry: MailboxEntry) => void): Promise<void> {
    await this.database.scan({ prefix: inboxPrefix(address, epoch) }, PAGE_BATCH, (row) => {
      const entry = decodeEntry(row);
      if (entry !== null) look(entry);
    });
  }
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
  // The ciphertext of the entry is that of the value: the frame it came in can go.
  return [
    { ...message, ciphertext: value.subarray(OFFSET.ciphertext), epoch, idKey: toIdKey(message.id) },
    mutation,
  ];
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
