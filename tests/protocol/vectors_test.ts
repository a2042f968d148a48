/**
 * Runs the test vectors of version 1 in both directions: bytes to message, and message to bytes.
 *
 * The vectors were made without this codec, so this is where it meets the specification.
 * @module
 */
import assert from "node:assert/strict";
import * as v from "valibot";
import { type ClientMessage, type ServerMessage, v1 } from "../../lib/protocol/mod.ts";
import clientBadJson from "../vectors/v1_client_bad.json" with { type: "json" };
import clientGoodJson from "../vectors/v1_client_good.json" with { type: "json" };
import framesJson from "../vectors/v1_frames.json" with { type: "json" };
import serverBadJson from "../vectors/v1_server_bad.json" with { type: "json" };
import serverGoodJson from "../vectors/v1_server_good.json" with { type: "json" };
import {
  badVectors,
  bytes,
  frameVectors,
  goodVectors,
  testBad,
  testFrames,
  testGood,
  typesOf,
  uint32,
} from "./vectors.ts";

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

const clientGood = v.parse(goodVectors(vectorMessage), clientGoodJson);
const clientBad = v.parse(badVectors, clientBadJson);
const serverGood = v.parse(goodVectors(vectorMessage), serverGoodJson);
const serverBad = v.parse(badVectors, serverBadJson);
const frames = v.parse(frameVectors(vectorMessage), framesJson);

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
      return {
        type: "request_prekeys",
        request: { userId: message.UserID, knownDeviceIds: message.KnownDeviceIDs },
      };
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

const fromClient = { codec: v1, sender: "client", toMessage: clientMessage } as const;
const fromServer = { codec: v1, sender: "server", toMessage: serverMessage } as const;

testGood(fromClient, clientGood);
testBad(fromClient, clientBad);
testGood(fromServer, serverGood);
testBad(fromServer, serverBad);
testFrames(fromClient, frames);

Deno.test("the vectors hold every message of version 1, good and bad", () => {
  assert.deepEqual(typesOf(clientGood), [1, 2, 3, 4, 5, 8]);
  assert.deepEqual(typesOf(serverGood), [1, 2, 6, 7, 8]);
  for (const type of [1, 2, 3, 4, 5, 8]) assert.ok(typesOf(clientBad).includes(type));
  for (const type of [1, 2, 6, 7, 8]) assert.ok(typesOf(serverBad).includes(type));
});
