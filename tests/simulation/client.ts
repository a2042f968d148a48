/**
 * A client on one device: connects, registers, sends, acknowledges; and does so carelessly, as clients do. What it does
 * next is chosen by the world; what it does with what comes is here.
 */
import type { Address } from "../../lib/address.ts";
import type { DeviceKeys, UserDevice } from "../../lib/domain.ts";
import { ERRORS } from "../../lib/errors.ts";
import { type ClientMessage, nextClientSequence, type ServerMessage } from "../../lib/protocol/mod.ts";
import { type ClientEnd, Connection } from "./connection.ts";
import { codecOf, envelopesOf, type Evidence } from "./evidence.ts";
import type { Random } from "./random.ts";
import type { Scheduler } from "./scheduler.ts";
import { type Send, tokenOf } from "./sends.ts";
import type { ServerProcess } from "./server_process.ts";

/** How a client behaves. */
export interface Manners {
  /** Whether it acknowledges a message, and the mean time that it takes. */
  readonly acknowledges: number;
  readonly acknowledgeMs: number;
  /** Whether a frame goes out twice. */
  readonly doubles: number;
  /** The share of messages that it refuses, the same ones each time that they come. */
  readonly refuses: number;
}

/** A client that does all that it should, at once. */
export const GOOD: Manners = { acknowledges: 1, acknowledgeMs: 5, doubles: 0, refuses: 0 };

/** What all clients of a world share. */
export interface Surroundings {
  readonly scheduler: Scheduler;
  readonly random: Random;
  readonly evidence: Evidence;
  nextConnectionId(): number;
}

/** What a client asked for and has no answer to. */
type Asked =
  | { readonly what: "register" | "unregister" | "claim" | "devices" }
  | { readonly what: "send"; readonly send: Send };

/** What a client that can make nothing of a message answers. */
const REFUSAL: ClientMessage = { type: "error", code: ERRORS.unmarshal.code, description: "" };

/** How long a client waits before it takes an answer for lost. */
const PATIENCE_MS = 15_000;

/** A client. */
export class Client implements ClientEnd {
  manners: Manners = GOOD;
  /** The newest connection; older ones may still be open. */
  connection: Connection | null = null;
  /** The keys of the installation; `null` before the first. */
  keys: DeviceKeys | null = null;
  /** Whether the server has, may have, or has not this installation. */
  registration: "no" | "perhaps" | "yes" = "no";
  /** Version 2 sends whose outcome is not known. */
  readonly unsettled: Send[] = [];
  /** What it knows of the devices of users. */
  readonly lists = new Map<string, readonly UserDevice[]>();
  lastClaim: { readonly userId: string; readonly claimId: Uint8Array } | null = null;
  readonly #open = new Set<Connection>();
  readonly #asked = new Map<string, Asked>();
  #sequence = 0;

  constructor(
    readonly address: Address,
    readonly version: 1 | 2,
    private readonly surroundings: Surroundings,
  ) {}

