/**
 * Delivery to one connection: in order, at least once, no more under way than the window holds (protocol §5).
 *
 * There are two sources. A connection that is caught up gets messages handed over from memory as they become durable,
 * and keeps a few that the window has no room for. When they are too many, or at the start, or when the bell rang,
 * it reads pages from the head of the mailbox, and leaves out what is under way or was acknowledged.
 *
 * Invariant: unless `#unread`, storage has nothing for this connection beyond the window and `#pending`.
 * Invariant: everything in `#pending` comes after everything in the window.
 * @module
 */
import type { Clock, Timer } from "../clock.ts";
import { RequestError } from "../errors.ts";
import { QUEUES } from "../limits.ts";
import type { Metrics } from "../metrics.ts";
import type { MailboxEntry, Receiver } from "../service/mod.ts";
import { incident } from "./incident.ts";
import type { Outbox } from "./outbox.ts";

interface UnderWay {
  readonly entry: MailboxEntry;
  /** Whether it came out of storage rather than by hand-over. */
  readonly wasRead: boolean;
}

/** What is kept in memory for a window that is full, in messages and bytes; beyond it storage is read. */
const PENDING = { messagesMax: 64, bytesMax: 128 * 1_024 } as const;

/** The wait after a read that storage refused, and after one that found only what is being deleted. */
const READ_AGAIN_MS = { refused: 500, nothing: 20 } as const;

/** Delivers the messages of one mailbox to one connection. */
export class Delivery {
  readonly #window = new Map<number, UnderWay>();
  readonly #underWay = new Set<string>();
  #windowBytes = 0;
  #pending: MailboxEntry[] = [];
  #pendingBytes = 0;
  #epoch: string | null = null;
  #unread = true;
  #isReading = false;
  #isStopped = false;
  #retry: Timer | null = null;
  #caughtUp: (() => void) | null;

  /** @param caughtUp told once that everything has been sent that waited at the start. */
  constructor(
    private readonly receiver: Receiver,
    private readonly outbox: Outbox,
    private readonly clock: Clock,
    private readonly metrics: Metrics,
    caughtUp: () => void,
  ) {
    this.#caughtUp = caughtUp;
  }

  /** The installation whose mailbox is delivered; `null` as long as the device is not registered. */
  get epoch(): string | null {
    return this.#epoch;
  }

  /** Whether messages were sent that are not acknowledged, or were handed over and not sent. */
  get hasUnacknowledged(): boolean {
    return this.#window.size > 0 || this.#pending.length > 0;
  }

  /** Begins with the mailbox of an installation; what was under way for another one is forgotten. */
  begin(epoch: string | null): void {
    const isSame = epoch === this.#epoch;
    this.#epoch = epoch;
    if (epoch === null) this.#isCaughtUp();
    if (isSame) return;
    this.#window.clear();
    this.#underWay.clear();
    this.#windowBytes = 0;
    this.#keepPending([]);
    this.look();
  }

  /** Ends for good: acknowledgements still count. */
  stop(): void {
    this.#isStopped = true;
    this.#retry?.cancel();
  }

  /** Something may wait in storage. */
  look(): void {
    this.#unread = true;
    this.pump();
  }

