/**
 * Version 2, what clients send: layouts, in both directions of the codec (protocol §4).
 * @module
 */
import * as v from "valibot";
import { userIdToBytes } from "../address.ts";
import { readUint16, readUint32, writeUint16, writeUint32 } from "../bytes.ts";
import type { OutgoingMessage, OutgoingMessages } from "../domain.ts";
import { RequestError } from "../errors.ts";
import { allocateEnvelope, encodeEnvelope, HEADER_BYTES } from "./envelope.ts";
import {
  cleanText,
  decodeFields,
  encodeFields,
  optionalBoolean,
  optionalBytes,
  optionalText,
  optionalUint32,
  text,
  uint32,
} from "./messagepack.ts";
import { type ClientMessage, TYPE } from "./messages.ts";
import {
  cutDescription,
  fromDeviceKeys,
  registerFields,
  requestPreKeysFields,
  requireEmpty,
  requireUserId,
  toDeviceKeys,
  userIdAt,
} from "./payloads.ts";

const VERSION = 2;

/** The flags of a send. */
const FLAG = { transient: 1, retry: 4, listedOnly: 8 } as const;

/** Bytes of a message ID and of a ClaimID. */
const ID_BYTES = 16;

/** UserMessage: user, device, message ID, flags, ttl. */
const ONE = { device: 16, messageId: 20, flags: 36, ttl: 37, ciphertext: 41 } as const;

/** UserMessages: user, message ID, flags, ttl, count; for each device: device, registration ID, length. */
const ALL = { messageId: 16, flags: 32, ttl: 33, count: 37, devices: 39, deviceBytes: 12 } as const;

/** How many devices a UserMessages may name before anyone looks at them; the server's limit is far below. */
const NAMED_MAX = 4_096;

const errorFields = v.object({ Code: uint32, Description: optionalText });
const registerV2Fields = v.object({ ...registerFields, Replace: optionalBoolean });
const requestV2Fields = v.object({ ...requestPreKeysFields, ClaimID: optionalBytes });
const unregisterFields = v.object({ DeviceID: optionalUint32 });
const requestDevicesFields = v.object({ UserID: text });

function malformed(description: string): RequestError {
  return new RequestError("unmarshal", description);
}

/** Sees that an ID that is to be sent has its length. */
function requireId(what: string, id: Uint8Array | undefined): Uint8Array {
  if (id?.length !== ID_BYTES) throw new TypeError(`a ${what} has ${ID_BYTES} bytes`);
  return id;
}

/** Reads an Error, which has less in it than that of a server. */
function decodeError(payload: Uint8Array): Extract<ClientMessage, { type: "error" }> {
  const { Code, Description } = decodeFields(errorFields, payload);
  return { type: "error", code: Code, description: cleanText(Description ?? "") };
}

/** Reads the flags; those that mean nothing must be 0, so that they can mean something later. */
function decodeFlags(
  flags: number,
  allowed: number,
): { transient: boolean; retry: boolean; listedOnly: boolean } {
  if ((flags & ~allowed) !== 0) throw malformed(`flags has bits that are not known: 0x${flags.toString(16)}`);
  return {
    transient: (flags & FLAG.transient) !== 0,
    retry: (flags & FLAG.retry) !== 0,
    listedOnly: (flags & FLAG.listedOnly) !== 0,
  };
}

function decodeUserMessage(payload: Uint8Array): OutgoingMessage {
  if (payload.length < ONE.ciphertext) {
    throw malformed(
      `UserMessage needs ${ONE.ciphertext} bytes before the ciphertext, found ${payload.length}`,
    );
  }
  const userId = userIdAt(payload, 0);
  const { transient, retry } = decodeFlags(payload[ONE.flags] ?? 0, FLAG.transient | FLAG.retry);
  return {
    to: { userId, deviceId: readUint32(payload, ONE.device) },
    messageId: payload.subarray(ONE.messageId, ONE.flags),
    transient,
    retry,
    ttlSeconds: readUint32(payload, ONE.ttl),
    ciphertext: payload.subarray(ONE.ciphertext),
  };
}

function decodeUserMessages(payload: Uint8Array): OutgoingMessages {
  if (payload.length < ALL.devices) {
    throw malformed(`UserMessages needs ${ALL.devices} bytes before the devices, found ${payload.length}`);
  }
  const userId = userIdAt(payload, 0);
  const flags = decodeFlags(payload[ALL.flags] ?? 0, FLAG.transient | FLAG.retry | FLAG.listedOnly);
  const count = readUint16(payload, ALL.count);
  if (count > NAMED_MAX) {
    throw new RequestError("too_large", `UserMessages names more than ${NAMED_MAX} devices`);
  }
  const devices: { deviceId: number; registrationId: number; ciphertext: Uint8Array }[] = [];
  const named = new Set<number>();
  let offset: number = ALL.devices;
  for (let i = 0; i < count; i++) {
    const start = offset + ALL.deviceBytes;
    if (start > payload.length) throw malformed("UserMessages ends inside its devices");
    const deviceId = readUint32(payload, offset);
    const end = start + readUint32(payload, offset + 8);
    if (end > payload.length) throw malformed(`the ciphertext for device ${deviceId} ends too early`);
    if (named.has(deviceId)) throw malformed(`device ${deviceId} is named twice`);
    named.add(deviceId);
    devices.push({
      deviceId,
      registrationId: readUint32(payload, offset + 4),
      ciphertext: payload.subarray(start, end),
    });
    offset = end;
  }
  if (offset !== payload.length) throw malformed(`${payload.length - offset} bytes follow the devices`);
  const messageId = payload.subarray(ALL.messageId, ALL.flags);
  return { userId, messageId, ...flags, ttlSeconds: readUint32(payload, ALL.ttl), devices };
}

