/**
 * Sends that were accepted within the last hour, so that a repeated one is stored once.
 *
 * Kept by stretches of half an hour: a repeated send looks into the last three, and into the next, since another
 * process's clock may be ahead. An ordinary send to one device reads nothing, and is added to a row that it shares with
 * others of its sender and recipient (`growing.ts`). Every other one has a row of its own, and its commit can check that
 * there is none yet.
 *
 * So a repeated send is stored once, unless its first attempt is still under way in another process and lands after it.
 * @module
 */
import { type Address, addressKey, USER_ID_BYTES, userIdToBytes } from "../address.ts";
import { readUint32, readUint64, writeUint32, writeUint64 } from "../bytes.ts";
import type { Accepted } from "../domain.ts";
import { GROWING } from "../limits.ts";
import type { Database, Entry } from "./database.ts";
import type { Addition } from "./growing.ts";
import { acceptedKey, acceptedPairPrefix, acceptedPrefix, acceptedRowKey } from "./keys.ts";
import type { Mutation, Writer } from "./writer.ts";

const FORMAT = 1;
const HEADER_BYTES = 9;
const ADDRESS_BYTES = USER_ID_BYTES + 4;
const MESSAGE_ID_BYTES = 16;

/** What a send takes in a row that it shares: its message ID, and when it was accepted. */
const ADDITION_BYTES = MESSAGE_ID_BYTES + 8;

const BUCKET_MS = 1_800_000;

/** An hour, the stretch that has just begun, and the next one. */
const BUCKETS = 4;

/** Rows that the janitor deletes in one commit. */
const SWEEP_ROWS = 250;

/** Shared rows of one pair and stretch that are looked through at most: far more than the budgets let anybody fill. */
const ROWS_MAX = 50_000;

/** How many of them one read of the database fetches. */
const ROWS_BATCH = 50;

/** What makes two sends the same one: the sender, the recipient (a device, or all of a user), the message ID. */
export interface SendIdentity {
  readonly from: Address;
  readonly toUserId: string;
  /** `null`: all devices of the user. */
  readonly toDeviceId: number | null;
  /** 16 bytes. */
  readonly messageId: Uint8Array;
}

/** What was found of a send. */
export interface Found {
  readonly accepted: Accepted | null;
  /** How many rows were looked at. */
  readonly rows: number;
}

/** Sender and recipient in bytes, of a send to all devices 4 bytes shorter; and room for so many more. */
function encodePair(
  from: Address,
  { toUserId, toDeviceId }: Pick<SendIdentity, "toUserId" | "toDeviceId">,
  more: number,
): Uint8Array {
  const recipientBytes = toDeviceId === null ? USER_ID_BYTES : ADDRESS_BYTES;
  const bytes = new Uint8Array(ADDRESS_BYTES + recipientBytes + more);
  bytes.set(userIdToBytes(from.userId));
  writeUint32(bytes, USER_ID_BYTES, from.deviceId);
  bytes.set(userIdToBytes(toUserId), ADDRESS_BYTES);
  if (toDeviceId !== null) writeUint32(bytes, ADDRESS_BYTES + USER_ID_BYTES, toDeviceId);
  return bytes;
}

/** The identity in bytes: of a send to all devices 4 bytes shorter, so that it is never that of one device. */
function encodeIdentity(send: SendIdentity): Uint8Array {
  const bytes = encodePair(send.from, send, MESSAGE_ID_BYTES);
  bytes.set(send.messageId, bytes.length - MESSAGE_ID_BYTES);
  return bytes;
}

function encodeAccepted({ at, fullDeviceIds }: Accepted): Uint8Array {
  const value = new Uint8Array(HEADER_BYTES + fullDeviceIds.length * 4);
  value[0] = FORMAT;
  writeUint64(value, 1, at);
  fullDeviceIds.forEach((id, i) => writeUint32(value, HEADER_BYTES + i * 4, id));
  return value;
}

function decodeAccepted(value: unknown): Accepted | null {
  if (!(value instanceof Uint8Array) || value[0] !== FORMAT || value.length < HEADER_BYTES) return null;
  const fullDeviceIds: number[] = [];
  for (let i = HEADER_BYTES; i + 4 <= value.length; i += 4) fullDeviceIds.push(readUint32(value, i));
  return { at: readUint64(value, 1), fullDeviceIds };
}

