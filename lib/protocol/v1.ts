/**
 * Version 1 of the wire: the format of the first messaging-server, whose clients work unchanged (protocol §3).
 * @module
 */
import { USER_ID_BYTES, userIdFromBytes, userIdToBytes } from "../address.ts";
import { DESCRIPTION_BYTES_MAX } from "../limits.ts";
import { RequestError } from "../errors.ts";
import { allocateEnvelope, encodeEnvelope, HEADER_BYTES } from "./envelope.ts";
import { decodeFields, encodeFields } from "./messagepack.ts";
import { type ClientMessage, type Codec, type ServerMessage, TYPE } from "./messages.ts";
import {
  preKeyFields,
  registerFields,
  requestPreKeysFields,
  requireEmpty,
  requireUserId,
  viewOf,
} from "./payloads.ts";

const VERSION = 1;

/** Bytes before the ciphertext of a UserMessage: user and device. */
const USER_MESSAGE_HEADER_BYTES = USER_ID_BYTES + 4;

/** Reads the address before the ciphertext of a UserMessage. */
function decodeAddress(payload: Uint8Array): { userId: string; deviceId: number } {
  if (payload.length < USER_MESSAGE_HEADER_BYTES) {
    throw new RequestError(
      "unmarshal",
      `UserMessage needs ${USER_MESSAGE_HEADER_BYTES} bytes before the ciphertext, found ${payload.length}`,
    );
  }
  const userId = userIdFromBytes(payload);
  if (userId === null) throw new RequestError("invalid_user_id");
  return { userId, deviceId: viewOf(payload).getUint32(USER_ID_BYTES) };
}

/** Makes a UserMessage: the address, then the ciphertext. */
function encodeUserMessage(
  sequence: number,
  address: { userId: string; deviceId: number },
  ciphertext: Uint8Array,
): Uint8Array<ArrayBuffer> {
  const payloadBytes = USER_MESSAGE_HEADER_BYTES + ciphertext.length;
  const bytes = allocateEnvelope(VERSION, sequence, TYPE.userMessage, payloadBytes);
  bytes.set(userIdToBytes(address.userId), HEADER_BYTES);
  viewOf(bytes).setUint32(HEADER_BYTES + USER_ID_BYTES, address.deviceId);
  bytes.set(ciphertext, HEADER_BYTES + USER_MESSAGE_HEADER_BYTES);
  return bytes;
}

/** Cuts a description to what an Error may carry, at a character's edge. */
function encodeDescription(description: string): Uint8Array {
  const bytes = new Uint8Array(DESCRIPTION_BYTES_MAX);
  return bytes.subarray(0, new TextEncoder().encodeInto(description, bytes).written);
}

function decodeError(payload: Uint8Array): { type: "error"; code: number; description: string } {
  const code = payload[0];
  if (code === undefined) throw new RequestError("unmarshal", "Error needs a code");
  // With the byte order mark kept, what was read is written as the same bytes.
  const description = new TextDecoder("utf-8", { ignoreBOM: true }).decode(payload.subarray(1));
  return { type: "error", code, description };
}

function decodeClientMessage(type: number, payload: Uint8Array): ClientMessage {
  switch (type) {
    case TYPE.ack:
      requireEmpty(payload);
      return { type: "ack" };
    case TYPE.error:
      return decodeError(payload);
    case TYPE.register: {
      const fields = decodeFields(registerFields, payload);
      return {
        type: "register",
        keys: {
          registrationId: fields.RegistrationID,
          identityKey: fields.IdentityKey,
          signedPreKey: fields.SignedPreKey,
          preKeys: fields.PreKeys,
          replace: false,
        },
      };
    }
    case TYPE.unregister:
      requireEmpty(payload);
      return { type: "unregister" };
    case TYPE.requestPreKeys: {
      const fields = decodeFields(requestPreKeysFields, payload);
      return {
        type: "request_prekeys",
        userId: requireUserId(fields.UserID),
        knownDeviceIds: fields.KnownDeviceIDs,
      };
    }
    case TYPE.userMessage: {
      const to = decodeAddress(payload);
      const ciphertext = payload.subarray(USER_MESSAGE_HEADER_BYTES);
      return {
        type: "user_message",
        message: { to, transient: false, retry: false, ttlSeconds: 0, ciphertext },
      };
    }
    default:
      throw new RequestError("unknown_type", `message type ${type} is not a request of version ${VERSION}`);
  }
}

