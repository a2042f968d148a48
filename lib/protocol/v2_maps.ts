/**
 * Version 2, the maps of a server that version 1 has not: Error, Hello, QueueEmpty, Devices (protocol §4).
 * @module
 */
import * as v from "valibot";
import type { UserDevice } from "../domain.ts";
import { errorNameOf } from "../errors.ts";
import {
  cleanText,
  decodeFields,
  encodeFields,
  optionalText,
  optionalUint32,
  optionalUint53,
  requiredBytes,
  text,
  uint32,
  uint32Array,
  uint53,
} from "./messagepack.ts";
import type { Hello, ServerMessage } from "./messages.ts";
import { cutDescription, requireUserId } from "./payloads.ts";

type Message<T extends ServerMessage["type"]> = Extract<ServerMessage, { type: T }>;

const deviceFields = v.object({ DeviceID: uint32, RegistrationID: uint32, IdentityKey: requiredBytes });
const deviceArray = v.pipe(
  v.optional(v.nullable(v.array(deviceFields, "must be an array")), null),
  v.transform((value) => value ?? []),
);

const errorFields = v.object({
  Code: uint32,
  Name: optionalText,
  Description: optionalText,
  RetryAfter: optionalUint53,
  Missing: deviceArray,
  Stale: deviceArray,
  Extra: uint32Array,
});

const helloFields = v.object({
  Server: text,
  Time: uint53,
  MessageBytesMax: uint32,
  EnvelopesBytesMax: uint32,
  Window: uint32,
  InFlightMax: uint32,
  PreKeysMax: uint32,
  DevicesMax: uint32,
  RetentionSeconds: uint32,
  RegistrationID: optionalUint32,
  PreKeysStored: uint32,
});

const queueEmptyFields = v.object({ Lost: uint53 });
const devicesFields = v.object({ UserID: text, Devices: deviceArray });

type DeviceFields = v.InferOutput<typeof deviceFields>;

const fromDevice = ({ deviceId, registrationId, identityKey }: UserDevice): DeviceFields => ({
  DeviceID: deviceId,
  RegistrationID: registrationId,
  IdentityKey: identityKey,
});

const toDevice = ({ DeviceID, RegistrationID, IdentityKey }: DeviceFields): UserDevice => ({
  deviceId: DeviceID,
  registrationId: RegistrationID,
  identityKey: IdentityKey,
});

/** Makes the payload of an Error. */
export function encodeError({ code, description, retryAfterMs, mismatch }: Message<"error">): Uint8Array {
  return encodeFields({
    Code: code,
    Name: errorNameOf(code) ?? "unknown",
    Description: cutDescription(description),
    ...(retryAfterMs === undefined ? {} : { RetryAfter: retryAfterMs }),
    ...(mismatch === undefined ? {} : {
      Missing: mismatch.missing.map(fromDevice),
      Stale: mismatch.stale.map(fromDevice),
      Extra: mismatch.extra,
    }),
  });
}

/** Reads the payload of an Error. The code says it all: the name is for people. */
export function decodeError(payload: Uint8Array): Message<"error"> {
  const fields = decodeFields(errorFields, payload);
  const mismatch = {
    missing: fields.Missing.map(toDevice),
    stale: fields.Stale.map(toDevice),
    extra: fields.Extra,
  };
  return {
    type: "error",
    code: fields.Code,
    description: cleanText(fields.Description ?? ""),
    ...(fields.RetryAfter === null ? {} : { retryAfterMs: fields.RetryAfter }),
    ...(errorNameOf(fields.Code) === "device_mismatch" ? { mismatch } : {}),
  };
}

/** Makes the payload of a Hello. */
export function encodeHello(hello: Hello): Uint8Array {
  return encodeFields({
    Server: hello.server,
    Time: hello.time,
    MessageBytesMax: hello.messageBytesMax,
    EnvelopesBytesMax: hello.envelopesBytesMax,
    Window: hello.window,
    InFlightMax: hello.inFlightMax,
    PreKeysMax: hello.preKeysMax,
    DevicesMax: hello.devicesMax,
    RetentionSeconds: hello.retentionSeconds,
    ...(hello.registrationId === null ? {} : { RegistrationID: hello.registrationId }),
    PreKeysStored: hello.preKeysStored,
  });
}

/** Reads the payload of a Hello. */
export function decodeHello(payload: Uint8Array): Message<"hello"> {
  const fields = decodeFields(helloFields, payload);
  const hello = {
    server: cleanText(fields.Server),
    time: fields.Time,
    messageBytesMax: fields.MessageBytesMax,
    envelopesBytesMax: fields.EnvelopesBytesMax,
    window: fields.Window,
    inFlightMax: fields.InFlightMax,
    preKeysMax: fields.PreKeysMax,
    devicesMax: fields.DevicesMax,
    retentionSeconds: fields.RetentionSeconds,
    registrationId: fields.RegistrationID,
    preKeysStored: fields.PreKeysStored,
  };
  return { type: "hello", hello };
}

/** Makes the payload of a QueueEmpty. */
export function encodeQueueEmpty(lost: number): Uint8Array {
  return encodeFields({ Lost: lost });
}

/** Reads the payload of a QueueEmpty. */
export function decodeQueueEmpty(payload: Uint8Array): Message<"queue_empty"> {
  return { type: "queue_empty", lost: decodeFields(queueEmptyFields, payload).Lost };
}

/** Makes the payload of a Devices. */
export function encodeDevices(userId: string, devices: readonly UserDevice[]): Uint8Array {
  return encodeFields({ UserID: userId, Devices: devices.map(fromDevice) });
}

/** Reads the payload of a Devices. */
export function decodeDevices(payload: Uint8Array): Message<"devices"> {
  const fields = decodeFields(devicesFields, payload);
  return { type: "devices", userId: requireUserId(fields.UserID), devices: fields.Devices.map(toDevice) };
}
