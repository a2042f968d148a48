/**
 * Version 2, what a server sends: layouts, in both directions of the codec (protocol §4). Its maps are in `v2_maps.ts`.
 * @module
 */
import { userIdToBytes } from "../address.ts";
import { readUint16, readUint32, writeUint16, writeUint32, writeUint64 } from "../bytes.ts";
import type { StoredMessage } from "../domain.ts";
import { RequestError } from "../errors.ts";
import { type Allocate, allocateEnvelope, encodeEnvelope, HEADER_BYTES } from "./envelope.ts";
import { type ServerMessage, TYPE } from "./messages.ts";
import {
  decodePreKey,
  decodePreKeysLow,
  encodePreKey,
  encodePreKeysLow,
  timeAt,
  userIdAt,
} from "./payloads.ts";
import {
  decodeDevices,
  decodeError,
  decodeHello,
  decodeQueueEmpty,
  encodeDevices,
  encodeError,
  encodeHello,
  encodeQueueEmpty,
} from "./v2_maps.ts";

const VERSION = 2;

/** UserMessage to a device: user, device, message ID, time. */
const MESSAGE = { device: 16, messageId: 20, timestamp: 36, ciphertext: 44 } as const;

/** Ack of a send: time, then a device ID for each that was left out. Ack of a Register: stored, skipped. */
const ACK = { acceptedBytes: 8, registeredBytes: 4 } as const;

function encodeAck(
  sequence: number,
  message: Extract<ServerMessage, { type: "ack" }>,
  room?: Allocate,
): Uint8Array<ArrayBuffer> {
  const { accepted, registered } = message;
  if (accepted !== undefined) {
    const { at, fullDeviceIds } = accepted;
    const payloadBytes = ACK.acceptedBytes + fullDeviceIds.length * 4;
    const bytes = allocateEnvelope(VERSION, sequence, TYPE.ack, payloadBytes, room);
    writeUint64(bytes, HEADER_BYTES, at);
    fullDeviceIds.forEach((id, i) => writeUint32(bytes, HEADER_BYTES + ACK.acceptedBytes + i * 4, id));
    return bytes;
  }
  const bytes = allocateEnvelope(
    VERSION,
    sequence,
    TYPE.ack,
    registered === undefined ? 0 : ACK.registeredBytes,
  );
  if (registered !== undefined) {
    writeUint16(bytes, HEADER_BYTES, registered.stored);
    writeUint16(bytes, HEADER_BYTES + 2, registered.skipped);
  }
  return bytes;
}

/** What an Ack answers shows in its length: 0 bytes, 4 to a Register, 8 and more to a send. */
function decodeAck(payload: Uint8Array): ServerMessage {
  if (payload.length === 0) return { type: "ack" };
  if (payload.length === ACK.registeredBytes) {
    return { type: "ack", registered: { stored: readUint16(payload, 0), skipped: readUint16(payload, 2) } };
  }
  if (payload.length % 4 !== 0) {
    throw new RequestError("unmarshal", `an Ack can't have ${payload.length} bytes`);
  }
  const fullDeviceIds: number[] = [];
  for (let i = ACK.acceptedBytes; i < payload.length; i += 4) fullDeviceIds.push(readUint32(payload, i));
  return { type: "ack", accepted: { at: timeAt(payload, 0), fullDeviceIds } };
}

function encodeUserMessage(
  sequence: number,
  { from, messageId, timestamp, ciphertext }: Pick<
    StoredMessage,
    "from" | "messageId" | "timestamp" | "ciphertext"
  >,
  room?: Allocate,
): Uint8Array<ArrayBuffer> {
  const payloadBytes = MESSAGE.ciphertext + ciphertext.length;
  const bytes = allocateEnvelope(VERSION, sequence, TYPE.userMessage, payloadBytes, room);
  bytes.set(userIdToBytes(from.userId), HEADER_BYTES);
  writeUint32(bytes, HEADER_BYTES + MESSAGE.device, from.deviceId);
  bytes.set(messageId, HEADER_BYTES + MESSAGE.messageId);
  writeUint64(bytes, HEADER_BYTES + MESSAGE.timestamp, timestamp);
  bytes.set(ciphertext, HEADER_BYTES + MESSAGE.ciphertext);
  return bytes;
}

function decodeUserMessage(payload: Uint8Array): ServerMessage {
  if (payload.length < MESSAGE.ciphertext) {
    throw new RequestError(
      "unmarshal",
      `UserMessage needs ${MESSAGE.ciphertext} bytes before the ciphertext`,
    );
  }
  return {
    type: "user_message",
    message: {
      from: { userId: userIdAt(payload, 0), deviceId: readUint32(payload, MESSAGE.device) },
      messageId: payload.subarray(MESSAGE.messageId, MESSAGE.timestamp),
      timestamp: timeAt(payload, MESSAGE.timestamp),
      ciphertext: payload.subarray(MESSAGE.ciphertext),
    },
  };
}

/** Makes the envelope for what a server sends. See `Codec`. */
export function encodeServerMessage(
  message: ServerMessage,
  sequence: number,
  room?: Allocate,
): Uint8Array<ArrayBuffer> {
  const envelope = (type: number, payload: Uint8Array) => encodeEnvelope(VERSION, sequence, type, payload);
  switch (message.type) {
    case "ack":
      return encodeAck(sequence, message, room);
    case "error":
      return envelope(TYPE.error, encodeError(message));
    case "prekey":
      return envelope(TYPE.preKey, encodePreKey(message.bundle, message.more));
    case "prekeys_low":
      return envelope(TYPE.preKeysLow, encodePreKeysLow(message.wanted));
    case "user_message":
      return encodeUserMessage(sequence, message.message, room);
    case "hello":
      return envelope(TYPE.hello, encodeHello(message.hello));
    case "queue_empty":
      return envelope(TYPE.queueEmpty, encodeQueueEmpty(message.lost));
    case "devices":
      return envelope(TYPE.devices, encodeDevices(message.userId, message.devices));
  }
}

/** Reads what a server sent. See `Codec`. */
export function decodeServerMessage(type: number, payload: Uint8Array): ServerMessage {
  switch (type) {
    case TYPE.ack:
      return decodeAck(payload);
    case TYPE.error:
      return decodeError(payload);
    case TYPE.preKey:
      return decodePreKey(payload);
    case TYPE.preKeysLow:
      return decodePreKeysLow(payload);
    case TYPE.userMessage:
      return decodeUserMessage(payload);
    case TYPE.hello:
      return decodeHello(payload);
    case TYPE.queueEmpty:
      return decodeQueueEmpty(payload);
    case TYPE.devices:
      return decodeDevices(payload);
    default:
      throw new RequestError(
        "unknown_type",
        `message type ${type} is not one of a server of version ${VERSION}`,
      );
  }
}
