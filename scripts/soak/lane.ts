/**
 * The books on one direction of a pair: what was sent, accepted, delivered and acknowledged, by number.
 *
 * Messages are numbered from 0. Version 2 repeats what was not answered, with the retry flag, before anything new; so
 * each number must come once, in order. Version 1 has no such flag: what was not answered may come or not.
 * @module
 */
import type { Tally } from "./tally.ts";

const ACCEPTED = 1;
const DELIVERED = 2;
const FINAL = 4;
/** Its outcome was not known or it was refused, while others went on: its place in the order is not promised. */
const OUT_OF_ORDER = 8;

/** As many moments of sending as can be under way. */
const UNDER_WAY_MAX = 1 << 13;

/** How long before a kill an Ack must have left its recipient for the message never to come again. */
const ACK_GRACE_MS = 100;

interface Acknowledged {
  readonly number: number;
  readonly at: number;
  /** How often anybody had been told by then that the server is behind. */
  readonly whenBehind: number;
}

/** One direction of a pair. */
export class Lane {
  #flags = new Uint8Array(1_024);
  #connections = new Uint16Array(1_024);
  #sent = 0;
  /** Accepted, and not delivered. */
  #awaited = 0;
  #lastOfAll = -1;
  #lastOnConnection = -1;
  readonly #dueAt = new Float64Array(UNDER_WAY_MAX);
  /** Acknowledged on this connection, and not known to be durable. */
  #acknowledged: Acknowledged[] = [];

  /** @param mark the second uint32 of each ciphertext. */
  constructor(readonly name: string, readonly mark: number, private readonly tally: Tally) {}

  /** How many have been sent. */
  get sent(): number {
    return this.#sent;
  }

  /** Whether everything that was accepted has been delivered. */
  get isDelivered(): boolean {
    return this.#awaited === 0;
  }

  /** Takes the next number. @param connection of the sender, counted. */
  next(connection: number, dueAt: number): number {
    const number = this.#sent++;
    if (number === this.#flags.length) {
      const [flags, connections] = [this.#flags, this.#connections];
      this.#flags = new Uint8Array(number * 2);
      this.#flags.set(flags);
      this.#connections = new Uint16Array(number * 2);
      this.#connections.set(connections);
    }
    this.#connections[number] = connection;
    this.#dueAt[number % UNDER_WAY_MAX] = dueAt;
    this.tally.sent++;
    return number;
  }

  /** The server accepted it. */
  accepted(number: number): void {
    if (this.#has(number, ACCEPTED)) return;
    this.#add(number, ACCEPTED);
    if (!this.#has(number, DELIVERED)) this.#awaited++;
    this.tally.accepted++;
  }

  /** The server refused it, or does not know what became of it. */
  refused(number: number): void {
    this.#add(number, OUT_OF_ORDER);
  }

  /** The recipient has a new connection. */
  connected(): void {
    this.#lastOnConnection = -1;
    this.#acknowledged = [];
  }

  /** It came. @returns whether for the first time. */
  delivered(number: number): boolean {
    if (number >= this.#sent) {
      this.tally.fault("mangled", `${this.name} ${number}, never sent`);
      return false;
    }
    const isPlaced = !this.#has(number, OUT_OF_ORDER);
    const isFirst = !this.#has(number, DELIVERED);
    if (isPlaced && number <= this.#lastOnConnection) {
      this.tally.fault("reordered", `${this.name} ${number} after ${this.#lastOnConnection}`);
    }
    if (isPlaced) this.#lastOnConnection = number;
    if (!isFirst) {
      if (this.#has(number, FINAL)) this.tally.fault("duplicated", `${this.name} ${number}`);
      else this.tally.cameAgain++;
      return false;
    }
    if (isPlaced && number < this.#lastOfAll) {
      this.tally.fault("reordered", `${this.name} ${number} for the first time after ${this.#lastOfAll}`);
    }
    if (isPlaced) this.#lastOfAll = number;
    this.#add(number, DELIVERED);
    if (this.#has(number, ACCEPTED)) this.#awaited--;
    this.tally.delivered++;
    if (this.#sent - number < UNDER_WAY_MAX) {
      this.tally.delivery.add(performance.now() - (this.#dueAt[number % UNDER_WAY_MAX] ?? 0));
    }
    return true;
  }

  /** Its recipient sent an Ack. */
  acknowledged(number: number): void {
    this.#acknowledged.push({ number, at: performance.now(), whenBehind: this.tally.timesBehind });
  }

  /**
   * Judges which Acks are durable: those that left long enough ago, and before something that has been answered. But a
   * server that is behind may have given a deletion up, and be about to repeat it: what left before that may come again.
   *
   * @param answeredUntil when the last send of the recipient left that has been answered.
   * @param now or when the server was killed.
   */
  settleAcks(answeredUntil: number, now: number): void {
    let count = 0;
    for (const { number, at, whenBehind } of this.#acknowledged) {
      if (at >= answeredUntil || now - at < ACK_GRACE_MS) break;
      if (whenBehind === this.tally.timesBehind) this.#add(number, FINAL);
      count++;
    }
    if (count > 0) this.#acknowledged.splice(0, count);
  }

  /** How many Acks are not known to be durable. */
  get acksUnderWay(): number {
    return this.#acknowledged.length;
  }

  /** Counts what never arrived. Call it once, at the end. */
  audit(): void {
    for (const number of this.#missing()) this.tally.fault("lost", `${this.name} ${number}`);
    let next = -1;
    for (let number = this.#sent - 1; number >= 0; number--) {
      if (this.#has(number, DELIVERED)) next = number;
      else if (next >= 0 && !this.#has(number, OUT_OF_ORDER | ACCEPTED)) {
        const isSameConnection = this.#connections[next] === this.#connections[number];
        if (isSameConnection) this.tally.fault("leftOut", `${this.name} ${number}, and ${next} is there`);
      }
    }
  }

  *#missing(): Generator<number> {
    for (let number = 0; number < this.#sent; number++) {
      if (this.#has(number, ACCEPTED) && !this.#has(number, DELIVERED)) yield number;
    }
  }

  #has(number: number, flag: number): boolean {
    return ((this.#flags[number] ?? 0) & flag) !== 0;
  }

  #add(number: number, flag: number): void {
    this.#flags[number] = (this.#flags[number] ?? 0) | flag;
  }
}
