/**
 * What was delivered on a connection and is not acknowledged: the window, and what takes no place in it (protocol §5).
 *
 * A message that the client refused gives its place up, as far as these are few enough, so that others come; one that
 * was moved behind the mailbox never had one. Either can still be acknowledged.
 * @module
 */
import { DELIVERY, QUEUES } from "../limits.ts";
import type { MailboxEntry } from "../service/mod.ts";

/** A message that was delivered. */
export interface UnderWay {
  readonly entry: MailboxEntry;
  /** Whether it came out of storage rather than by hand-over. */
  readonly wasRead: boolean;
}

/** The messages that are under way to one connection, by their sequences. */
export class Window {
  /** In the order of their delivery. */
  readonly #places = new Map<number, UnderWay>();
  #bytes = 0;
  /** These two are mostly empty: `null` until there is something in them. */
  #refused: Map<number, UnderWay> | null = null;
  #refusedBytes = 0;
  #aside: Map<number, UnderWay> | null = null;
  readonly #ids = new Set<string>();
  /** The highest sequence that was acknowledged, of messages that were in their order. */
  #acknowledgedUpTo = 0;

  /** How many places are taken. */
  get size(): number {
    return this.#places.size;
  }

  /** How many messages `has` knows. */
  get known(): number {
    return this.#ids.size;
  }

  /** Whether there is room for no more. */
  get isFull(): boolean {
    return this.#places.size >= QUEUES.windowMessagesMax || this.#bytes >= QUEUES.windowBytesMax;
  }

  /** Whether half of it is free. */
  get isHalfFree(): boolean {
    return this.#places.size <= QUEUES.windowMessagesMax / 2 && this.#bytes <= QUEUES.windowBytesMax / 2;
  }

  /** Whether a message is under way, refused or not. */
  has(idKey: string): boolean {
    return this.#ids.has(idKey);
  }

  /** Forgets everything. */
  clear(): void {
    this.#places.clear();
    this.#refused = null;
    this.#aside = null;
    this.#ids.clear();
    this.#bytes = 0;
    this.#refusedBytes = 0;
  }

  /** A message was delivered. */
  add(sequence: number, entry: MailboxEntry, wasRead: boolean): void {
    this.#ids.add(entry.idKey);
    if (entry.isAside) return void (this.#aside ??= new Map()).set(sequence, { entry, wasRead });
    this.#places.set(sequence, { entry, wasRead });
    this.#bytes += entry.ciphertext.length;
  }

  /** Takes out the message that is acknowledged; `undefined` if the sequence names none. */
  acknowledge(sequence: number): UnderWay | undefined {
    const inPlace = this.#places.get(sequence);
    const underWay = inPlace ?? this.#refused?.get(sequence) ?? this.#aside?.get(sequence);
    if (underWay === undefined) return undefined;
    const { entry } = underWay;
    this.#ids.delete(entry.idKey);
    if (this.#places.delete(sequence)) this.#bytes -= entry.ciphertext.length;
    else if (this.#refused?.delete(sequence)) this.#refusedBytes -= entry.ciphertext.length;
    else this.#aside?.delete(sequence);
    if (!entry.isAside && sequence > this.#acknowledgedUpTo) this.#acknowledgedUpTo = sequence;
    return underWay;
  }

  /** The client refused a message, which gives its place up if there is room among those that did. */
  refuse(sequence: number): void {
    const underWay = this.#places.get(sequence);
    if (underWay === undefined) return;
    const bytes = underWay.entry.ciphertext.length;
    const { refusedMessagesMax, refusedBytesMax } = DELIVERY;
    this.#refused ??= new Map();
    if (this.#refused.size >= refusedMessagesMax || this.#refusedBytes + bytes > refusedBytesMax) return;
    this.#places.delete(sequence);
    this.#bytes -= bytes;
    this.#refused.set(sequence, underWay);
    this.#refusedBytes += bytes;
  }

  /**
   * The oldest message that is not acknowledged, if the client shows that it could do so: it refused that message, or
   * acknowledged a later one. Else `null`: a client that did neither may have had no time to.
   */
  get notDealtWith(): MailboxEntry | null {
    const [first] = this.#places;
    let oldest = first?.[0] ?? Number.POSITIVE_INFINITY;
    for (const sequence of this.#refused?.keys() ?? []) oldest = Math.min(oldest, sequence);
    const refused = this.#refused?.get(oldest);
    if (refused !== undefined) return refused.entry;
    return first !== undefined && oldest < this.#acknowledgedUpTo ? first[1].entry : null;
  }
}
