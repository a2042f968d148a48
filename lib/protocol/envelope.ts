/**
 * The envelope round every message, the same in both versions (protocol §2):
 * version (1 byte), sequence (4), type (1), payload length (4), payload. Big-endian.
 * @module
 */
import { readUint32, writeUint32 } from "../bytes.ts";
import { ProtocolViolation } from "../errors.ts";
import { CLOSE } from "./close_codes.ts";

/** Bytes before the payload. */
export const HEADER_BYTES = 10;

/** The versions of the protocol that this server speaks. */
export type Version = 1 | 2;

/** One message as it travels. */
export interface Envelope {
  /** 1 or 2. */
  readonly version: number;
  /** uint32; each direction counts for itself. */
  readonly sequence: number;
  /** uint8: what the payload is. */
  readonly type: number;
  /** A view into the bytes it was read from. */
  readonly payload: Uint8Array;
}

/** The first sequence of a server; its last is 0xffffffff, then it starts over. */
export const SERVER_SEQUENCE_MIN = 0x8000_0001;

/** A client's sequences run from 1 to this. */
export const CLIENT_SEQUENCE_MAX = 0x7fff_ffff;

/** The sequence after `sequence` of a server. */
export function nextServerSequence(sequence: number): number {
  return sequence >= 0xffff_ffff ? SERVER_SEQUENCE_MIN : sequence + 1;
}

/** The sequence after `sequence` of a client. */
export function nextClientSequence(sequence: number): number {
  return sequence >= CLIENT_SEQUENCE_MAX ? 1 : sequence + 1;
}

/**
 * Reads the envelope that starts at `offset`; the next one starts `HEADER_BYTES + payload.length` later.
 *
 * @throws {ProtocolViolation} with close code 1002 if the bytes end inside the envelope, or its version is not the
 * connection's.
 */
export function decodeEnvelope(bytes: Uint8Array, offset: number, version: Version): Envelope {
  if (bytes.length - offset < HEADER_BYTES) {
    throw new ProtocolViolation(CLOSE.protocolError, "envelope ends inside its header");
  }
  if (bytes[offset] !== version) {
    throw new ProtocolViolation(CLOSE.protocolError, `version byte ${bytes[offset]}, expected ${version}`);
  }
  const start = offset + HEADER_BYTES;
  const length = readUint32(bytes, offset + 6);
  if (length > bytes.length - start) {
    throw new ProtocolViolation(CLOSE.protocolError, "envelope ends inside its payload");
  }
  return {
    version,
    sequence: readUint32(bytes, offset + 1),
    type: bytes[offset + 5] ?? 0,
    payload: bytes.subarray(start, start + length),
  };
}

/** Makes room for so many bytes, all 0. */
export type Allocate = (bytes: number) => Uint8Array<ArrayBuffer>;

const allocate: Allocate = (bytes) => new Uint8Array(bytes);

/**
 * Makes an envelope with room for the payload.
 *
 * @param room where it is made; without it, it has bytes of its own.
 * @returns the whole envelope, the header filled in; the caller writes the payload from `HEADER_BYTES` on.
 */
export function allocateEnvelope(
  version: Version,
  sequence: number,
  type: number,
  payloadBytes: number,
  room: Allocate = allocate,
): Uint8Array<ArrayBuffer> {
  const bytes = room(HEADER_BYTES + payloadBytes);
  bytes[0] = version;
  writeUint32(bytes, 1, sequence);
  bytes[5] = type;
  writeUint32(bytes, 6, payloadBytes);
  return bytes;
}

/** Makes an envelope round the parts of a payload. */
export function encodeEnvelope(
  version: Version,
  sequence: number,
  type: number,
  ...parts: Uint8Array[]
): Uint8Array<ArrayBuffer> {
  const bytes = allocateEnvelope(version, sequence, type, parts.reduce((sum, part) => sum + part.length, 0));
  let offset = HEADER_BYTES;
  for (const part of parts) {
    bytes.set(part, offset);
    offset += part.length;
  }
  return bytes;
}
