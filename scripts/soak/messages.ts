/** The messages of the load: as cheap to make and to read as can be, and told apart from all others. */
import { HEADER_BYTES, type Version } from "../../lib/protocol/mod.ts";
import { ackOf, CIPHERTEXT_AT, codecOf, makeAck, setUint32, uint32At } from "../bench/envelopes.ts";

/** A ciphertext: the number, the mark of its lane, bytes that mean nothing, and the number turned round. */
const CIPHERTEXT_BYTES = 300;

const MESSAGE_ID_AT = HEADER_BYTES + 20;

/** Writes the messages of one lane. What a call returns is good until the next one. */
export class MessageWriter {
  readonly #first: Uint8Array;
  readonly #repeat: Uint8Array;
  readonly #ack: Uint8Array;
  readonly #ciphertextAt: number;

  constructor(private readonly version: Version, to: string, mark: number) {
    const ciphertext = crypto.getRandomValues(new Uint8Array(CIPHERTEXT_BYTES));
    setUint32(ciphertext, 4, mark);
    const messageId = crypto.getRandomValues(new Uint8Array(16));
    const encode = (retry: boolean) =>
      codecOf(version).encodeClientMessage({
        type: "user_message",
        message: {
          to: { userId: to, deviceId: 1 },
          ciphertext,
          messageId,
          retry,
          transient: false,
          ttlSeconds: 0,
        },
      }, 0);
    this.#first = encode(false);
    this.#repeat = encode(true);
    this.#ack = makeAck(version);
    this.#ciphertextAt = this.#first.length - CIPHERTEXT_BYTES;
  }

  /** A message; its number is its message ID too. */
  message(number: number, sequence: number, isRepeat: boolean): Uint8Array {
    const bytes = isRepeat ? this.#repeat : this.#first;
    setUint32(bytes, 1, sequence);
    if (this.version === 2) setUint32(bytes, MESSAGE_ID_AT, number);
    setUint32(bytes, this.#ciphertextAt, number);
    setUint32(bytes, bytes.length - 4, ~number);
    return bytes;
  }

  /** An Ack. */
  ack(sequence: number): Uint8Array {
    return ackOf(this.#ack, sequence);
  }
}

/** Reads the messages of one lane. */
export class MessageReader {
  readonly #ciphertextAt: number;

  constructor(version: Version, private readonly mark: number) {
    this.#ciphertextAt = CIPHERTEXT_AT[version];
  }

  /** The number of a message, or `null` if it is not of this lane, or not as it was sent. */
  read(bytes: Uint8Array, at: number, length: number): number | null {
    const start = at + this.#ciphertextAt;
    if (at + length - start !== CIPHERTEXT_BYTES) return null;
    const number = uint32At(bytes, start);
    const isWhole = uint32At(bytes, at + length - 4) === ~number >>> 0;
    return isWhole && uint32At(bytes, start + 4) === this.mark ? number : null;
  }
}
