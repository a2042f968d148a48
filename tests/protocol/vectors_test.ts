/**
 * Runs the test vectors of version 1 in both directions: bytes to message, and message to bytes.
 *
 * The vectors were made without this codec, so this is where it meets the specification.
 * @module
 */
import assert from "node:assert/strict";
import * as v from "valibot";
import { ERRORS, ProtocolViolation, RequestError } from "../../lib/errors.ts";
import {
  type ClientMessage,
  decodeEnvelope,
  HEADER_BYTES,
  type ServerMessage,
  v1,
} from "../../lib/protocol/mod.ts";
import clientBadJson from "../vectors/v1_client_bad.json" with { type: "json" };
import clientGoodJson from "../vectors/v1_client_good.json" with { type: "json" };
import framesJson from "../vectors/v1_frames.json" with { type: "json" };
import serverBadJson from "../vectors/v1_server_bad.json" with { type: "json" };
import serverGoodJson from "../vectors/v1_server_good.json" with { type: "json" };

const bytes = v.pipe(v.string(), v.regex(/^([0-9a-f]{2})*$/), v.transform((hex) => Uint8Array.fromHex(hex)));
const uint32 = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(0xffff_ffff));

/** The messages as the vectors write them: the names of the specification, byte strings as hex. */
const vectorMessage = v.variant("type", [
  v.strictObject({ type: v.literal("Ack") }),
  v.strictObject({ type: v.literal("Error"), Code: v.number(), Description: v.string() }),
  v.strictObject({
    type: v.literal("Register"),
    RegistrationID: uint32,
    IdentityKey: bytes,
    SignedPreKey: bytes,
    PreKeys: v.array(bytes),
  }),
  v.strictObject({ type: v.literal("Unregister") }),
  v.strictObject({
    type: v.literal("RequestPreKeys"),
    UserID: v.string(),
    KnownDeviceIDs: v.array(uint32),
  }),
  v.strictObject({
    type: v.literal("PreKey"),
    UserID: v.string(),
    DeviceID: uint32,
    RegistrationID: uint32,
    IdentityKey: bytes,
    SignedPreKey: bytes,
    PreKey: v.nullable(bytes),
    More: uint32,
  }),
  v.strictObject({ type: v.literal("PreKeysLow"), Count: uint32 }),
  v.strictObject({ type: v.literal("UserMessage"), UserID: v.string(), DeviceID: uint32, Ciphertext: bytes }),
]);
type VectorMessage = v.InferOutput<typeof vectorMessage>;

const goodVectors = v.array(v.strictObject({
  name: v.string(),
  hex: bytes,
  sequence: uint32,
  message: vectorMessage,
  canonical: v.boolean(),
}));
const badVectors = v.array(v.strictObject({
  name: v.string(),
  hex: bytes,
  sequence: uint32,
  error: v.picklist(["unmarshal", "invalid_user_id", "unknown_type", "too_large"]),
  code: v.number(),
}));
const frameVectors = v.array(v.strictObject({
  name: v.string(),
  hex: bytes,
  envelopes: v.array(v.strictObject({ sequence: uint32, message: vectorMessage })),
  close: v.optional(v.number()),
}));

const clientGood = v.parse(goodVectors, clientGoodJson);
const clientBad = v.parse(badVectors, clientBadJson);
const serverGood = v.parse(goodVectors, serverGoodJson);
const serverBad = v.parse(badVectors, serverBadJson);
const frames = v.parse(frameVectors, framesJson);

/** A vector's message as the codec has it, from a client. */
function clientMessage(message: VectorMessage): ClientMessage {
  switch (message.type) {
    case "Ack":
      return { type: "ack" };
    case "Error":
      return { type: "error", code: message.Code, description: message.Description };
    case "Register":
      return {
        type: "register",
        keys: {
          registrationId: message.RegistrationID,
          identityKey: message.IdentityKey,
          signedPreKey: message.SignedPreKey,
          preKeys: message.PreKeys,
          replace: false,
        },
      };
    case "Unregister":
      return { type: "unregister" };
    case "RequestPreKeys":
      return { type: "request_prekeys", userId: message.UserID, knownDeviceIds: message.KnownDeviceIDs };
    case "UserMessage": {
      const to = { userId: message.UserID, deviceId: message.DeviceID };
      return {
        type: "user_message",
        message: { to, transient: false, retry: false, ttlSeconds: 0, ciphertext: message.Ciphertext },
      };
    }
    default:
      throw new Error(`${message.type} does not come from a client`);
  }
}

