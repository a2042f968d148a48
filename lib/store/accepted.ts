/**
 * Sends that were accepted within the last hour, so that a repeated one is stored once.
 *
 * Kept by stretches of ten minutes. An ordinary send writes one and reads none; a repeated one reads eight: the last
 * seven, and the next, since another process's clock may be ahead. Its commit checks that none of them is there. So a
 * repeated send is stored once, unless its first attempt is still under way in another process and lands after it.
 * @module
 */
import { type Address, USER_ID_BYTES, userIdToBytes } from "../address.ts";
import type { Accepted } from "../domain.ts";
import type { Database } from "./database.ts";
import { acceptedKey, acceptedPrefix } from "./keys.ts";
import type { Mutation, Writer } from "./writer.ts";

const FORMAT = 1;
const HEADER_BYTES = 9;
const ADDRESS_BYTES = USER_ID_BYTES + 4;
const MESSAGE_ID_BYTES = 16;

const BUCKET_MS = 600_000;

/** An hour, the stretch that has just begun, and the next one. */
const BUCKETS = 8;

/** How long the database keeps a row that the janitor did not come to. */
const KEPT_MS = 2 * 3_600_000;

/** Rows that the janitor deletes in one commit. */
const SWEEP_ROWS = 500;

/** What makes two sends the same one: the sender, the recipient (a device, or all of a user), the message ID. */
export interface SendIdentity {
  readonly from: Address;
  readonly toUserId: string;
  /** `null`: all devices of the user. */
  readonly toDeviceId: number | null;
  /** 16 bytes. */
  readonly messageId: Uint8Array;
}

/** The identity in bytes: of a send to all devices 4 bytes shorter, so that it is never that of one device. */
function encodeIdentity({ from, toUserId, toDeviceId, messageId }: SendIdentity): Uint8Array {
  const recipientBytes = toDeviceId === null ? USER_ID_BYTES : ADDRESS_BYTES;
  const bytes = new Uint8Array(ADDRESS_BYTES + recipientBytes + MESSAGE_ID_BYTES);
  const view = new DataView(bytes.buffer);
  bytes.set(userIdToBytes(from.userId));
  view.setUint32(USER_ID_BYTES, from.deviceId);
  bytes.set(userIdToBytes(toUserId), ADDRESS_BYTES);
  if (toDeviceId !== null) view.setUint32(ADDRESS_BYTES + USER_ID_BYTES, toDeviceId);
  bytes.set(messageId, ADDRESS_BYTES + recipientBytes);
  return bytes;
}

function encodeAccepted({ at, fullDeviceIds }: Accepted): Uint8Array {
  const value = new Uint8Array(HEADER_BYTES + fullDeviceIds.length * 4);
  const view = new DataView(value.buffer);
  value[0] = FORMAT;
  view.setBigUint64(1, BigInt(at));
  fullDeviceIds.forEach((id, i) => view.setUint32(HEADER_BYTES + i * 4, id));
  return value;
}

function decodeAccepted(value: unknown): Accepted | null {
  if (!(value instanceof Uint8Array) || value[0] !== FORMAT || value.length < HEADER_BYTES) return null;
  const view = new DataView(value.buffer, value.byteOffset, value.byteLength);
  const fullDeviceIds: number[] = [];
  for (let i = HEADER_BYTES; i + 4 <= value.length; i += 4) fullDeviceIds.push(view.getUint32(i));
  return { at: Number(view.getBigUint64(1)), fullDeviceIds };
}

/** Remembers sends. */
export class AcceptedSends {
  constructor(private readonly database: Database, private readonly writer: Writer) {}

  /** What remembers a send; it belongs into the commit that stores it. */
  remember(send: SendIdentity, accepted: Accepted): Mutation {
    const key = acceptedKey(this.#bucket(), encodeIdentity(send));
    return { key, change: encodeAccepted(accepted), expireInMs: KEPT_MS };
  }

  /** Looks a send up that may have been accepted within the last hour. */
  async find(send: SendIdentity): Promise<Accepted | null> {
    const entries = await this.database.getMany(this.#keys(send));
    for (const entry of entries) {
      const accepted = decodeAccepted(entry?.value);
      if (accepted !== null) return accepted;
    }
    return null;
  }

  /** Makes a commit fail if the send was accepted within the last hour: eight checks. */
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

  #keys(send: SendIdentity): Deno.KvKey[] {
    const newest = this.#bucket() + 1;
    const identity = encodeIdentity(send);
    return Array.from({ length: BUCKETS }, (_, i) => acceptedKey(newest - i, identity));
  }
}