  /** Looks if nothing is under way: a bell that was not heard is made good by this. */
  lookIfIdle(): void {
    if (this.#window.size === 0 && !this.#isReading) this.look();
  }

  /** A message has become durable. */
  handOver(entry: MailboxEntry): void {
    if (this.#isStopped) return;
    if (entry.epoch !== this.#epoch) return this.look();
    // What is in storage goes first; this one will be found there after it.
    if (this.#unread) return this.pump();
    // It may have come by a read already, before its commit was known here.
    if (this.#isKnown(entry)) return;
    const bytes = entry.ciphertext.length;
    if (this.#pending.length >= PENDING.messagesMax || this.#pendingBytes + bytes > PENDING.bytesMax) {
      this.#unread = true;
      return;
    }
    this.#pending.push(entry);
    this.#pendingBytes += bytes;
    this.pump();
  }

  /**
   * The client has the message with this sequence for good.
   *
   * @returns whether there is such a message under way; if not, nothing was done.
   */
  acknowledge(sequence: number): boolean {
    const underWay = this.#window.get(sequence);
    if (underWay === undefined) return false;
    this.#window.delete(sequence);
    this.#underWay.delete(underWay.entry.idKey);
    this.#windowBytes -= underWay.entry.ciphertext.length;
    this.receiver.acknowledge(underWay.entry, underWay.wasRead);
    this.pump();
    return true;
  }

  /**
   * Sends what there is, as far as the window and the peer allow. Call it when either has room again.
   *
   * @param isEager reads for little room too, which would not pay each time: now and then.
   */
  pump(isEager = false): void {
    if (this.#isStopped || this.#isReading || this.#epoch === null || this.outbox.isCongested) return;
    this.#sendPending();
    // A page is worth its cost when half of the window is free.
    const hasRoom = isEager
      ? !this.#isFull()
      : this.#window.size <= QUEUES.windowMessagesMax / 2 && this.#windowBytes <= QUEUES.windowBytesMax / 2;
    if (this.#unread && hasRoom && this.#retry === null) void this.#read(this.#epoch);
  }

  #sendPending(): void {
    let sent = 0;
    for (const entry of this.#pending) {
      if (this.#isFull()) break;
      this.#deliver(entry, false);
      sent++;
    }
    if (sent > 0) this.#keepPending(this.#pending.slice(sent));
  }

  async #read(epoch: string): Promise<void> {
    this.#isReading = true;
    this.#unread = false; // what can't be kept from here on sets it again
    const before = this.#window.size;
    let isAtEnd = false;
    let hasFailed = false;
    try {
      const isUnderWay = (entry: MailboxEntry) => this.#underWay.has(entry.idKey);
      isAtEnd = await this.receiver.read(epoch, before + QUEUES.windowMessagesMax, isUnderWay, (entry) => {
        if (this.#isStopped || this.#epoch !== epoch || this.#isFull()) return false;
        this.#deliver(entry, true);
        return !this.#isFull();
      });
    } catch (error) {
      hasFailed = true;
      if (!(error instanceof RequestError)) incident(error); // else storage is not available: already in the log
    }
    this.#isReading = false;
    this.#keepPending(this.#pending.filter((entry) => !this.#isKnown(entry)));
    if (this.#isStopped) return;
    if (this.#epoch !== epoch) return this.look();
    if (!isAtEnd) {
      // What remains in storage comes before what was handed over meanwhile.
      this.#unread = true;
      this.#keepPending([]);
      if (hasFailed) return this.#readLater(READ_AGAIN_MS.refused);
      if (this.#window.size === before) return this.#readLater(READ_AGAIN_MS.nothing);
    } else this.#isCaughtUp();
    this.pump();
  }

  #isCaughtUp(): void {
    this.#caughtUp?.();
    this.#caughtUp = null;
  }

  #readLater(delayMs: number): void {
    this.#retry = this.clock.setTimer(delayMs * (0.5 + Math.random()), () => {
      this.#retry = null;
      this.pump();
    });
  }

  #isFull(): boolean {
    return this.#window.size >= QUEUES.windowMessagesMax || this.#windowBytes >= QUEUES.windowBytesMax;
  }

  #deliver(entry: MailboxEntry, wasRead: boolean): void {
    // A message may come both ways: read from storage, and handed over when its commit is known here.
    if (this.#isKnown(entry)) return;
    if (entry.expiresAt <= this.clock.now()) return;
    const sequence = this.outbox.push({ type: "user_message", message: entry });
    this.metrics.counts.messagesDelivered++;
    this.#window.set(sequence, { entry, wasRead });
    this.#underWay.add(entry.idKey);
    this.#windowBytes += entry.ciphertext.length;
  }

  /** Whether the message is under way, or was acknowledged. */
  #isKnown(entry: MailboxEntry): boolean {
    return this.#underWay.has(entry.idKey) || this.receiver.wasAcknowledged(entry);
  }

  #keepPending(entries: MailboxEntry[]): void {
    this.#pending = entries;
    this.#pendingBytes = entries.reduce((sum, { ciphertext }) => sum + ciphertext.length, 0);
  }
}