  /** Its connections, those that it left behind too. */
  get connections(): readonly Connection[] {
    return [...this.#open];
  }

  /** Whether it can send. */
  get isConnected(): boolean {
    return this.connection?.isOpen === true;
  }

  /** Opens a connection; the one before it stays until the server ends it. */
  connect(process: ServerProcess): void {
    const { scheduler, random, evidence } = this.surroundings;
    const id = this.surroundings.nextConnectionId();
    const connection = new Connection(
      id,
      this.address,
      this.version,
      process,
      this,
      evidence,
      scheduler,
      random,
    );
    this.#open.add(connection);
    this.connection = connection;
  }

  /** Sends a request. */
  request(message: ClientMessage, asked: Asked): void {
    const { connection } = this;
    if (connection === null || !connection.isOpen) return;
    const { random, evidence, scheduler } = this.surroundings;
    this.#sequence = nextClientSequence(this.#sequence);
    const sequence = this.#sequence;
    const name = `${connection.id}/${sequence}`;
    this.#asked.set(name, asked);
    if (asked.what === "send") {
      const isRetry = message.type === "user_message"
        ? message.message.retry
        : message.type === "user_messages" &&
          message.messages.retry;
      evidence.sends.attempt(asked.send, connection.id, sequence, isRetry);
    }
    scheduler.after(PATIENCE_MS, () => this.#unanswered(name));
    const bytes = codecOf(this).encodeClientMessage(message, sequence);
    connection.clientSends(bytes, random.chance(this.manners.doubles));
  }

  /** Sends what is no request. */
  tell(connection: Connection, message: ClientMessage, sequence: number): void {
    const twice = this.surroundings.random.chance(this.manners.doubles);
    connection.clientSends(codecOf(this).encodeClientMessage(message, sequence), twice);
  }

  opened(): void {}

  received(connection: Connection, bytes: Uint8Array): void {
    for (const { sequence, type, payload } of envelopesOf(bytes, this.version)) {
      const message = codecOf(this).decodeServerMessage(type, payload);
      if (message.type === "user_message" && this.#isRefused(tokenOf(message.message.ciphertext))) {
        this.tell(connection, REFUSAL, sequence);
      } else if (message.type === "user_message" || message.type === "prekeys_low") {
        this.#acknowledge(connection, sequence);
      } else this.#answered(`${connection.id}/${sequence}`, message);
    }
  }

  closed(connection: Connection, _code: number): void {
    this.#open.delete(connection);
    if (this.connection === connection) this.connection = null;
    for (const name of [...this.#asked.keys()]) {
      if (name.startsWith(`${connection.id}/`)) this.#unanswered(name);
    }
  }

  #isRefused(token: number): boolean {
    // A number that looks like chance, and is the same for the same message.
    return (Math.imul(token + 1, 0x9e3779b1) >>> 0) / 0x1_0000_0000 < this.manners.refuses;
  }

  #acknowledge(connection: Connection, sequence: number): void {
    const { random, scheduler } = this.surroundings;
    const { acknowledges, acknowledgeMs, doubles } = this.manners;
    if (!random.chance(acknowledges)) {
      if (random.chance(0.3)) this.tell(connection, REFUSAL, sequence);
      return;
    }
    const acknowledge = () => connection.isOpen && this.tell(connection, { type: "ack" }, sequence);
    scheduler.after(random.wait(acknowledgeMs), acknowledge);
    if (random.chance(doubles)) scheduler.after(random.wait(5 * acknowledgeMs), acknowledge);
  }

  #answered(name: string, message: ServerMessage): void {
    const asked = this.#asked.get(name);
    if (message.type === "devices") this.lists.set(message.userId, message.devices);
    if (asked === undefined) return;
    if (message.type === "prekey" && message.more > 0) return;
    this.#asked.delete(name);
    if (message.type === "error") return this.#refused(asked, message);
    if (asked.what === "register") this.registration = "yes";
    if (asked.what === "unregister") this.#forget();
    if (asked.what === "send") this.#settle(asked.send);
  }

  #refused(asked: Asked, { code, mismatch }: Extract<ServerMessage, { type: "error" }>): void {
    const isUnknown = code === ERRORS.unavailable.code || code === ERRORS.unknown.code;
    if (asked.what === "unregister" && isUnknown) this.#forget();
    if (asked.what !== "send") return;
    if (isUnknown) return this.#doubt(asked.send);
    this.#settle(asked.send);
    if (mismatch === undefined) return;
    const { toUserId } = asked.send;
    const known = new Map((this.lists.get(toUserId) ?? []).map((device) => [device.deviceId, device]));
    for (const device of [...mismatch.missing, ...mismatch.stale]) known.set(device.deviceId, device);
    for (const deviceId of mismatch.extra) known.delete(deviceId);
    this.lists.set(toUserId, [...known.values()]);
  }

  /** No answer comes any more. */
  #unanswered(name: string): void {
    const asked = this.#asked.get(name);
    this.#asked.delete(name);
    if (asked?.what === "send") this.#doubt(asked.send);
    if (asked?.what === "unregister") this.#forget();
  }

  /** The installation is gone, or may be: the next one has keys of its own. */
  #forget(): void {
    this.registration = "no";
    this.keys = null;
  }

  #doubt(send: Send): void {
    if (this.version === 2 && !this.unsettled.includes(send)) this.unsettled.push(send);
  }

  #settle(send: Send): void {
    const index = this.unsettled.indexOf(send);
    if (index >= 0) this.unsettled.splice(index, 1);
  }
}
