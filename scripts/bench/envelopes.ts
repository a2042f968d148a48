/**
 * Envelopes of the load: made once and sent again with another sequence, read without a copy (protocol §2).
 * @module
 */
import { HEADER_BYTES, TYPE, v1, v2, type Version } from "../../lib/protocol/mod.ts";

/** Where the ciphertext of a UserMessage to a device begins, from the start of its envelope. */
export const CIPHERTEXT_AT: Readonly<Record<Version, number>> = {
  1: HEADER_BYTES + 20,
  2: HEADER_BYTES + 44,
};

const MESSAGE_ID_AT = HEADER_BYTES + 20;

/** The codec of a version. */
export const codecOf = (version: Version) => version === 1 ? v1 : v2;

/** Told of each envelope: what it is, and where it is in the message. */
export type EnvelopeHandler = (
  type: number,
  sequence: number,
  bytes: Uint8Array,
  at: number,
  length: number,
) => void;

/** Reads a uint32. */
export function uint32At(bytes: Uint8Array, at: number): number {
  return (((bytes[at] ?? 0) << 24) | ((bytes[at + 1] ?? 0) << 16) | ((bytes[at + 2] ?? 0) << 8) |
    (bytes[at + 3] ?? 0)) >>> 0;
}

/** Writes a uint32. */
export function setUint32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

/** Looks at each envelope of a WebSocket message. */
export function eachEnvelope(message: Uint8Array, handle: EnvelopeHandler): void {
  for (let at = 0; at < message.length;) {
    const length = HEADER_BYTES + uint32At(message, at + 6);
    handle(message[at + 5] ?? 0, uint32At(message, at + 1), message, at, length);
    at += length;
  }
}

/** An Ack, to be filled with the sequence that it names. */
export function makeAck(version: Version): Uint8Array {
  return codecOf(version).encodeClientMessage({ type: "ack" }, 0);
}

/** Fills an Ack. */
export function ackOf(ack: Uint8Array, sequence: number): Uint8Array {
  setUint32(ack, 1, sequence);
  return ack;
}

/** A UserMessage that is sent again and again, each time as a new one. */
export class MessageTemplate {
  readonly #bytes: Uint8Array;
  readonly #ciphertextAt: number;
  #sequence = 0;

  constructor(private readonly version: Version, to: string, ciphertextBytes: number) {
    const ciphertext = crypto.getRandomValues(new Uint8Array(ciphertextBytes));
    this.#bytes = codecOf(version).encodeClientMessage({
      type: "user_message",
      message: {
        to: { userId: to, deviceId: 1 },
        ciphertext,
        messageId: crypto.getRandomValues(new Uint8Array(16)),
        retry: false,
        transient: false,
        ttlSeconds: 0,
      },
    }, 0);
    this.#ciphertextAt = this.#bytes.length - ciphertextBytes;
  }

  /** The next message; it is good until the next call. @param mark the first four bytes of its ciphertext. */
  next(mark = 0): Uint8Array {
    const bytes = this.#bytes;
    const sequence = ++this.#sequence;
    setUint32(bytes, 1, sequence);
    if (this.version === 2) setUint32(bytes, MESSAGE_ID_AT, sequence);
    setUint32(bytes, this.#ciphertextAt, mark);
    return bytes;
  }
}

/** What a server refused, as text. */
export function refusalText(version: Version, bytes: Uint8Array, at: number, length: number): string {
  const payload = bytes.subarray(at + HEADER_BYTES, at + length);
  const message = codecOf(version).decodeServerMessage(TYPE.error, payload);
  return message.type === "error" ? `${message.code}: ${message.description}` : "?";
}
