/**
 * Blobs: how the test clients pack several keys into the one opaque blob that the server keeps for them.
 *
 * A blob is a row of fields without names: a number is a uint32, bytes are preceded by their length as a
 * uint16; big-endian. Reader and writer have to agree on the order. The server never looks inside.
 * @module
 */

const UINT16_BYTES = 2;
const UINT32_BYTES = 4;

/** Appends fields and gives the blob at the end. */
export class BlobWriter {
  readonly #parts: Uint8Array[] = [];

  /** Appends a uint32. */
  uint32(value: number): this {
    const part = new Uint8Array(UINT32_BYTES);
    new DataView(part.buffer).setUint32(0, value);
    this.#parts.push(part);
    return this;
  }

  /** Appends at most 65,535 bytes. */
  bytes(value: Uint8Array): this {
    // setUint16 would cut a longer length silently, and the reader would see other fields.
    if (value.length > 0xffff) throw new RangeError(`a field of ${value.length} bytes does not fit`);
    const length = new Uint8Array(UINT16_BYTES);
    new DataView(length.buffer).setUint16(0, value.length);
    this.#parts.push(length, value);
    return this;
  }

  /** The blob. */
  finish(): Uint8Array<ArrayBuffer> {
    return concatenate(this.#parts);
  }
}

/** Takes the fields of a blob in the order in which they were written; throws a RangeError beyond the end. */
export class BlobReader {
  readonly #blob: Uint8Array<ArrayBuffer>;
  readonly #view: DataView;
  #offset = 0;

  constructor(blob: Uint8Array) {
    // A copy: libsignal takes nothing that might lie in shared memory.
    this.#blob = new Uint8Array(blob);
    this.#view = new DataView(this.#blob.buffer);
  }

  /** The next field, a uint32. */
  uint32(): number {
    const value = this.#view.getUint32(this.#offset);
    this.#offset += UINT32_BYTES;
    return value;
  }

  /** The next field, bytes. */
  bytes(): Uint8Array<ArrayBuffer> {
    const start = this.#offset + UINT16_BYTES;
    const end = start + this.#view.getUint16(this.#offset);
    if (end > this.#blob.length) throw new RangeError("the blob ends inside a field");
    this.#offset = end;
    return this.#blob.slice(start, end);
  }

  /** Nothing may follow: a rest means that the blob came from another kind of writer. */
  end(): void {
    const rest = this.#blob.length - this.#offset;
    if (rest !== 0) throw new RangeError(`${rest} bytes follow the last field`);
  }
}

/** A ciphertext as it is sent: one byte for its kind (session set-up or not), then what the library made. */
export function labelCiphertext(kind: number, body: Uint8Array): Uint8Array<ArrayBuffer> {
  return concatenate([Uint8Array.of(kind), body]);
}

/** The two parts of a labelled ciphertext. */
export function readCiphertext(labelled: Uint8Array): { kind: number; body: Uint8Array<ArrayBuffer> } {
  const [kind] = labelled;
  if (kind === undefined) throw new RangeError("an empty ciphertext has no kind");
  return { kind, body: new Uint8Array(labelled.subarray(1)) };
}

function concatenate(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}
