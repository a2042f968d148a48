/**
 * A socket whose other end is in the test: it keeps what was sent, and reads as fast as the test lets it.
 * @module
 */
import { decodeEnvelope, type ServerMessage, v1 } from "../../lib/protocol/mod.ts";
import type { Socket } from "../../lib/session/socket.ts";

/** A message that was sent. */
export interface Sent {
  readonly sequence: number;
  readonly message: ServerMessage;
}

/** The server's end. */
export class FakeSocket implements Socket {
  /** What waits for the peer; the test sets it. */
  bufferedAmount = 0;
  readonly sent: Sent[] = [];
  /** How it was closed; `null` while it is open. */
  closedWith: { readonly code: number; readonly reason: string } | null = null;
  /** Whether nothing more is read from the peer. */
  isPaused = false;
  /** Told each message when it is sent. */
  onSend: (sent: Sent) => void = () => {};

  send(bytes: Uint8Array<ArrayBuffer>): void {
    if (this.closedWith !== null) return;
    const { sequence, type, payload } = decodeEnvelope(bytes, 0, 1);
    const sent = { sequence, message: v1.decodeServerMessage(type, payload) };
    this.sent.push(sent);
    this.onSend(sent);
  }

  close(code: number, reason: string): void {
    this.closedWith ??= { code, reason };
  }

  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    this.isPaused = false;
  }

  /** The code with which it was closed; `null` while it is open. */
  closeCode(): number | null {
    return this.closedWith?.code ?? null;
  }

  /** The answers to a request, errors by their codes. */
  answersTo(sequence: number): (string | number)[] {
    return this.sent.filter((sent) => sent.sequence === sequence)
      .map(({ message }) => message.type === "error" ? message.code : message.type);
  }

  /** The ciphertexts that were delivered, in order. */
  get delivered(): Uint8Array[] {
    return this.sent.flatMap(({ message }) =>
      message.type === "user_message" ? [message.message.ciphertext] : []
    );
  }

  /** The sequences of the messages that were delivered, in order. */
  get deliveredSequences(): number[] {
    return this.sent.flatMap(({ message, sequence }) => message.type === "user_message" ? [sequence] : []);
  }
}
