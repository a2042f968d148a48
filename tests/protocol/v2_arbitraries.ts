/**
 * Any message of version 2, for the properties of its codec.
 * @module
 */
import fc from "../support/fast_check.ts";
import { ERRORS } from "../../lib/errors.ts";
import type { ClientMessage, ServerMessage } from "../../lib/protocol/mod.ts";
import { address, ciphertext, key, record, uint32, userId } from "./properties.ts";

const id = fc.uint8Array({ minLength: 16, maxLength: 16 });
const uint53 = fc.oneof(fc.maxSafeNat(), fc.constantFrom(0, 2 ** 32, Number.MAX_SAFE_INTEGER));
const code = fc.oneof(uint32, fc.constantFrom(...Object.values(ERRORS).map(({ code }) => code)));
// A byte order mark ahead is dropped.
const description = fc.string({ unit: "binary", maxLength: 40 }).filter((text) => !text.startsWith("\ufeff"));
const device = record({ deviceId: uint32, registrationId: uint32, identityKey: key });
const devices = fc.array(device, { maxLength: 5 });
const outgoing = { messageId: id, transient: fc.boolean(), retry: fc.boolean(), ttlSeconds: uint32 };

/** What a client may send. */
export const clientMessage: fc.Arbitrary<ClientMessage> = fc.oneof(
  fc.constantFrom<ClientMessage>({ type: "ack" }, { type: "unregister" }),
  record({ type: fc.constant("unregister" as const), deviceId: uint32 }),
  record({ type: fc.constant("error" as const), code, description }),
  record({
    type: fc.constant("register" as const),
    keys: record({
      registrationId: uint32,
      identityKey: key,
      signedPreKey: key,
      preKeys: fc.array(key, { maxLength: 20 }),
      replace: fc.boolean(),
    }),
  }),
  record({
    type: fc.constant("request_prekeys" as const),
    request: fc.record({ userId, knownDeviceIds: fc.array(uint32, { maxLength: 20 }), claimId: id }, {
      requiredKeys: ["userId", "knownDeviceIds"],
      noNullPrototype: true,
    }),
  }),
  record({
    type: fc.constant("user_message" as const),
    message: record({ to: address, ...outgoing, ciphertext }),
  }),
  record({
    type: fc.constant("user_messages" as const),
    messages: record({
      userId,
      ...outgoing,
      listedOnly: fc.boolean(),
      devices: fc.uniqueArray(record({ deviceId: uint32, registrationId: uint32, ciphertext }), {
        selector: ({ deviceId }) => deviceId,
        maxLength: 5,
      }),
    }),
  }),
  record({ type: fc.constant("request_devices" as const), userId }),
);

const error = fc.record({
  type: fc.constant("error" as const),
  code: code.filter((code) => code !== 107),
  description,
  retryAfterMs: uint53,
}, { requiredKeys: ["type", "code", "description"], noNullPrototype: true });

const hello = record({
  server: description,
  time: uint53,
  messageBytesMax: uint32,
  envelopesBytesMax: uint32,
  window: uint32,
  inFlightMax: uint32,
  preKeysMax: uint32,
  devicesMax: uint32,
  retentionSeconds: uint32,
  registrationId: fc.option(uint32),
  preKeysStored: uint32,
});

const uint16 = fc.nat(0xffff);
/** What a server may send. */
export const serverMessage: fc.Arbitrary<ServerMessage> = fc.oneof(
  fc.constant<ServerMessage>({ type: "ack" }),
  record({ type: fc.constant("ack" as const), registered: record({ stored: uint16, skipped: uint16 }) }),
  record({
    type: fc.constant("ack" as const),
    accepted: record({ at: uint53, fullDeviceIds: fc.array(uint32, { maxLength: 5 }) }),
  }),
  error,
  record({
    type: fc.constant("error" as const),
    code: fc.constant(107),
    description,
    mismatch: record({ missing: devices, stale: devices, extra: fc.array(uint32, { maxLength: 5 }) }),
  }),
  record({
    type: fc.constant("prekey" as const),
    bundle: record({
      userId,
      deviceId: uint32,
      registrationId: uint32,
      identityKey: key,
      signedPreKey: key,
      preKey: fc.option(key),
    }),
    more: uint32,
  }),
  record({ type: fc.constant("prekeys_low" as const), wanted: uint16 }),
  record({
    type: fc.constant("user_message" as const),
    message: record({ from: address, messageId: id, timestamp: uint53, ciphertext }),
  }),
  record({ type: fc.constant("hello" as const), hello }),
  record({ type: fc.constant("queue_empty" as const), lost: uint53 }),
  record({ type: fc.constant("devices" as const), userId, devices }),
);