/** Looks for a message ID in a row that sends share. */
function findInRow({ value }: Entry, messageId: Uint8Array): Accepted | null {
  if (!(value instanceof Uint8Array)) return null;
  for (let offset = 0; offset + ADDITION_BYTES <= value.length; offset += ADDITION_BYTES) {
    if (!messageId.every((byte, i) => byte === value[offset + i])) continue;
    return { at: readUint64(value, offset + MESSAGE_ID_BYTES), fullDeviceIds: [] };
  }
  return null;
}

/** An ordinary send, on its way into the row that it shares. */
class AcceptedSend implements Addition {
  readonly group: string;
  readonly byteLength = ADDITION_BYTES;

  constructor(
    private readonly from: Address,
    private readonly to: Address,
    private readonly messageId: Uint8Array,
    private readonly at: number,
    private readonly bucket: number,
  ) {
    this.group = `${bucket}/${addressKey(from)}>${addressKey(to)}`;
  }

  write(bytes: Uint8Array, offset: number): void {
    bytes.set(this.messageId, offset);
    writeUint64(bytes, offset + MESSAGE_ID_BYTES, this.at);
  }

  newKey(): Deno.KvKey {
    const { userId: toUserId, deviceId: toDeviceId } = this.to;
    const pair = encodePair(this.from, { toUserId, toDeviceId }, 0);
    // By time, so that the newest are found first, and unlike those of other processes.
    const id = crypto.getRandomValues(new Uint8Array(16));
    writeUint64(id, 0, this.at);
    return acceptedRowKey(this.bucket, pair, id);
  }
}

/** Remembers sends. */
export class AcceptedSends {
  constructor(private readonly database: Database, private readonly writer: Writer) {}

  /** What remembers a send that is stored on conditions; it belongs into the commit that stores it. */
  remember(send: SendIdentity, accepted: Accepted): Mutation {
    const key = acceptedKey(this.#bucket(), encodeIdentity(send));
    return { key, change: encodeAccepted(accepted), expireInMs: GROWING.keptMs };
  }

  /**
   * What remembers an ordinary send to one device; it belongs into the commit that stores it.
   *
   * @param at when it was accepted, milliseconds since the epoch.
   */
  add(from: Address, to: Address, messageId: Uint8Array, at: number): Addition {
    return new AcceptedSend(from, to, messageId, at, this.#bucket());
  }

  /** Looks a send up that may have been accepted within the last hour. What is still in a queue is not found. */
  async find(send: SendIdentity): Promise<Found> {
    const entries = await this.database.getMany(this.#keys(send));
    let rows = 0;
    for (const entry of entries) {
      const accepted = decodeAccepted(entry?.value);
      if (accepted !== null) return { accepted, rows };
    }
    if (send.toDeviceId === null) return { accepted: null, rows };
    const pair = encodePair(send.from, send, 0);
    let accepted: Accepted | null = null;
    // The newest first: what is repeated was sent not long ago.
    for (const bucket of this.#buckets()) {
      const options = { limit: ROWS_MAX, batchSize: ROWS_BATCH, reverse: true };
      await this.database.scan({ prefix: acceptedPairPrefix(bucket, pair) }, options, (row) => {
        rows++;
        accepted = findInRow(row, send.messageId);
        return accepted === null;
      });
      if (accepted !== null) break;
    }
    return { accepted, rows };
  }

  /** Makes a commit fail if a send with a row of its own is already there: four checks. */
  requireNew(atomic: Deno.AtomicOperation, send: SendIdentity): void {
    for (const key of this.#keys(send)) atomic.check({ key, versionstamp: null });
  }

  /**
   * Deletes a portion of what is too old.
   *
   * @returns whether more waits.
   */
  async sweep(): Promise<boolean> {
    const selector = { prefix: acceptedPrefix, end: [...acceptedPrefix, this.#bucket() - BUCKETS + 2] };
    const rows = await this.database.list(selector, { limit: SWEEP_ROWS });
    const [first] = rows;
    if (first === undefined) return false;
    await this.writer.commit("", (atomic) => {
      for (const { key } of rows) atomic.delete(key);
      return atomic;
    });
    return rows.length === SWEEP_ROWS;
  }

  #bucket(): number {
    return Math.floor(this.database.clock.now() / BUCKET_MS);
  }

  /** The stretches in which a repeated send may stand, the newest first. */
  #buckets(): number[] {
    const newest = this.#bucket() + 1;
    return Array.from({ length: BUCKETS }, (_, i) => newest - i);
  }

  #keys(send: SendIdentity): Deno.KvKey[] {
    const identity = encodeIdentity(send);
    return this.#buckets().map((bucket) => acceptedKey(bucket, identity));
  }
}
