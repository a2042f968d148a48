/**
 * Sees everything that a run does, at the database and at the servers' ends of the connections, and judges it at once.
 */
import {
  decodeEnvelope,
  type Envelope,
  HEADER_BYTES,
  type ServerMessage,
  TYPE,
  v1,
  v2,
} from "../../lib/protocol/mod.ts";
import type { MailboxEntry } from "../../lib/service/mod.ts";
import { Answers } from "./answers.ts";
import type { Connection, Onlooker } from "./connection.ts";
import { Copies, type Copy, deviceOf, type Grounds } from "./copies.ts";
import { Deliveries } from "./deliveries.ts";
import { HandedOut } from "./handed_out.ts";
import { Installations } from "./installations.ts";
import type { Asked, KvState, Row } from "./kv_state.ts";
import { QueueBounds } from "./queue_bounds.ts";
import type { Scheduler } from "./scheduler.ts";
import { isAsideKey, isCountKey, SetAsides } from "./set_aside.ts";
import { Sends, tokenOf } from "./sends.ts";
import type { Witness } from "./storage_way.ts";
import { Verdict, WallHistory } from "./verdict.ts";

/** The codec of a connection. */
export const codecOf = ({ version }: { readonly version: 1 | 2 }) => version === 1 ? v1 : v2;

/** The envelopes of a frame. */
export function* envelopesOf(bytes: Uint8Array, version: 1 | 2): Generator<Envelope> {
  for (let offset = 0; offset < bytes.length;) {
    const envelope = decodeEnvelope(bytes, offset, version);
    offset += HEADER_BYTES + envelope.payload.length;
    yield envelope;
  }
}

/** All that is known of a run. */
export class Evidence implements Witness, Onlooker {
  readonly verdict: Verdict;
  readonly walls: WallHistory;
  readonly installations: Installations;
  readonly sends = new Sends();
  readonly copies: Copies;
  readonly setAsides: SetAsides;
  readonly deliveries: Deliveries;
  readonly answers: Answers;
  readonly handedOut: HandedOut;
  readonly bounds: QueueBounds;
  /** How many messages devices were told as lost: the sum, the largest number, and when it was told last. */
  readonly lost = new Map<string, { sum: number; most: number; toldAt: number }>();
  /** Which message goes out under a sequence of a connection. */
  readonly #delivering = new Map<string, { readonly copy: Copy | undefined; readonly isAside: boolean }>();
  /** Requests that may change which installation the connection's device has. */
  readonly #registrations = new Set<string>();
  /** ClaimIDs of requests that were taken, by connection and sequence. */
  readonly #claims = new Map<string, Uint8Array | undefined>();

  constructor(readonly scheduler: Scheduler, state: KvState, isShared: boolean, mailboxMessagesMax: number) {
    this.verdict = new Verdict(scheduler);
    this.walls = new WallHistory(scheduler);
    this.installations = new Installations(scheduler);
    const { verdict, walls, installations, sends } = this;
    const grounds: Grounds = { scheduler, verdict, walls, installations, sends };
    this.copies = new Copies(grounds);
    this.setAsides = new SetAsides(verdict, this.copies);
    this.deliveries = new Deliveries(grounds, this.copies);
    this.answers = new Answers(grounds, this.copies);
    this.handedOut = new HandedOut(scheduler, this.verdict, this.walls, this.installations);
    this.bounds = new QueueBounds(this.verdict, state, isShared, mailboxMessagesMax);
  }