/** Reads what a client sent. See `Codec`. */
export function decodeClientMessage(type: number, payload: Uint8Array): ClientMessage {
  switch (type) {
    case TYPE.ack:
      requireEmpty(payload);
      return { type: "ack" };
    case TYPE.error:
      return decodeError(payload);
    case TYPE.register: {
      const fields = decodeFields(registerV2Fields, payload);
      return { type: "register", keys: toDeviceKeys(fields, fields.Replace) };
    }
    case TYPE.unregister: {
      const deviceId = payload.length === 0 ? null : decodeFields(unregisterFields, payload).DeviceID;
      return deviceId === null ? { type: "unregister" } : { type: "unregister", deviceId };
    }
    case TYPE.requestPreKeys: {
      const fields = decodeFields(requestV2Fields, payload);
      const request = { userId: requireUserId(fields.UserID), knownDeviceIds: fields.KnownDeviceIDs };
      const claimId = fields.ClaimID;
      if (claimId === null) return { type: "request_prekeys", request };
      if (claimId.length !== ID_BYTES) throw malformed(`ClaimID must have ${ID_BYTES} bytes`);
      return { type: "request_prekeys", request: { ...request, claimId } };
    }
    case TYPE.userMessage:
      return { type: "user_message", message: decodeUserMessage(payload) };
    case TYPE.userMessages:
      return { type: "user_messages", messages: decodeUserMessages(payload) };
    case TYPE.requestDevices:
      return {
        type: "request_devices",
        userId: requireUserId(decodeFields(requestDevicesFields, payload).UserID),
      };
    default:
      throw new RequestError("unknown_type", `message type ${type} is not a request of version ${VERSION}`);
  }
}

function flagsOf(message: { transient: boolean; retry: boolean; listedOnly?: boolean }): number {
  return (message.transient ? FLAG.transient : 0) | (message.retry ? FLAG.retry : 0) |
    (message.listedOnly ? FLAG.listedOnly : 0);
}

function encodeUserMessage(sequence: number, message: OutgoingMessage): Uint8Array<ArrayBuffer> {
  const messageId = requireId("message ID", message.messageId);
  const payloadBytes = ONE.ciphertext + message.ciphertext.length;
  const bytes = allocateEnvelope(VERSION, sequence, TYPE.userMessage, payloadBytes);
  const payload = bytes.subarray(HEADER_BYTES);
  payload.set(userIdToBytes(message.to.userId));
  writeUint32(payload, ONE.device, message.to.deviceId);
  payload.set(messageId, ONE.messageId);
  payload[ONE.flags] = flagsOf(message);
  writeUint32(payload, ONE.ttl, message.ttlSeconds);
  payload.set(message.ciphertext, ONE.ciphertext);
  return bytes;
}

function encodeUserMessages(sequence: number, message: OutgoingMessages): Uint8Array<ArrayBuffer> {
  if (message.devices.length > NAMED_MAX) throw new TypeError(`at most ${NAMED_MAX} devices can be named`);
  const head = new Uint8Array(ALL.devices);
  head.set(userIdToBytes(message.userId));
  head.set(requireId("message ID", message.messageId), ALL.messageId);
  head[ALL.flags] = flagsOf(message);
  writeUint32(head, ALL.ttl, message.ttlSeconds);
  writeUint16(head, ALL.count, message.devices.length);
  const parts = message.devices.flatMap(({ deviceId, registrationId, ciphertext }) => {
    const device = new Uint8Array(ALL.deviceBytes);
    writeUint32(device, 0, deviceId);
    writeUint32(device, 4, registrationId);
    writeUint32(device, 8, ciphertext.length);
    return [device, ciphertext];
  });
  return encodeEnvelope(VERSION, sequence, TYPE.userMessages, head, ...parts);
}

/** Makes the envelope for what a client sends. See `Codec`. */
export function encodeClientMessage(message: ClientMessage, sequence: number): Uint8Array<ArrayBuffer> {
  const envelope = (type: number, fields: Readonly<Record<string, unknown>>) =>
    encodeEnvelope(VERSION, sequence, type, encodeFields(fields));
  switch (message.type) {
    case "ack":
      return allocateEnvelope(VERSION, sequence, TYPE.ack, 0);
    case "error":
      return envelope(TYPE.error, { Code: message.code, Description: cutDescription(message.description) });
    case "register": {
      const replace = message.keys.replace ? { Replace: true } : {};
      return envelope(TYPE.register, { ...fromDeviceKeys(message.keys), ...replace });
    }
    case "unregister":
      if (message.deviceId === undefined) return allocateEnvelope(VERSION, sequence, TYPE.unregister, 0);
      return envelope(TYPE.unregister, { DeviceID: message.deviceId });
    case "request_prekeys": {
      const { userId, knownDeviceIds, claimId } = message.request;
      const claim = claimId === undefined ? {} : { ClaimID: requireId("ClaimID", claimId) };
      return envelope(TYPE.requestPreKeys, { UserID: userId, KnownDeviceIDs: knownDeviceIds, ...claim });
    }
    case "user_message":
      return encodeUserMessage(sequence, message.message);
    case "user_messages":
      return encodeUserMessages(sequence, message.messages);
    case "request_devices":
      return envelope(TYPE.requestDevices, { UserID: message.userId });
  }
}
