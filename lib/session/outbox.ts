/**
 * What goes out on one connection: encoded for its version, and watched for a peer that does not read.
 *
 * Where the version allows it, the envelopes of one turn of the event loop go out in one WebSocket message.
 *
 * Invariant: while more than the bound waits, nothing is added but refusals; after half a minute the peer is given up.
 * @module
 */
import type { Clock } from "../clock.ts";
import { ERRORS, type RequestError } from "../errors.ts";
import { QUEUES, TIMES } from "../limits.ts";
import { Metrics } from "../metrics.ts";
import {
  type Codec,
  type Hello,
  nextServerSequence,
  SERVER_SEQUENCE_MIN,
  type ServerMessage,
} from "../protocol/mod.ts";
import { createSheets } from "./sheets.ts";
import type { Socket } from "./socket.ts";

/** The most that is gathered into one WebSocket message: larger ones gain nothing more. */
const GATHERED_BYTES_MAX = 64 * 1_024;

/** For envelopes that are gathered: they are copied into what is sent at the end of the turn. */
const sheets = createSheets();

/** Sends messages of the server. */
export class Outbox {
  #nextSequence = SERVER_SEQUENCE_MIN;
  #congestedSince: number | null = null;
  /** Bytes that were handed in, and how many had left the process when that last changed. */
  #sentBytes = 0;
  #leftBytes = 0;
  #leftAt: number;
  /** What is sent at the end of this turn. */
  #gathered: Uint8Array<ArrayBuffer>[] = [];
  #gatheredBytes = 0;
  #isFlushing = false;
  /** Until the greeting is out, everything else is held back: it must be the first message. */
  #awaitsGreeting: boolean;

  constructor(
    private readonly socket: Pick<Socket, "bufferedAmount" | "send">,
    private readonly codec: Codec,
    private readonly clock: Clock,
    private readonly metrics: Metrics,
  ) {
    this.#awaitsGreeting = codec.announces;
    // The first sequence is the greeting's, whatever is held back for it.
    if (codec.announces) this.#takeSequence();
    this.#leftAt = clock.monotonic();
  }

  /** Whether more waits for the peer than it may leave unread. */
  get isCongested(): boolean {
    if (this.#waitingBytes <= QUEUES.outboxBytesMax) {
      this.#congestedSince = null;
      return false;
    }
    this.#congestedSince ??= this.clock.monotonic();
    return true;
  }

  /** Whether the peer has left too much unread for too long. */
  get isGivenUp(): boolean {
    return this.isCongested && this.clock.monotonic() - (this.#congestedSince ?? 0) > TIMES.slowPeerMs;
  }

  /**
   * Whether something waits, and nothing of it has left the process for so long. Counts from when it is asked first: ask
   * now and then.
   */
  isStuck(forMs: number): boolean {
    const now = this.clock.monotonic();
    const left = this.#sentBytes - this.#waitingBytes;
    if (this.isEmpty || left !== this.#leftBytes) {
      this.#leftBytes = left;
      this.#leftAt = now;
    }
    return now - this.#leftAt > forMs;
  }

  /** Whether everything has left the process. */
  get isEmpty(): boolean {
    return this.#waitingBytes === 0;
  }

  get #waitingBytes(): number {
    return this.socket.bufferedAmount + this.#gatheredBytes;
  }

  /** Answers the message of the client that had the sequence. */
  answer(sequence: number, message: ServerMessage): void {
    const { codec } = this;
    // What is held back for the greeting may be kept for long.
    const room = codec.gathers && !this.#awaitsGreeting ? sheets : undefined;
    const bytes = codec.encodeServerMessage(message, sequence, room);
    if (bytes === null) return;
    this.#sentBytes += bytes.length;
    if (!codec.gathers) return this.socket.send(bytes);
    // The rest of a turn that has more than fits starts a message of its own.
    if (this.#gatheredBytes + bytes.length > GATHERED_BYTES_MAX && !this.#awaitsGreeting) this.#send();
    this.#gathered.push(bytes);
    this.#gatheredBytes += bytes.length;
    if (this.#isFlushing || this.#awaitsGreeting) return;
    this.#isFlushing = true;
    queueMicrotask(() => {
      this.#isFlushing = false;
      this.#send();
    });
  }

  #send(): void {
    if (this.#gathered.length === 0) return;
    // Bytes of its own: the socket may keep them until the peer reads.
    const bytes = new Uint8Array(this.#gatheredBytes);
    let offset = 0;
    for (const envelope of this.#gathered) {
      bytes.set(envelope, offset);
      offset += envelope.length;
    }
    this.#gathered = [];
    this.#gatheredBytes = 0;
    this.socket.send(bytes);
  }

  /** Sends the greeting, then what was held back. */
  greet(hello: Hello): void {
    const bytes = this.codec.encodeServerMessage({ type: "hello", hello }, SERVER_SEQUENCE_MIN);
    if (bytes === null) return;
    this.#sentBytes += bytes.length;
    this.#gathered.unshift(bytes);
    this.#gatheredBytes += bytes.length;
    this.#awaitsGreeting = false;
    this.#send();
  }

  /** Answers with an error. */
  refuse(sequence: number, error: RequestError): void {
    Metrics.count(this.metrics.errors, error.error);
    this.answer(sequence, {
      type: "error",
      code: ERRORS[error.error].code,
      description: error.description,
      ...(error.retryAfterMs === undefined ? {} : { retryAfterMs: error.retryAfterMs }),
      ...(error.mismatch === undefined ? {} : { mismatch: error.mismatch }),
    });
  }

  /**
   * Sends a message of the server's own.
   *
   * @returns its sequence.
   */
  push(message: ServerMessage): number {
    const sequence = this.#takeSequence();
    this.answer(sequence, message);
    return sequence;
  }

  #takeSequence(): number {
    const sequence = this.#nextSequence;
    this.#nextSequence = nextServerSequence(sequence);
    return sequence;
  }
}