/** A vector's message as the codec has it, from a server. */
function serverMessage(message: VectorMessage): ServerMessage {
  switch (message.type) {
    case "Ack":
      return { type: "ack" };
    case "Error":
      return { type: "error", code: message.Code, description: message.Description };
    case "PreKey": {
      const bundle = {
        userId: message.UserID,
        deviceId: message.DeviceID,
        registrationId: message.RegistrationID,
        identityKey: message.IdentityKey,
        signedPreKey: message.SignedPreKey,
        preKey: message.PreKey,
      };
      return { type: "prekey", bundle, more: message.More };
    }
    case "PreKeysLow":
      return { type: "prekeys_low", wanted: message.Count };
    case "UserMessage": {
      const from = { userId: message.UserID, deviceId: message.DeviceID };
      // Version 1 carries no ID and no time.
      const unknown = { messageId: new Uint8Array(16), timestamp: 0 };
      return { type: "user_message", message: { from, ...unknown, ciphertext: message.Ciphertext } };
    }
    default:
      throw new Error(`${message.type} does not come from a server`);
  }
}

/** One vector's whole envelope. */
function onlyEnvelope(hex: Uint8Array) {
  const envelope = decodeEnvelope(hex, 0, 1);
  assert.equal(HEADER_BYTES + envelope.payload.length, hex.length, "the envelope is the whole vector");
  return envelope;
}

for (const { name, hex, sequence, message, canonical } of clientGood) {
  Deno.test(`v1, from a client, takes: ${name}`, () => {
    const expected = clientMessage(message);
    const envelope = onlyEnvelope(hex);
    assert.equal(envelope.sequence, sequence);
    assert.deepEqual(v1.decodeClientMessage(envelope.type, envelope.payload), expected);
    const encoded = v1.encodeClientMessage(expected, sequence);
    assert.equal(encoded.toHex() === hex.toHex(), canonical, `encoded: ${encoded.toHex()}`);
    assert.deepEqual(v1.decodeClientMessage(envelope.type, encoded.subarray(HEADER_BYTES)), expected);
  });
}

for (const { name, hex, sequence, message, canonical } of serverGood) {
  Deno.test(`v1, from a server, takes: ${name}`, () => {
    const expected = serverMessage(message);
    const envelope = onlyEnvelope(hex);
    assert.equal(envelope.sequence, sequence);
    assert.deepEqual(v1.decodeServerMessage(envelope.type, envelope.payload), expected);
    const encoded = v1.encodeServerMessage(expected, sequence);
    assert.ok(encoded !== null);
    assert.equal(encoded.toHex() === hex.toHex(), canonical, `encoded: ${encoded.toHex()}`);
    assert.deepEqual(v1.decodeServerMessage(envelope.type, encoded.subarray(HEADER_BYTES)), expected);
  });
}

for (const [sender, vectors] of [["client", clientBad], ["server", serverBad]] as const) {
  for (const { name, hex, sequence, error, code } of vectors) {
    Deno.test(`v1, from a ${sender}, refuses: ${name}`, () => {
      const envelope = onlyEnvelope(hex);
      assert.equal(envelope.sequence, sequence);
      assert.equal(ERRORS[error].code, code);
      assert.throws(
        () =>
          sender === "client"
            ? v1.decodeClientMessage(envelope.type, envelope.payload)
            : v1.decodeServerMessage(envelope.type, envelope.payload),
        (thrown) => thrown instanceof RequestError && thrown.error === error,
      );
    });
  }
}

for (const { name, hex, envelopes, close } of frames) {
  Deno.test(`decodeEnvelope() reads a WebSocket message: ${name}`, () => {
    let offset = 0;
    for (const { sequence, message } of envelopes) {
      const envelope = decodeEnvelope(hex, offset, 1);
      assert.equal(envelope.sequence, sequence);
      assert.deepEqual(
        v1.decodeClientMessage(envelope.type, envelope.payload),
        clientMessage(message),
      );
      offset += HEADER_BYTES + envelope.payload.length;
    }
    if (close === undefined) {
      assert.equal(offset, hex.length);
    } else {
      assert.throws(
        () => decodeEnvelope(hex, offset, 1),
        (thrown) => thrown instanceof ProtocolViolation && thrown.closeCode === close,
      );
    }
  });
}

Deno.test("the vectors hold every message of version 1, good and bad", () => {
  const types = (vectors: readonly { readonly hex: Uint8Array }[]) =>
    [...new Set(vectors.map(({ hex }) => hex[5]))].sort();
  assert.deepEqual(types(clientGood), [1, 2, 3, 4, 5, 8]);
  assert.deepEqual(types(serverGood), [1, 2, 6, 7, 8]);
  for (const type of [1, 2, 3, 4, 5, 8]) assert.ok(types(clientBad).includes(type));
  for (const type of [1, 2, 6, 7, 8]) assert.ok(types(serverBad).includes(type));
});
