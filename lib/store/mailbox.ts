/**
 * Mailboxes: what waits for each installation of a device, in the order of its acceptance.
 *
 * A value is, in this order: format (1 byte, now 1), flags (1), expiry (8, milliseconds), sender's user (16) and device
 * (4), message ID (16), time of acceptance (8, milliseconds), ciphertext. Big-endian.
 * @module
 */
import { type Address, userIdFromBytes, userIdToBytes } from "../address.ts";
import { readUint32, readUint64, writeUint32, writeUint64 } from "../bytes.ts";
import type { StoredMessage } from "../domain.ts";
import { TIMES } from "../limits.ts";
import type { Database, Entry } from "./database.ts";
import { readAttempts } from "./attempts.ts";
import type { Addition } from "./growing.ts";
import { asideKey, asidePrefix, inboxKey, inboxPrefix } from "./keys.ts";
import { bucketEnd, bucketOf, lostTally, type Tally, waitingTally } from "./tally.ts";
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

/** The key of a message that was moved behind its mailbox is one part longer than that of another one. */
const ASIDE_KEY_PARTS = 6;

/** How many rows one read of the database fetches: enough for a window, few enough of the largest messages. */
const PAGE_BATCH = 64;

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

/** How far a read of a mailbox came. */
export interface Page {
  /** Whether nothing more waited when it began, apart from what was moved behind the mailbox. */
  readonly isAtEnd: boolean;
  /** Whether something was moved behind it, if the read came that far and was to look. */
  readonly hasAside: boolean;
}

/** The id as a string, one character a byte. */
function toIdKey(id: Uint8Array): string {
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

/** The message that a row names which is no message itself. */
function countedIn(row: Entry): string | null {
  const attempts = readAttempts(row);
  return attempts === null ? null : toIdKey(attempts.id);
}

/** Reads, fills and empties mailboxes. */
export class Mailboxes {
  constructor(private readonly database: Database, private readonly writer: Writer) {}

  /**
   * Queues a message for an installation.
   *
   * @param companions written in the same commit: what remembers the send, and what rings the recipient's bell.
   * @param settle called once, with `null` when the message is durable.
   * @param landed called if it became durable after all, or may have, when that was not known in time.
   * @returns the entry; it must not be delivered before.
   */
  append(
    to: Address,
    epoch: string,
    message: StoredMessage,
    { addition, ring }: { readonly addition: Addition | null; readonly ring: Mutation | null },
    settle: Write["settle"],
    landed: () => void = () => {},
  ): MailboxEntry {
    const [entry, mutation] = prepareEntry(to, epoch, message);
    const tally = tallyOf(to, entry, 1);
    this.writer.write(to.userId, {
      mutations: ring === null ? [mutation] : [mutation, ring],
      ...(tally === null ? {} : { tallies: [tally] }),
      ...(addition === null ? {} : { addition }),
      settle,
      landed,
    });
    return entry;
  }

  /** Queues the deletion of a message, which then no longer counts as waiting. */
  remove(address: Address, entry: MailboxEntry, settle: Write["settle"]): void {
    const tally = tallyOf(address, entry, -1);
    const mutations = [{ key: keyOf(address, entry), change: null }];
    const tallies = tally === null ? {} : { tallies: [tally] };
    this.writer.write(address.userId, { mutations, ...tallies, isPatient: true, settle });
  }

  /**
   * Queues the deletion of a message that expired undelivered, and counts it as lost: in one commit.
   *
   * @param bytes of its ciphertext, which need not be there any more.
   */
  expire(address: Address, entry: MailboxEntry, bytes: number, settle: Write["settle"] = () => {}): void {
    const { epoch, expiresAt, transient } = entry;
    const mutations = [{ key: keyOf(address, entry), change: null }];
    const tallies = transient
      ? []
      : [waitingTally(address, epoch, bucketOf(expiresAt), -1, -bytes), lostTally(address, epoch, 1)];
    this.writer.write(address.userId, { mutations, tallies, isPatient: true, settle });
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
   * @param wants told each entry in order; says whether it wants more. What was moved behind is not told.
   * @param looksForAside whether to find out if something was moved behind, which may fetch a batch of that.
   */
  async page(
    address: Address,
    epoch: string,
    limit: number,
    wants: (entry: MailboxEntry) => boolean,
    looksForAside = false,
  ): Promise<Page> {
    const prefix = inboxPrefix(address, epoch);
    const selector = looksForAside ? { prefix } : { prefix, end: asidePrefix(address, epoch) };
    let isSatisfied = false;
    let hasAside = false;
    let counted: string | null = null;
    const options = { limit, batchSize: PAGE_BATCH };
    const rows = await this.database.list(selector, options, (row) => {
      const entry = decodeEntry(row);
      // The row that counts comes first.
      if (entry === null) counted ??= countedIn(row);
      else if (entry.isAside) hasAside = true;
      else isSatisfied = !wants(entry.idKey === counted ? { ...entry, isCounted: true } : entry);
      return !isSatisfied && !hasAside;
    });
    return { isAtEnd: hasAside || (!isSatisfied && rows.length < limit), hasAside };
  }

  /** Looks at everything in a mailbox and behind it, expired or not, without keeping it. */
  async scan(address: Address, epoch: string, look: (entry: MailboxEntry) => void): Promise<void> {
    await this.database.scan({ prefix: inboxPrefix(address, epoch) }, { batchSize: PAGE_BATCH }, (row) => {
      const entry = decodeEntry(row);
      if (entry !== null) look(entry);
    });
  }
}

function keyOf(address: Address, { epoch, id, isAside }: MailboxEntry): Deno.KvKey {
  return isAside ? asideKey(address, epoch, id) : inboxKey(address, epoch, id);
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
