/**
 * What payloads of both versions are made of.
 * @module
 */
import * as v from "valibot";
import type { DeviceKeys, PreKeyBundle } from "../domain.ts";
import { parseUserId, userIdFromBytes } from "../address.ts";
import { readUint16, readUint64 } from "../bytes.ts";
import { RequestError } from "../errors.ts";
import { DESCRIPTION_BYTES_MAX } from "../limits.ts";
import {
  bytesArray,
  decodeFields,
  encodeFields,
  optionalBytes,
  requiredBytes,
  text,
  uint32,
  uint32Array,
} from "./messagepack.ts";

/** The map of a Register. */
export const registerFields = {
  RegistrationID: uint32,
  IdentityKey: requiredBytes,
  SignedPreKey: requiredBytes,
  PreKeys: bytesArray,
} as const;

/** The fields of a Register as keys. */
export function toDeviceKeys(
  fields: {
    readonly RegistrationID: number;
    readonly IdentityKey: Uint8Array;
    readonly SignedPreKey: Uint8Array;
    readonly PreKeys: readonly Uint8Array[];
  },
  replace: boolean,
): DeviceKeys {
  return {
    registrationId: fields.RegistrationID,
    identityKey: fields.IdentityKey,
    signedPreKey: fields.SignedPreKey,
    preKeys: fields.PreKeys,
    replace,
  };
}

/** Keys as the fields of a Register. */
export function fromDeviceKeys(keys: DeviceKeys): Record<string, unknown> {
  return {
    RegistrationID: keys.registrationId,
    IdentityKey: keys.identityKey,
    SignedPreKey: keys.signedPreKey,
    PreKeys: keys.preKeys,
  };
}

/** The map of a RequestPreKeys. */
export const requestPreKeysFields = { UserID: text, KnownDeviceIDs: uint32Array } as const;

/** The map of a PreKey. */
const preKeyFields = v.object({
  UserID: text,
  DeviceID: uint32,
  RegistrationID: uint32,
  IdentityKey: requiredBytes,
  SignedPreKey: requiredBytes,
  PreKey: optionalBytes,
  More: uint32,
});

/**
 * A user ID that came as text, in canonical form.
 *
 * @throws {RequestError} `invalid_user_id`.
 */
export function requireUserId(userId: string): string {
  const canonical = parseUserId(userId);
  if (canonical === null) throw new RequestError("invalid_user_id");
  return canonical;
}

/**
 * The user ID in the 16 bytes at `offset`.
 *
 * @throws {RequestError} `invalid_user_id`.
 */
export function userIdAt(payload: Uint8Array, offset: number): string {
  const userId = userIdFromBytes(payload, offset);
  if (userId === null) throw new RequestError("invalid_user_id");
  return userId;
}

/**
 * Sees that a payload is empty.
 *
 * @throws {RequestError} `unmarshal`.
 */
export function requireEmpty(payload: Uint8Array): void {
  if (payload.length > 0) {
    throw new RequestError("unmarshal", `payload must be empty, found ${payload.length} bytes`);
  }
}

/**
 * The time in the 8 bytes at `offset`, milliseconds since the epoch.
 *
 * @throws {RequestError} `unmarshal` if it is beyond all time that a double holds exactly.
 */
export function timeAt(payload: Uint8Array, offset: number): number {
  const time = readUint64(payload, offset);
  if (time > Number.MAX_SAFE_INTEGER) throw new RequestError("unmarshal", "a time must fit 53 bits");
  return time;
}

/** Makes the payload of a PreKey. */
export function encodePreKey(bundle: PreKeyBundle, more: number): Uint8Array {
  return encodeFields({
    UserID: bundle.userId,
    DeviceID: bundle.deviceId,
    RegistrationID: bundle.registrationId,
    IdentityKey: bundle.identityKey,
    SignedPreKey: bundle.signedPreKey,
    PreKey: bundle.preKey,
    More: more,
  });
}

/** Reads the payload of a PreKey. */
export function decodePreKey(payload: Uint8Array): { type: "prekey"; bundle: PreKeyBundle; more: number } {
  const fields = decodeFields(preKeyFields, payload);
  const bundle = {
    userId: requireUserId(fields.UserID),
    deviceId: fields.DeviceID,
    registrationId: fields.RegistrationID,
    identityKey: fields.IdentityKey,
    signedPreKey: fields.SignedPreKey,
    preKey: fields.PreKey,
  };
  return { type: "prekey", bundle, more: fields.More };
}

/** Makes the payload of a PreKeysLow. */
export function encodePreKeysLow(wanted: number): Uint8Array {
  return Uint8Array.of(wanted >> 8, wanted & 0xff);
}

/** Reads the payload of a PreKeysLow. */
export function decodePreKeysLow(payload: Uint8Array): { type: "prekeys_low"; wanted: number } {
  if (payload.length !== 2) {
    throw new RequestError("unmarshal", `PreKeysLow has 2 bytes, found ${payload.length}`);
  }
  return { type: "prekeys_low", wanted: readUint16(payload, 0) };
}

/** Cuts a description to what an Error may carry, at a character's edge; in UTF-8. */
export function encodeDescription(description: string): Uint8Array {
  const bytes = new Uint8Array(DESCRIPTION_BYTES_MAX);
  return bytes.subarray(0, new TextEncoder().encodeInto(description, bytes).written);
}

/** The same as text, for a map. */
export function cutDescription(description: string): string {
  return new TextDecoder().decode(encodeDescription(description));
}
