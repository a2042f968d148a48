/**
 * The messages of version 2 as the vectors write them, and what they are to the codec.
 * @module
 */
import * as v from "valibot";
import type { ClientMessage, ServerMessage, UserDevice } from "../../lib/protocol/mod.ts";
import { bytes, uint32 } from "./vectors.ts";

const uint53 = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const device = v.strictObject({ DeviceID: uint32, RegistrationID: uint32, IdentityKey: bytes });
const send = { UserID: v.string(), MessageID: bytes, Flags: uint32, TTL: uint32 };

/** What a client sends: the names of the specification, byte strings as hex. */
export const vectorFromClient = v.variant("type", [
  v.strictObject({ type: v.literal("Ack") }),
  v.strictObject({ type: v.literal("Error"), Code: uint32, Description: v.string() }),
  v.strictObject({
    type: v.literal("Register"),
    RegistrationID: uint32,
    IdentityKey: bytes,
    SignedPreKey: bytes,
    PreKeys: v.array(bytes),
    Replace: v.boolean(),
  }),
  v.strictObject({ type: v.literal("Unregister"), DeviceID: v.nullable(uint32) }),
  v.strictObject({
    type: v.literal("RequestPreKeys"),
    UserID: v.string(),
    KnownDeviceIDs: v.array(uint32),
    ClaimID: v.nullable(bytes),
  }),
  v.strictObject({ type: v.literal("UserMessage"), ...send, DeviceID: uint32, Ciphertext: bytes }),
  v.strictObject({
    type: v.literal("UserMessages"),
    ...send,
    Devices: v.array(v.strictObject({ DeviceID: uint32, RegistrationID: uint32, Ciphertext: bytes })),
  }),
  v.strictObject({ type: v.literal("RequestDevices"), UserID: v.string() }),
]);

/** What a server sends. */
export const vectorFromServer = v.variant("type", [
  v.strictObject({
    type: v.literal("Ack"),
    Stored: v.optional(uint32),
    Skipped: v.optional(uint32),
    Time: v.optional(uint53),
    Full: v.optional(v.array(uint32)),
  }),
  v.strictObject({
    type: v.literal("Error"),
    Code: uint32,
    Name: v.string(),
    Description: v.string(),
    RetryAfter: v.nullable(uint53),
    Missing: v.optional(v.array(device)),
    Stale: v.optional(v.array(device)),
    Extra: v.optional(v.array(uint32)),
  }),
  v.strictObject({
    type: v.literal("PreKey"),
    UserID: v.string(),
    ...device.entries,
    SignedPreKey: bytes,
    PreKey: v.nullable(bytes),
    More: uint32,
  }),
  v.strictObject({ type: v.literal("PreKeysLow"), Count: uint32 }),
  v.strictObject({
    type: v.literal("UserMessage"),
    UserID: v.string(),
    DeviceID: uint32,
    MessageID: bytes,
    Timestamp: uint53,
    Ciphertext: bytes,
  }),
  v.strictObject({
    type: v.literal("Hello"),
    Server: v.string(),
    Time: uint53,
    MessageBytesMax: uint32,
    EnvelopesBytesMax: uint32,
    Window: uint32,
    InFlightMax: uint32,
    PreKeysMax: uint32,
    DevicesMax: uint32,
    RetentionSeconds: uint32,
    RegistrationID: v.nullable(uint32),
    PreKeysStored: uint32,
  }),
  v.strictObject({ type: v.literal("QueueEmpty"), Lost: uint53 }),
  v.strictObject({ type: v.literal("Devices"), UserID: v.string(), Devices: v.array(device) }),
]);

type FromClient = v.InferOutput<typeof vectorFromClient>;
type FromServer = v.InferOutput<typeof vectorFromServer>;

const toDevice = (fields: v.InferOutput<typeof device>): UserDevice => ({
  deviceId: fields.DeviceID,
  registrationId: fields.RegistrationID,
  identityKey: fields.IdentityKey,
});

const toSend = ({ MessageID, Flags, TTL }: { MessageID: Uint8Array; Flags: number; TTL: number }) => ({
  messageId: MessageID,
  transient: (Flags & 1) !== 0,
  retry: (Flags & 4) !== 0,
  ttlSeconds: TTL,
});

