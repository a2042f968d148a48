/**
 * Addresses: a user (UUID version 4) and one of its devices (uint32), as text and as bytes.
 *
 * Invariant: a `userId` that left this file is canonical lower case, so it can be compared and used as a key.
 * @module
 */
import { dropOldest } from "./bounded.ts";
import { readUint32 } from "./bytes.ts";
import { parse, stringify, validate, version } from "uuid";

/** One device of one user: where messages are sent to and come from. */
export interface Address {
  /** The user's UUID version 4 in canonical lower case. */
  readonly userId: string;
  /** The device's number among the user's devices, uint32. */
  readonly deviceId: number;
}

/** The largest device ID, and the largest value of every other uint32 on the wire. */
export const UINT32_MAX = 0xffff_ffff;

/** The length of a user ID in bytes, as it travels in binary payloads. */
export const USER_ID_BYTES = 16;

/**
 * Reads a user ID written as text, in any case.
 *
 * @returns the canonical form, or `null` if the text is not a UUID version 4.
 */
export function parseUserId(text: string): string | null {
  return validate(text) && version(text) === 4 ? text.toLowerCase() : null;
}

/**
 * Reads a device ID written in decimal: no sign, no leading zero except `0` itself (protocol §1).
 *
 * @returns the number, or `null` if the text is not a uint32 in that form.
 */
export function parseDeviceId(text: string): number | null {
  if (!/^(0|[1-9][0-9]{0,9})$/.test(text)) return null;
  const deviceId = Number(text);
  return deviceId <= UINT32_MAX ? deviceId : null;
}

/**
 * Reads the 16 bytes of a user ID at `offset`.
 *
 * @returns the canonical form, or `null` if the bytes are not a UUID version 4.
 */
export function userIdFromBytes(bytes: Uint8Array, offset = 0): string | null {
  const versionByte = bytes[offset + 6];
  const variantByte = bytes[offset + 8];
  if (versionByte === undefined || variantByte === undefined || bytes.length < offset + USER_ID_BYTES) {
    return null;
  }
  // Checked here as well as by the library, which accepts every version.
  if (versionByte >> 4 !== 4 || variantByte >> 6 !== 2) return null;
  const slot = readUint32(bytes, offset) % KNOWN_IDS;
  const known = knownIds[slot];
  if (known !== undefined && isAt(bytes, offset, known.bytes)) return known.userId;
  const userId = stringify(bytes, offset);
  knownIds[slot] = { userId, bytes: bytes.slice(offset, offset + USER_ID_BYTES) };
  return userId;
}

/**
 * The user ID that was read last for each value of its first bytes, which are random. To make the text costs far more
 * than to compare the bytes; and one that is the same object as before is found faster as a key.
 */
const KNOWN_IDS = 8_192;
const knownIds: ({ readonly userId: string; readonly bytes: Uint8Array } | undefined)[] = new Array(
  KNOWN_IDS,
);

function isAt(bytes: Uint8Array, offset: number, wanted: Uint8Array): boolean {
  for (let i = 0; i < wanted.length; i++) if (bytes[offset + i] !== wanted[i]) return false;
  return true;
}

/** Bytes of user IDs that were asked for; as many as are in use at once. */
const knownBytes = new Map<string, Uint8Array>();
const KNOWN_BYTES_MAX = 20_000;

/** The 16 bytes of a canonical user ID; not to be changed. */
export function userIdToBytes(userId: string): Uint8Array {
  let bytes = knownBytes.get(userId);
  if (bytes === undefined) {
    bytes = parse(userId);
    knownBytes.set(userId, bytes);
    dropOldest(knownBytes, KNOWN_BYTES_MAX);
  }
  return bytes;
}

/** One string for each address, for use as a key of a `Map`. */
export function addressKey(address: Address): string {
  return `${address.userId}/${address.deviceId}`;
}
