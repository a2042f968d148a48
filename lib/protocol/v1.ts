/**
 * Version 1 of the wire: the format of the first messaging-server, whose clients work unchanged (protocol §3).
 * @module
 */
import * as v from "valibot";
import { USER_ID_BYTES, userIdToBytes } from "../address.ts";
import { readUint32, writeUint32 } from "../bytes.ts";
import { RequestError } from "../errors.ts";
import { allocateEnvelope, encodeEnvelope, HEADER_BYTES } from "./envelope.ts";
import { decodeFields, encodeFields } from "./messagepack.ts";
import { type ClientMessage, type Codec, type ServerMessage, TYPE } from "./messages.ts";
import {
  decodePreKey,
  decodePreKeysLow,
  encodeDescription,
  encodePreKey,
  encodePreKeysLow,
  fromDeviceKeys,
  registerFields,
  requestPreKeysFields,
  requireEmpty,
  requireUserId,
  toDeviceKeys,
  userIdAt,
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
  return { userId: userIdAt(payload, 0), deviceId: readUint32(payload, USER_ID_BYTES) };
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
  writeUint32(bytes, HEADER_BYTES + USER_ID_BYTES, address.deviceId);
  bytes.set(ciphertext, HEADER_BYTES + USER_MESSAGE_HEADER_BYTES);
  return bytes;
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
      return { type: "register", keys: toDeviceKeys(decodeFields(v.object(registerFields), payload), false) };
    }
    case TYPE.unregister:
      requireEmpty(payload);
      return { type: "unregister" };
    case TYPE.requestPreKeys: {
      const fields = decodeFields(v.object(requestPreKeysFields), payload);
      return {
        type: "request_prekeys",
        request: { userId: requireUserId(fields.UserID), knownDeviceIds: fields.KnownDeviceIDs },
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
    case "prekey":
      return encodeEnvelope(VERSION, sequence, TYPE.preKey, encodePreKey(message.bundle, message.more));
    case "prekeys_low":
      return encodeEnvelope(VERSION, sequence, TYPE.preKeysLow, encodePreKeysLow(message.wanted));
    case "user_message":
      return encodeUserMessage(sequence, message.message.from, message.message.ciphertext);
    case "hello":
    case "queue_empty":
    case "devices":
      return null;
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
    case "register":
      return encodeEnvelope(VERSION, sequence, TYPE.register, encodeFields(fromDeviceKeys(message.keys)));
    case "unregister":
      return allocateEnvelope(VERSION, sequence, TYPE.unregister, 0);
    case "request_prekeys": {
      const payload = encodeFields({
        UserID: message.request.userId,
        KnownDeviceIDs: message.request.knownDeviceIds,
      });
      return encodeEnvelope(VERSION, sequence, TYPE.requestPreKeys, payload);
    }
    case "user_message":
      return encodeUserMessage(sequence, message.message.to, message.message.ciphertext);
    case "user_messages":
    case "request_devices":
      throw new TypeError(`version ${VERSION} has no ${message.type}`);
  }
}

function decodeServerMessage(type: number, payload: Uint8Array): ServerMessage {
  switch (type) {
    case TYPE.ack:
      requireEmpty(payload);
      return { type: "ack" };
    case TYPE.error:
      return decodeError(payload);
    case TYPE.preKey:
      return decodePreKey(payload);
    case TYPE.preKeysLow:
      return decodePreKeysLow(payload);
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
  gathers: false,
  announces: false,
  decodeClientMessage,
  encodeServerMessage,
  encodeClientMessage,
  decodeServerMessage,
};
