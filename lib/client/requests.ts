/**
 * Requests of a client and their answers, matched by sequence.
 * @module
 */
import { nextClientSequence, type ServerMessage } from "../protocol/mod.ts";
import { DisconnectedError, type SendOptions, ServerError } from "./types.ts";

interface Waiting {
  readonly answers: ServerMessage[];
  resolve(answers: ServerMessage[]): void;
  reject(error: unknown): void;
}

/** The requests of one connection that are not answered yet. */
export class Requests {
  readonly #waiting = new Map<number, Waiting>();
  #sequence = 0;

  constructor(private readonly deadlineMs: number) {}

  /**
   * Makes a request, and waits for all of its answer.
   *
   * @param send sends it under the sequence that it is given.
   */
  make(send: (sequence: number) => void): Promise<ServerMessage[]> {
    const sequence = this.#sequence = nextClientSequence(this.#sequence);
    return new Promise((resolve, reject) => {
      const settle = () => {
        clearTimeout(timer);
        this.#waiting.delete(sequence);
      };
      const waiting: Waiting = {
        answers: [],
        resolve: (answers) => (settle(), resolve(answers)),
        reject: (error) => (settle(), reject(error)),
      };
      const late = new DisconnectedError(1006, "the server did not answer in time");
      const timer = setTimeout(() => waiting.reject(late), this.deadlineMs);
      this.#waiting.set(sequence, waiting);
      try {
        send(sequence);
      } catch (error) {
        waiting.reject(error);
      }
    });
  }

  /** Takes an answer. One to nothing is dropped. */
  answer(message: ServerMessage, sequence: number): void {
    const waiting = this.#waiting.get(sequence);
    if (waiting === undefined) return;
    if (message.type === "error") {
      const { code, description, retryAfterMs, mismatch } = message;
      return waiting.reject(new ServerError(code, description, retryAfterMs, mismatch));
    }
    waiting.answers.push(message);
    if (message.type !== "prekey" || message.more === 0) waiting.resolve(waiting.answers);
  }

  /** An answer came that can't be read. */
  fail(sequence: number, error: unknown): void {
    this.#waiting.get(sequence)?.reject(error);
  }

  /** The connection is over: nothing more is answered. */
  end(error: DisconnectedError): void {
    for (const waiting of [...this.#waiting.values()]) waiting.reject(error);
  }
}

/** What a send says when nobody says otherwise. */
export function complete(options: SendOptions): Required<SendOptions> {
  return {
    messageId: options.messageId ?? crypto.getRandomValues(new Uint8Array(16)),
    retry: options.retry ?? false,
    transient: options.transient ?? false,
    ttlSeconds: options.ttlSeconds ?? 0,
  };
}
