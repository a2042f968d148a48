/**
 * Devices that write to each other in pairs, as fast as they are answered, and keep the books on every message.
 *
 * Messages of one device are numbered from 0. One that was sent and not answered is not sent again: so each number is
 * on the server at most once, and what comes twice was delivered twice.
 * @module
 */
import { Connection, ServerError } from "../../lib/client/mod.ts";
import { signTestToken } from "../support/server.ts";
import type { Random } from "./random.ts";

/** How long before the kill an Ack must have left its recipient for the message never to come again. */
const ACK_GRACE_MS = 100;

/** Messages of one device that wait for their answer. */
const IN_FLIGHT_MAX = 6;

/** One message in so many is not acknowledged by its recipient when it first comes. */
const WITHHELD_EVERY = 16;

/** Before the first message of a connection. */
const NONE = { rank: -1, number: -1 };

interface Sent {
  readonly onConnection: number;
  isAcknowledged: boolean;
}

interface Received {
  readonly onConnection: number;
  /** How many came for the first time before it. */
  readonly rank: number;
  readonly isWithheld: boolean;
  /** By when the Ack was sent, by the clock of `performance`; `null` if that is not known. */
  acknowledgedAt: number | null;
}

/** What is counted over all devices. */
export interface Tally {
  sent: number;
  acknowledged: number;
  delivered: number;
  /** Came again as it should: not acknowledged, or too late before the kill. */
  cameAgain: number;
  /** Acknowledged in good time, and came again. */
  readonly duplicated: string[];
  /** Came after one that was sent later on the same connection, or again in an order that is neither theirs nor that of the first time. */
  readonly reordered: string[];
  /**
   * Came after one that its sender sent on a later connection, and was never answered: its commit was still under way
   * when the sender had moved, and order is owed within a connection. (If it was answered, it counts as reordered.)
   */
  readonly late: string[];
  /** Acknowledged to the sender and never delivered. */
  readonly lost: string[];
  /** Never delivered, though one that was sent later on the same connection was. */
  readonly leftOut: string[];
}

/** Nothing has happened yet. */
export function emptyTally(): Tally {
  return {
    sent: 0,
    acknowledged: 0,
    delivered: 0,
    cameAgain: 0,
    duplicated: [],
    reordered: [],
    late: [],
    lost: [],
    leftOut: [],
  };
}

/** One device, over all its connections. */
export class Device {
  readonly userId = crypto.randomUUID();
  readonly #sent: Sent[] = [];
  readonly #received = new Map<number, Received>();
  readonly #final = new Set<number>();
  #connection: Connection | null = null;
  #connections = 0;
  readonly #underWay = new Set<Promise<void>>();
  #isSending = false;
  #answeredUntil = Number.NEGATIVE_INFINITY;
  #last = NONE;
  /** The last number that came, by the connection on which it was sent. */
  readonly #lastSentOn = new Map<number, number>();
  readonly #late: { readonly number: number; readonly where: string }[] = [];
  #previous: Received | null = null;
  #peer: Device | null = null;

  constructor(readonly name: string, private readonly random: Random, private readonly tally: Tally) {}