function encodeServerMessage(message: ServerMessage, sequence: number): Uint8Array<ArrayBuffer> | null {
  switch (message.type) {
    case "ack":
      return allocateEnvelope(VERSION, sequence, TYPE.ack, 0);
    case "error": {
      const code = Uint8Array.of(message.code);
      return encodeEnvelope(VERSION, sequence, TYPE.error, code, encodeDescription(message.description));
    }
    case "prekey": {
      const { bundle, more } = message;
      const payload = encodeFields({
        UserID: bundle.userId,
        DeviceID: bundle.deviceId,
        RegistrationID: bundle.registrationId,
        IdentityKey: bundle.identityKey,
        SignedPreKey: bundle.signedPreKey,
        PreKey: bundle.preKey,
        More: more,
      });
      return encodeEnvelope(VERSION, sequence, TYPE.preKey, payload);
    }
    case "prekeys_low": {
      const bytes = allocateEnvelope(VERSION, sequence, TYPE.preKeysLow, 2);
      viewOf(bytes).setUint16(HEADER_BYTES, message.wanted);
      return bytes;
    }
    case "user_message":
      return encodeUserMessage(sequence, message.message.from, message.message.ciphertext);
  }
}

function encodeClientMessage(message: ClientMessage, sequence: number): Uint8Array<ArrayBuffer> {
  switch (message.type) {
    case "ack":
      return allocateEnvelope(VERSION, sequence, TYPE.ack, 0);
    case "error": {
      const code = Uint8Array.of(message.code);
      return encodeEnvelope(VERSION, sequence, TYPE.error, code, encodeDescription(message.description));
    }
    case "register": {
      const payload = encodeFields({
        RegistrationID: message.keys.registrationId,
        IdentityKey: message.keys.identityKey,
        SignedPreKey: message.keys.signedPreKey,
        PreKeys: message.keys.preKeys,
      });
      return encodeEnvelope(VERSION, sequence, TYPE.register, payload);
    }
    case "unregister":
      return allocateEnvelope(VERSION, sequence, TYPE.unregister, 0);
    case "request_prekeys": {
      const payload = encodeFields({ UserID: message.userId, KnownDeviceIDs: message.knownDeviceIds });
      return encodeEnvelope(VERSION, sequence, TYPE.requestPreKeys, payload);
    }
    case "user_message":
      return encodeUserMessage(sequence, message.message.to, message.message.ciphertext);
  }
}

function decodeServerMessage(type: number, payload: Uint8Array): ServerMessage {
  switch (type) {
    case TYPE.ack:
      requireEmpty(payload);
      return { type: "ack" };
    case TYPE.error:
      return decodeError(payload);
    case TYPE.preKey: {
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
    case TYPE.preKeysLow:
      if (payload.length !== 2) {
        throw new RequestError("unmarshal", `PreKeysLow has 2 bytes, found ${payload.length}`);
      }
      return { type: "prekeys_low", wanted: viewOf(payload).getUint16(0) };
    case TYPE.userMessage: {
      const from = decodeAddress(payload);
      const ciphertext = payload.subarray(USER_MESSAGE_HEADER_BYTES);
      // Version 1 tells neither an ID nor a time.
      return {
        type: "user_message",
        message: { from, messageId: new Uint8Array(16), timestamp: 0, ciphertext },
      };
    }
    default:
      throw new RequestError(
        "unknown_type",
        `message type ${type} is not one of a server of version ${VERSION}`,
      );
  }
}

/** The codec of version 1. */
export const v1: Codec = {
  version: VERSION,
  decodeClientMessage,
  encodeServerMessage,
  encodeClientMessage,
  decodeServerMessage,
};
