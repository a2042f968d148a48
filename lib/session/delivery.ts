/**
 * Delivery to one connection: in order, at least once, no more under way than the window holds (protocol §5).
 *
 * There are two sources. A connection that is caught up gets messages handed over from memory as they become durable,
 * and keeps a few that the window has no room for. When they are too many, or at the start, or when the bell rang,
 * it reads pages of the mailbox, and leaves out what is under way or was acknowledged. A long one is read on where the
 * window was full, then once more from the head.
 *
 * Invariant: unless `#unread`, storage has nothing for this connection beyond the window, which knows what the client
 * refused as well, and `#pending`, apart from what was moved behind (`aside_turn.ts`).
 * Invariant: everything in `#pending` comes after everything in the window.
 * @module
 */
import type { Clock, Timer } from "../clock.ts";
import { RequestError } from "../errors.ts";
import { QUEUES } from "../limits.ts";
import type { Metrics } from "../metrics.ts";
import type { MailboxEntry, Receiver } from "../service/mod.ts";
import { AsideTurn } from "./aside_turn.ts";
import { incident } from "./incident.ts";
import type { Outbox } from "./outbox.ts";
import { Pending } from "./pending.ts";
import { Window } from "./window.ts";

/** The wait after a read that storage refused, and after one that found nothing that could be read. */
const READ_AGAIN_MS = { refused: 500, nothing: 20 } as const;

/** Delivers the messages of one mailbox to one connection. */
export class Delivery {
  readonly #window = new Window();
  readonly #pending = new Pending();
  #epoch: string | null = null;
  #unread = true;
  #isReading = false;
  /** With which message the next read begins: a long mailbox is read on where the window had no room for more. */
  #readFrom: Uint8Array | null = null;
  /** Whether anything was found since a read began at the head. */
  #hasFound = false;
  #isStopped = false;
  readonly #aside = new AsideTurn();
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
    return this.#window.known > 0 || this.#pending.size > 0;
  }

  /** What the client did not deal with, though with others; `null` if there is no such message. */
  get notDealtWith(): MailboxEntry | null {
    return this.#window.notDealtWith;
  }

  /** Begins with the mailbox of an installation; what was under way for another one is forgotten. */
  begin(epoch: string | null): void {
    const isSame = epoch === this.#epoch;
    this.#epoch = epoch;
    if (epoch === null) this.#isCaughtUp();
    if (isSame) return;
    this.#window.clear();
    this.#aside.reset();
    this.#pending.clear();
    this.#readFrom = null;
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
    // The ordinary case: nothing waits before it.
    if (this.#pending.size === 0 && !this.#window.isFull && !this.#isReading && !this.outbox.isCongested) {
      return this.#deliver(entry, false);
    }
    if (!this.#pending.add(entry)) {
      this.#unread = true;
      return;
    }
    this.pump();
  }

  /**
   * The client has the message with this sequence for good.
   *
   * @returns whether there is such a message under way; if not, nothing was done.
   */
  acknowledge(sequence: number): boolean {
    const underWay = this.#window.acknowledge(sequence);
    if (underWay === undefined) return false;
    this.receiver.acknowledge(underWay.entry, underWay.wasRead);
    this.pump();
    return true;
  }

  /** The client won't take the message with this sequence: others need not wait for it. */
  refuse(sequence: number): void {
    this.metrics.counts.messagesRefused++;
    this.#window.refuse(sequence);
    this.pump();
  }

  /** Sends what there is, as far as the window and the peer allow; if eager, reads for little room too: now and then. */
  pump(isEager = false): void {
    if (this.#isStopped || this.#isReading || this.#epoch === null || this.outbox.isCongested) return;
    this.#sendPending();
    // A page is worth its cost when half of the window is free.
    const hasRoom = isEager ? !this.#window.isFull : this.#window.isHalfFree;
    if (this.#retry !== null) return;
    if (this.#unread && hasRoom) void this.#read(this.#epoch);
    else if (this.#aside.isDue && !this.#unread) void this.#readAside(this.#epoch);
  }

  #sendPending(): void {
    if (this.#pending.size === 0) return;
    this.#pending.handOut((entry) => {
      if (this.#window.isFull) return false;
      this.#deliver(entry, false);
      return true;
    });
  }

  async #read(epoch: string): Promise<void> {
    this.#isReading = true;
    this.#unread = false; // what can't be kept from here on sets it again
    const from = this.#readFrom;
    if (from === null) this.#hasFound = false;
    const before = this.#window.size;
    let isAtEnd = false;
    let hasFailed = false;
    try {
      const isUnderWay = (entry: MailboxEntry) => this.#window.has(entry.idKey);
      const rows = QUEUES.windowMessagesMax + (from === null ? this.#window.known : 1);
      const page = await this.receiver.read(
        epoch,
        rows,
        isUnderWay,
        (entry) => {
          if (this.#isStopped || this.#epoch !== epoch || this.#window.isFull) return false;
          this.#hasFound = true;
          this.#deliver(entry, true);
          return !this.#window.isFull;
        },
        this.#aside.isUnknown,
        from,
      );
      isAtEnd = page.isAtEnd;
      this.#readFrom = isAtEnd || this.#epoch !== epoch ? null : page.lastId ?? from;
      if (page.hasAside && this.#epoch === epoch) this.#aside.found();
    } catch (error) {
      hasFailed = true;
      if (!(error instanceof RequestError)) incident(error); // else storage is not available: already in the log
    }
    this.#isReading = false;
    this.#pending.keepIf((entry) => !this.#isKnown(entry));
    if (this.#isStopped) return;
    if (this.#epoch !== epoch) return this.look();
    if (!isAtEnd) {
      // What remains in storage comes before what was handed over meanwhile.
      this.#unread = true;
      this.#pending.clear();
      if (hasFailed) return this.#readLater(READ_AGAIN_MS.refused);
      const isStuck = this.#window.size === before && this.#readFrom === from;
      if (isStuck) return this.#readLater(READ_AGAIN_MS.nothing);
    } else if (from !== null && this.#hasFound) {
      // What another process accepted before what was read, and stored after it was passed, is found at the head.
      return await this.#read(epoch);
    } else if (!this.#aside.isDue) this.#isCaughtUp();
    this.pump();
  }

  /** Delivers some of what was moved behind the mailbox: once a connection, when everything else has been sent. */
  async #readAside(epoch: string): Promise<void> {
    this.#isReading = true;
    const isDone = await this.#aside.take(this.receiver, epoch, (entry) => {
      if (this.#isStopped || this.#epoch !== epoch) return false;
      this.#deliver(entry, true);
      return true;
    });
    this.#isReading = false;
    if (this.#isStopped) return;
    if (this.#epoch !== epoch) return this.look();
    if (!isDone) return this.#readLater(READ_AGAIN_MS.refused);
    this.#isCaughtUp();
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

  #deliver(entry: MailboxEntry, wasRead: boolean): void {
    // A message may come both ways: read from storage, and handed over when its commit is known here.
    if (this.#isKnown(entry)) return;
    if (entry.expiresAt <= this.clock.now()) return;
    const sequence = this.outbox.push({ type: "user_message", message: entry });
    this.metrics.counts.messagesDelivered++;
    this.#window.add(sequence, entry, wasRead);
  }

  /** Whether the message is under way, or was acknowledged. */
  #isKnown(entry: MailboxEntry): boolean {
    return this.#window.has(entry.idKey) || this.receiver.wasAcknowledged(entry);
  }
}
