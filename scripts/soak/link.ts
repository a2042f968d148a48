/** One connection of a device: the requests that wait for their answers on it. */
import { type Codec, nextClientSequence, type ServerMessage, TYPE } from "../../lib/protocol/mod.ts";
import type { RawSocket } from "../bench/raw_socket.ts";

/** Told the answer to a request, or its Error. */
export type Answered = (error: { readonly code: number } | null, answer?: ServerMessage) => void;

/** A connection, from its upgrade to its end. What is not answered by then never is. */
export class Link {
  readonly #waiting = new Map<number, Answered>();
  #sequence = 0;
  #isOpen = true;

  /** @param number counts the connections of a device. */
  constructor(readonly socket: RawSocket, readonly number: number) {}

  /** Sends a request. What `encode` returns may be changed after the call. */
  ask(encode: (sequence: number) => Uint8Array, answered: Answered): void {
    this.#sequence = nextClientSequence(this.#sequence);
    this.#waiting.set(this.#sequence, answered);
    this.socket.send(encode(this.#sequence));
  }

  /** Does something after a while, unless the connection is over by then. */
  later(ms: number, what: () => void): void {
    setTimeout(() => this.#isOpen && what(), ms * (0.5 + Math.random()));
  }

  /** The connection is over. */
  close(): void {
    this.#isOpen = false;
    this.#waiting.clear();
  }

  /** An answer has come. */
  answered(codec: Codec, type: number, sequence: number, payload: Uint8Array): void {
    const answered = this.#waiting.get(sequence);
    if (answered === undefined) return;
    this.#waiting.delete(sequence);
    if (type === TYPE.ack) return answered(null); // what it says of a send is of no use here
    const message = codec.decodeServerMessage(type, payload.slice());
    if (message.type === "error") answered({ code: message.code });
    else answered(null, message);
  }
}
