/**
 * What payloads of both versions are made of.
 * @module
 */
import * as v from "valibot";
import { parseUserId } from "../address.ts";
import { RequestError } from "../errors.ts";
import { bytesArray, optionalBytes, requiredBytes, text, uint32, uint32Array } from "./messagepack.ts";

/** The map of a Register. */
export const registerFields = v.object({
  RegistrationID: uint32,
  IdentityKey: requiredBytes,
  SignedPreKey: requiredBytes,
  PreKeys: bytesArray,
});

/** The map of a RequestPreKeys. */
export const requestPreKeysFields = v.object({ UserID: text, KnownDeviceIDs: uint32Array });

/** The map of a PreKey. */
export const preKeyFields = v.object({
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
 * Sees that a payload is empty.
 *
 * @throws {RequestError} `unmarshal`.
 */
export function requireEmpty(payload: Uint8Array): void {
  if (payload.length > 0) {
    throw new RequestError("unmarshal", `payload must be empty, found ${payload.length} bytes`);
  }
}

/** A view of bytes as numbers. */
export function viewOf(payload: Uint8Array): DataView {
  return new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
}