  /** Whether a connection was taken a Register or Unregister from. */
  hasRegistered({ id }: Connection): boolean {
    return [...this.#registrations].some((name) => name.startsWith(`${id}/`));
  }

  committed(processId: number, { checks, changes }: Asked, versionstamp: string): void {
    const isOfRetry = checks.some(({ key, versionstamp }) => key[0] === "accepted" && versionstamp === null);
    this.setAsides.committed(changes);
    for (const change of changes) {
      const { key, type } = change;
      const value = type === "set" ? change.value : null;
      const isBytes = value instanceof Uint8Array;
      if (key[0] === "device") this.installations.wrote(processId, deviceOf(key), key, value);
      else if (key[0] === "inbox" && (isCountKey(key) || (isBytes && isAsideKey(key)))) continue;
      else if (key[0] === "inbox" && isBytes) {
        this.copies.stored(processId, key, value, versionstamp, isOfRetry);
      } else if (key[0] === "inbox") this.copies.deleted(key);
      else if (key[0] === "trash" && type === "delete") {
        this.installations.swept(deviceOf(key), String(key[3]));
      } else if (key[0] === "prekey" && isBytes) this.handedOut.pooled(deviceOf(key), String(key[3]), value);
    }
    this.bounds.committed(changes);
  }

  answered(versionstamp: string): void {
    this.copies.known(versionstamp);
  }

  troubled({ changes }: Asked): void {
    this.bounds.troubled();
    for (const { type, key } of changes) {
      if (type === "delete" && key[0] === "inbox") this.copies.deletionIsTroubled(key);
    }
  }

  got({ key, versionstamp }: Deno.KvEntryMaybe<unknown>): void {
    // What a lane committed last: so it learns of a commit whose answer got lost.
    if (key[0] === "lane" && versionstamp !== null) this.copies.known(versionstamp);
  }

  read(processId: number, rows: readonly Row[]): void {
    this.copies.read(processId, rows);
  }

  delivers(connection: Connection, sequence: number, entry: MailboxEntry): void {
    const { userId, deviceId } = connection.address;
    const copy = this.copies.get(["inbox", userId, deviceId, entry.epoch, entry.id]);
    this.#delivering.set(`${connection.id}/${sequence}`, { copy, isAside: entry.isAside ?? false });
  }

  serverSent(connection: Connection, bytes: Uint8Array): void {
    this.bounds.sent(connection);
    for (const { sequence, type, payload } of envelopesOf(bytes, connection.version)) {
      const message = codecOf(connection).decodeServerMessage(type, payload);
      this.scheduler.trace(
        `${connection.id} is sent ${message.type} ${sequence} ${payload.subarray(0, 40).toHex()}`,
      );
      this.#sent(connection, sequence, message);
    }
  }

  serverTook(connection: Connection, bytes: Uint8Array): void {
    for (const { sequence, type, payload } of envelopesOf(bytes, connection.version)) {
      this.scheduler.trace(`${connection.id} sent ${type} ${sequence} ${payload.subarray(0, 40).toHex()}`);
      if (type === TYPE.ack) {
        this.deliveries.acknowledged(connection, sequence);
        continue;
      }
      this.bounds.took(connection);
      if (type === TYPE.error) this.deliveries.refused(connection, sequence);
      const found = this.sends.find(connection.id, sequence);
      if (found !== undefined) {
        found.attempt.taken.push({ processId: connection.process.id, at: this.scheduler.elapsed });
      }
      if (type === TYPE.register || type === TYPE.unregister) {
        this.#registrations.add(`${connection.id}/${sequence}`);
      }
      if (type !== TYPE.requestPreKeys) continue;
      const message = codecOf(connection).decodeClientMessage(type, payload);
      if (message.type === "request_prekeys") {
        this.#claims.set(`${connection.id}/${sequence}`, message.request.claimId);
      }
    }
  }

  connectionEnded(connection: Connection): void {
    this.deliveries.ended(connection);
    this.bounds.ended(connection);
  }

  #sent(connection: Connection, sequence: number, message: ServerMessage): void {
    switch (message.type) {
      case "user_message": {
        const { ciphertext } = message.message;
        const name = `${connection.id}/${sequence}`;
        const { copy, isAside = false } = this.#delivering.get(name) ?? {};
        this.#delivering.delete(name);
        const bytes = ciphertext.length;
        return this.deliveries.sent(connection, {
          sequence,
          token: tokenOf(ciphertext),
          copy,
          bytes,
          isAside,
        });
      }
      case "ack":
        this.bounds.answered(connection);
        if (this.#registrations.has(`${connection.id}/${sequence}`)) {
          this.deliveries.restarted(connection);
        }
        return this.answers.acknowledged(connection, sequence, message.accepted?.fullDeviceIds ?? []);
      case "error":
        this.bounds.answered(connection);
        return this.answers.refusedWith(connection, sequence, message.code);
      case "prekey": {
        const claimId = this.#claims.get(`${connection.id}/${sequence}`);
        if (message.more === 0) this.bounds.answered(connection);
        return this.handedOut.answered(connection, message.bundle, claimId);
      }
      case "devices":
        return this.bounds.answered(connection);
      case "queue_empty": {
        const device = `${connection.address.userId}/${connection.address.deviceId}`;
        const { sum, most } = this.lost.get(device) ?? { sum: 0, most: 0 };
        const toldAt = this.scheduler.elapsed;
        this.lost.set(device, { sum: sum + message.lost, most: Math.max(most, message.lost), toldAt });
      }
    }
  }
}