/** A client's message as the codec has it. */
export function clientMessage(message: FromClient): ClientMessage {
  switch (message.type) {
    case "Ack":
      return { type: "ack" };
    case "Error":
      return { type: "error", code: message.Code, description: message.Description };
    case "Register": {
      const { RegistrationID: registrationId, IdentityKey: identityKey, SignedPreKey: signedPreKey } =
        message;
      const pool = { preKeys: message.PreKeys, replace: message.Replace };
      return { type: "register", keys: { registrationId, identityKey, signedPreKey, ...pool } };
    }
    case "Unregister":
      return { type: "unregister", ...(message.DeviceID === null ? {} : { deviceId: message.DeviceID }) };
    case "RequestPreKeys": {
      const request = { userId: message.UserID, knownDeviceIds: message.KnownDeviceIDs };
      const claim = message.ClaimID === null ? {} : { claimId: message.ClaimID };
      return { type: "request_prekeys", request: { ...request, ...claim } };
    }
    case "UserMessage": {
      const to = { userId: message.UserID, deviceId: message.DeviceID };
      return { type: "user_message", message: { to, ...toSend(message), ciphertext: message.Ciphertext } };
    }
    case "UserMessages": {
      const devices = message.Devices.map((fields) => ({
        deviceId: fields.DeviceID,
        registrationId: fields.RegistrationID,
        ciphertext: fields.Ciphertext,
      }));
      const listedOnly = (message.Flags & 8) !== 0;
      const messages = { userId: message.UserID, ...toSend(message), listedOnly, devices };
      return { type: "user_messages", messages };
    }
    case "RequestDevices":
      return { type: "request_devices", userId: message.UserID };
  }
}

function serverAck({ Stored, Skipped, Time, Full }: Extract<FromServer, { type: "Ack" }>): ServerMessage {
  if (Stored !== undefined && Skipped !== undefined) {
    return { type: "ack", registered: { stored: Stored, skipped: Skipped } };
  }
  if (Time !== undefined && Full !== undefined) {
    return { type: "ack", accepted: { at: Time, fullDeviceIds: Full } };
  }
  return { type: "ack" };
}

function serverError(message: Extract<FromServer, { type: "Error" }>): ServerMessage {
  const { Code: code, Description: description, RetryAfter, Missing, Stale, Extra } = message;
  const later = RetryAfter === null ? {} : { retryAfterMs: RetryAfter };
  if (Missing === undefined || Stale === undefined || Extra === undefined) {
    return { type: "error", code, description, ...later };
  }
  const mismatch = { missing: Missing.map(toDevice), stale: Stale.map(toDevice), extra: Extra };
  return { type: "error", code, description, ...later, mismatch };
}

/** A server's message as the codec has it. */
export function serverMessage(message: FromServer): ServerMessage {
  switch (message.type) {
    case "Ack":
      return serverAck(message);
    case "Error":
      return serverError(message);
    case "PreKey": {
      const { UserID: userId, SignedPreKey: signedPreKey, PreKey: preKey } = message;
      const bundle = { userId, ...toDevice(message), signedPreKey, preKey };
      return { type: "prekey", bundle, more: message.More };
    }
    case "PreKeysLow":
      return { type: "prekeys_low", wanted: message.Count };
    case "UserMessage": {
      const from = { userId: message.UserID, deviceId: message.DeviceID };
      const { MessageID: messageId, Timestamp: timestamp, Ciphertext: ciphertext } = message;
      return { type: "user_message", message: { from, messageId, timestamp, ciphertext } };
    }
    case "Hello": {
      const { MessageBytesMax: messageBytesMax, EnvelopesBytesMax: envelopesBytesMax } = message;
      const hello = {
        server: message.Server,
        time: message.Time,
        messageBytesMax,
        envelopesBytesMax,
        window: message.Window,
        inFlightMax: message.InFlightMax,
        preKeysMax: message.PreKeysMax,
        devicesMax: message.DevicesMax,
        retentionSeconds: message.RetentionSeconds,
        registrationId: message.RegistrationID,
        preKeysStored: message.PreKeysStored,
      };
      return { type: "hello", hello };
    }
    case "QueueEmpty":
      return { type: "queue_empty", lost: message.Lost };
    case "Devices":
      return { type: "devices", userId: message.UserID, devices: message.Devices.map(toDevice) };
  }
}
