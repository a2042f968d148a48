/**
 * What goes out on one connection: encoded for its version, and watched for a peer that does not read.
 *
 * Invariant: while more than the bound waits, nothing is added but refusals; after half a minute the peer is given up.
 * @module
 */
import type { Clock } from "../clock.ts";
import { ERRORS, type RequestError } from "../errors.ts";
import { QUEUES, TIMES } from "../limits.ts";
import { Metrics } from "../metrics.ts";
import { type Codec, nextServerSequence, SERVER_SEQUENCE_MIN, type ServerMessage } from "../protocol/mod.ts";
import type { Socket } from "./socket.ts";

/** Sends messages of the server. */
export class Outbox {
  #nextSequence = SERVER_SEQUENCE_MIN;
  #congestedSince: number | null = null;

  constructor(
    private readonly socket: Socket,
    private readonly codec: Codec,
    private readonly clock: Clock,
    private readonly metrics: Metrics,
  ) {}

  /** Whether more waits for the peer than it may leave unread. */
  get isCongested(): boolean {
    if (this.socket.bufferedAmount <= QUEUES.outboxBytesMax) {
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

  /** Whether everything has left the process. */
  get isEmpty(): boolean {
    return this.socket.bufferedAmount === 0;
  }

  /** Answers the message of the client that had the sequence. */
  answer(sequence: number, message: ServerMessage): void {
    const bytes = this.codec.encodeServerMessage(message, sequence);
    if (bytes !== null) this.socket.send(bytes);
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
    const sequence = this.#nextSequence;
    this.#nextSequence = nextServerSequence(sequence);
    this.answer(sequence, message);
    return sequence;
  }
}
