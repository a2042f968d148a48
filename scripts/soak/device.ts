/**
 * One device of the load: it stays connected as well as it can, sends to its partner, takes what comes, keeps its
 * prekeys in supply, and has the books kept on all of it.
 * @module
 */
import { HEADER_BYTES, TYPE } from "../../lib/protocol/mod.ts";
import { codecOf, eachEnvelope } from "../bench/envelopes.ts";
import { wait } from "../bench/process_figures.ts";
import { RawSocket } from "../bench/raw_socket.ts";
import { UpgradeRefused } from "../bench/upgrade_refused.ts";
import type { DeviceOptions, Manner } from "./device_options.ts";
import { KeyDuty } from "./key_duty.ts";
import { Link } from "./link.ts";
import { MessageReader, MessageWriter } from "./messages.ts";
import { AGAIN_MS, count, isTemporary } from "./tally.ts";

/** A claim for prekeys comes with one send in so many, and a Register of the same keys with one in so many. */
const CLAIM_EVERY = 100;
const REGISTER_EVERY = 1_000;

/** One delivered message in so many is not acknowledged when it comes first; no more than this on a connection. */
const WITHHELD_EVERY = 16;
const WITHHELD_MAX = 32;

/** How many Acks wait to be judged before that is done while the connection goes on. */
const ACKS_UNDER_WAY = 100;

/** How many sends may be under way: fewer than the server lets a connection have. */
const UNDER_WAY_MAX = 400;

/** The wait after a connection that ended. */
const ENDED_MS = 50;

/** A device that stays connected. */
export class Device {
  readonly #keys: KeyDuty;
  readonly #writer: MessageWriter;
  readonly #reader: MessageReader;
  readonly #underWay = new Set<number>();
  #link: Link | null = null;
  #connections = 0;
  #manner: Manner = "good";
  #isAway = false;
  #isOver = false;
  #withheld = 0;
  #answeredUntil = Number.NEGATIVE_INFINITY;

  constructor(private readonly options: DeviceOptions) {
    const { index, version, targets, claims, tally, partnerId, outgoing, incoming } = options;
    this.#keys = new KeyDuty(index, version, targets, claims, tally);
    this.#writer = new MessageWriter(version, partnerId, outgoing.mark);
    this.#reader = new MessageReader(version, incoming.mark);
  }

  /** Whether it is connected and registered. */
  get isReady(): boolean {
    return this.#link !== null && this.#keys.isRegistered;
  }

  /** Whether nothing of it waits for an answer. */
  get isAnswered(): boolean {
    return this.#underWay.size === 0 && this.#keys.isAnswered;
  }

  /** What waits, in words. */
  get state(): string {
    const keys = this.#keys.isAnswered ? "" : ", keys unanswered";
    const link = this.#link === null ? "not connected" : "connected";
    return `${this.options.outgoing.name}: ${link}, ${this.#underWay.size} unanswered${keys}`;
  }

