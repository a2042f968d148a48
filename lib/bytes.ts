/**
 * Numbers in bytes, big-endian.
 *
 * A `DataView` would make the engine give every small array a buffer outside its heap, and a time a BigInt: several
 * times the price of what is read, for each message.
 * @module
 */

/** Reads two bytes. The caller has seen that they are there. */
export function readUint16(bytes: Uint8Array, offset: number): number {
  return byteAt(bytes, offset) << 8 | byteAt(bytes, offset + 1);
}

/** Reads four bytes. The caller has seen that they are there. */
export function readUint32(bytes: Uint8Array, offset: number): number {
  return (byteAt(bytes, offset) << 24 | byteAt(bytes, offset + 1) << 16 | byteAt(bytes, offset + 2) << 8 |
    byteAt(bytes, offset + 3)) >>> 0;
}

/**
 * Reads eight bytes. The caller has seen that they are there.
 *
 * @returns the number, rounded if it is above `Number.MAX_SAFE_INTEGER`, and then itself above it.
 */
export function readUint64(bytes: Uint8Array, offset: number): number {
  return readUint32(bytes, offset) * 2 ** 32 + readUint32(bytes, offset + 4);
}

/** Writes two bytes. */
export function writeUint16(bytes: Uint8Array, offset: number, value: number): void {
  bytes[offset] = value >>> 8;
  bytes[offset + 1] = value;
}

/** Writes four bytes. */
export function writeUint32(bytes: Uint8Array, offset: number, value: number): void {
  bytes[offset] = value >>> 24;
  bytes[offset + 1] = value >>> 16;
  bytes[offset + 2] = value >>> 8;
  bytes[offset + 3] = value;
}

/** Writes eight bytes, of a number from 0 to `Number.MAX_SAFE_INTEGER`. */
export function writeUint64(bytes: Uint8Array, offset: number, value: number): void {
  writeUint32(bytes, offset, Math.floor(value / 2 ** 32));
  writeUint32(bytes, offset + 4, value);
}

function byteAt(bytes: Uint8Array, offset: number): number {
  return bytes[offset] ?? 0;
}