  /** The other one of the pair. */
  get peer(): Device {
    if (this.#peer === null) throw new Error(`${this.name} has no peer`);
    return this.#peer;
  }

  set peer(device: Device) {
    this.#peer = device;
  }

  /** The number of the last message that was sent. */
  get lastSent(): number {
    return this.#sent.length - 1;
  }

  /** Resolves when its connection is over; `null` if there is none. */
  get ended(): Promise<unknown> | null {
    return this.#connection?.closed ?? null;
  }

  hasReceived(number: number): boolean {
    return this.#received.has(number);
  }

  /** Connects; a server that is killed meanwhile is no error. */
  async connect(url: string): Promise<void> {
    const connectionNumber = ++this.#connections;
    this.#last = NONE;
    this.#previous = null;
    this.#answeredUntil = Number.NEGATIVE_INFINITY;
    this.#connection = await Connection.connect({
      url,
      userId: this.userId,
      deviceId: 1,
      token: await signTestToken(this.userId),
      onMessage: ({ from, ciphertext }) => {
        if (from.userId !== this.peer.userId) throw new Error(`${this.name} got a message of a stranger`);
        this.#take(new DataView(ciphertext.buffer, ciphertext.byteOffset).getUint32(0), connectionNumber);
      },
    }).catch(() => null);
  }

  async register(): Promise<void> {
    const key = this.random.bytes(32);
    await this.#connection?.register({ registrationId: 1, identityKey: key, signedPreKey: key, preKeys: [] });
  }

  async disconnect(): Promise<void> {
    await this.#connection?.close();
    this.#connection = null;
  }

  /** Sends one message after the other until the connection is over. */
  busy(): void {
    this.#isSending = true;
    while (this.#underWay.size < IN_FLIGHT_MAX && this.#isSending && this.#connection !== null) {
      const sending = this.send().finally(() => {
        this.#underWay.delete(sending);
        if (this.#isSending) this.busy();
      });
      this.#underWay.add(sending);
    }
  }

  /** Begins nothing more, and waits for the answers to what is under way. */
  async rest(): Promise<void> {
    this.#isSending = false;
    await Promise.allSettled(this.#underWay);
  }

  /** Sends one message; one whose answer never comes is no error. */
  async send(): Promise<void> {
    if (this.#connection === null) throw new Error(`${this.name} is not connected`);
    const sent: Sent = { onConnection: this.#connections, isAcknowledged: false };
    const number = this.#sent.push(sent) - 1;
    this.tally.sent++;
    const ciphertext = new Uint8Array(4 + this.random.integer(1_000));
    new DataView(ciphertext.buffer).setUint32(0, number);
    const sentAt = performance.now();
    try {
      await this.#connection.send({ userId: this.peer.userId, deviceId: 1 }, ciphertext);
      sent.isAcknowledged = true;
      this.tally.acknowledged++;
      this.#answeredUntil = Math.max(this.#answeredUntil, sentAt);
    } catch (error) {
      if (error instanceof ServerError) throw error;
      this.#isSending = false;
    }
  }

  /**
   * The server was killed: waits until this is noticed, and judges which Acks had landed by then. That one had the time
   * is shown by the clock, and by an answer to something that was sent after it: so it is no failure if the machine was
   * too busy to read for 100 ms.
   */
  async killed(killedAt: number): Promise<void> {
    this.#isSending = false;
    await this.#connection?.closed;
    this.#connection = null;
    for (const [number, { onConnection, acknowledgedAt }] of this.#received) {
      if (onConnection !== this.#connections || acknowledgedAt === null) continue;
      const hadTime = killedAt - acknowledgedAt >= ACK_GRACE_MS && acknowledgedAt < this.#answeredUntil;
      if (hadTime) this.#final.add(number);
    }
  }

  /** Everything that was acknowledged before the last answer is final: the server has stopped in order. */
  async stopped(): Promise<void> {
    await this.killed(Number.POSITIVE_INFINITY);
  }

  /** Tells what never arrived of what this device sent, and judges what came late. */
  settle(): void {
    for (const { number, where } of this.#late) {
      const { reordered, late } = this.tally;
      (this.peer.#sent[number]?.isAcknowledged === true ? reordered : late).push(where);
    }
    const lastDelivered = new Map<number, number>();
    this.#sent.forEach(({ onConnection }, number) => {
      if (this.peer.hasReceived(number)) lastDelivered.set(onConnection, number);
    });
    this.#sent.forEach(({ onConnection, isAcknowledged }, number) => {
      if (this.peer.hasReceived(number)) return;
      if (isAcknowledged) this.tally.lost.push(`${this.name} ${number}`);
      if (number < (lastDelivered.get(onConnection) ?? -1)) this.tally.leftOut.push(`${this.name} ${number}`);
    });
  }

  /** Books a message; throws, so that it is not acknowledged, for some that come for the first time. */
  #take(number: number, onConnection: number): void {
    // The client takes a message once it has sent the Ack for the one before.
    if (this.#previous?.isWithheld === false) this.#previous.acknowledgedAt = performance.now();
    const before = this.#received.get(number);
    const where = `${this.peer.name} ${number} on connection ${onConnection}`;
    if (before === undefined) {
      this.tally.delivered++;
      this.#judgeOrder(number, where);
    } else if (this.#final.has(number)) this.tally.duplicated.push(where);
    else this.tally.cameAgain++;
    const rank = before?.rank ?? this.#received.size;
    if (rank <= this.#last.rank && number <= this.#last.number) this.tally.reordered.push(`${where}, again`);
    this.#last = { rank, number };
    const isWithheld = before === undefined && number % WITHHELD_EVERY === WITHHELD_EVERY - 1;
    this.#previous = { onConnection, rank, isWithheld, acknowledgedAt: null };
    this.#received.set(number, this.#previous);
    if (isWithheld) throw new Error("not acknowledged this time");
  }

  /** Of a message that comes for the first time. */
  #judgeOrder(number: number, where: string): void {
    const sentOn = this.peer.#sent[number]?.onConnection;
    if (sentOn === undefined) throw new Error(`${where} was never sent`);
    const last = this.#lastSentOn.get(sentOn) ?? -1;
    if (number < last) this.tally.reordered.push(where);
    else if (number < Math.max(...this.#lastSentOn.values())) this.#late.push({ number, where });
    this.#lastSentOn.set(sentOn, Math.max(last, number));
  }
}

/** So many pairs. */
export function makePairs(count: number, random: Random, tally: Tally): Device[] {
  return Array.from({ length: count }, (_, i) => {
    const a = new Device(`${i}a`, random, tally);
    const b = new Device(`${i}b`, random, tally);
    a.peer = b;
    b.peer = a;
    return [a, b];
  }).flat();
}