  /** Connects, and connects again whenever that is over, until `end`. */
  async run(): Promise<void> {
    while (!this.#isOver) {
      const retryMs = this.#isAway
        ? ENDED_MS
        : await this.#connectOnce().catch((error) => this.#failed(error));
      if (!this.#isOver) await wait(retryMs * (0.5 + Math.random()));
    }
  }

  /** Sends as many as may be under way, if it may go on. */
  begin(): void {
    if (this.#link !== null) this.#fill(this.#link);
  }

  /** Ends it for good. */
  end(): void {
    this.#isOver = true;
    this.#link?.socket.destroy();
  }

  /** Leaves, and stays away until told otherwise: what comes meanwhile waits in storage. */
  stayAway(isAway: boolean): void {
    this.#isAway = isAway;
    if (isAway) this.#link?.socket.destroy();
  }

  /** Connects anew, in another manner. One that reads nothing sends nothing either. */
  behave(manner: Manner): void {
    this.#manner = manner;
    this.#link?.socket.destroy();
  }

  /**
   * Sends the next message.
   *
   * @param dueAt when it was due, by the clock of `performance`.
   * @returns whether it could.
   */
  send(dueAt = performance.now()): boolean {
    const link = this.#link;
    if (link === null || !this.#keys.isRegistered || this.#underWay.size >= UNDER_WAY_MAX) return false;
    if (this.#manner === "reads nothing") return false;
    const number = this.options.outgoing.next(this.#connections, dueAt);
    if (this.options.version === 2) this.options.tally.sentOnVersion2++;
    this.#underWay.add(number);
    this.#sendNumber(link, number, false);
    if (this.options.targets.length > 0) {
      if (number % CLAIM_EVERY === 0) this.#keys.claim(link);
      if (number % REGISTER_EVERY === REGISTER_EVERY - 1) this.#keys.register(link, () => {});
    }
    return true;
  }

  async #connectOnce(): Promise<number> {
    const { url: findUrl, userId, token, version, incoming, tally } = this.options;
    const url = await findUrl();
    if (this.#isOver || this.#isAway) return 0;
    let link: Link | undefined;
    const neverReads = this.#manner === "reads nothing";
    const options = { url, path: `/${userId}/1`, token, subprotocol: `messaging.v${version}`, neverReads };
    const socket = await RawSocket.connect(options, (socket) => {
      const made = link = new Link(socket, ++this.#connections);
      incoming.connected();
      return (message) =>
        eachEnvelope(message, (type, sequence, bytes, at, length) => {
          this.#take(made, type, sequence, bytes, at, length);
        });
    });
    tally.connected++;
    if (link === undefined || this.#isOver || this.#isAway) {
      socket.destroy();
      return 0;
    }
    await this.#use(link);
    return ENDED_MS;
  }

  /** Uses a connection until it is over. */
  async #use(link: Link): Promise<void> {
    const { version, incoming, tally } = this.options;
    this.#withheld = 0;
    this.#link = link;
    const { timesBehind } = tally;
    this.#keys.begin(link, () => this.#fill(link));
    // Before anything new. Version 1 can't repeat: those were forgotten when their connection was over.
    for (const number of [...this.#underWay].sort((a, b) => a - b)) this.#sendNumber(link, number, true);
    this.#fill(link);
    await link.socket.closed;
    link.close();
    this.#link = null;
    if (!this.#isOver && !this.#isAway) tally.disconnected++;
    incoming.settleAcks(this.#answeredUntil, performance.now());
    if (version === 1) this.#forget(tally.timesBehind !== timesBehind);
  }

  /** Forgets what was not answered. If the server was behind, some may have been refused without our hearing of it. */
  #forget(wasBehind: boolean): void {
    if (wasBehind) { for (const number of this.#underWay) this.options.outgoing.refused(number); }
    this.#underWay.clear();
  }

  #failed(error: unknown): number {
    if (!(error instanceof UpgradeRefused)) return AGAIN_MS;
    count(this.options.tally.refusals, error.status);
    return error.retryAfterSeconds === null ? AGAIN_MS : error.retryAfterSeconds * 1_000;
  }

  #fill(link: Link): void {
    const { inFlight, mayGoOn } = this.options;
    while (this.#link === link && this.#underWay.size < inFlight && mayGoOn()) {
      if (!this.send()) return;
    }
  }

  #sendNumber(link: Link, number: number, isRepeat: boolean): void {
    if (isRepeat) this.options.tally.repeated++;
    const sentAt = performance.now();
    link.ask(
      (sequence) => this.#writer.message(number, sequence, isRepeat),
      (error) => {
        this.options.tally.answers.add(performance.now() - sentAt);
        if (error === null) this.#accepted(link, number, sentAt);
        else this.#refused(link, number, sentAt, error.code);
      },
    );
  }

  #accepted(link: Link, number: number, sentAt: number): void {
    const { outgoing, incoming } = this.options;
    this.#underWay.delete(number);
    outgoing.accepted(number);
    this.#answeredUntil = Math.max(this.#answeredUntil, sentAt);
    if (incoming.acksUnderWay > ACKS_UNDER_WAY) incoming.settleAcks(this.#answeredUntil, performance.now());
    this.#fill(link);
  }

  #refused(link: Link, number: number, sentAt: number, code: number): void {
    const { outgoing, tally, version } = this.options;
    tally.refusedAfter.add(performance.now() - sentAt);
    outgoing.refused(number);
    const isWorthIt = isTemporary(tally, outgoing.name, code) && version === 2;
    if (isWorthIt) link.later(AGAIN_MS, () => this.#sendNumber(link, number, true));
    else this.#underWay.delete(number);
    link.later(AGAIN_MS, () => this.#fill(link));
  }

  #take(link: Link, type: number, sequence: number, bytes: Uint8Array, at: number, length: number): void {
    if (type === TYPE.userMessage) return this.#receive(link, sequence, bytes, at, length);
    if (type === TYPE.preKeysLow) return this.#keys.runLow(link);
    if (type === TYPE.ack || type === TYPE.error || type === TYPE.preKey) {
      const payload = bytes.subarray(at + HEADER_BYTES, at + length);
      link.answered(codecOf(this.options.version), type, sequence, payload);
    }
  }

  #receive(link: Link, sequence: number, bytes: Uint8Array, at: number, length: number): void {
    const { incoming, tally, targets } = this.options;
    const number = this.#reader.read(bytes, at, length);
    if (number === null) return tally.fault("mangled", `for ${incoming.name}: ${length} bytes`);
    const isFirst = incoming.delivered(number);
    if (this.#manner === "acknowledges nothing") return;
    const mayWithhold = targets.length > 0 && this.#withheld < WITHHELD_MAX;
    if (isFirst && mayWithhold && number % WITHHELD_EVERY === WITHHELD_EVERY - 1) this.#withheld++;
    else {
      link.socket.send(this.#writer.ack(sequence));
      incoming.acknowledged(number);
    }
  }
}
