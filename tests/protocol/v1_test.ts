/**
 * Tests of the codec of version 1: reading is total, reading and writing are inverse, and hostile bytes are cheap.
 * @module
 */
import assert from "node:assert/strict";
import fc from "../support/fast_check.ts";
import { RequestError } from "../../lib/errors.ts";
import {
  type ClientMessage,
  decodeEnvelope,
  type ServerMessage,
  SUBPROTOCOLS,
  TYPE,
  v1,
} from "../../lib/protocol/mod.ts";
import {
  address,
  assertRefusedCheaply,
  assertRoundTrip,
  assertTotal,
  ciphertext,
  type Direction,
  key,
  record,
  uint32,
  userId,
} from "./properties.ts";

const MIB = 1024 * 1024;
const ALICE = "3f0c7e0a-91d4-4b6e-8a57-2d1c9e6f7b10";
const hex = (text: string) => Uint8Array.fromHex(text);

const error = record({
  type: fc.constant("error" as const),
  code: fc.integer({ min: 0, max: 255 }),
  description: fc.string({ unit: "binary", maxLength: 40 }),
});

const clientMessage: fc.Arbitrary<ClientMessage> = fc.oneof(
  fc.constantFrom<ClientMessage>({ type: "ack" }, { type: "unregister" }),
  error,
  record({
    type: fc.constant("register" as const),
    keys: record({
      registrationId: uint32,
      identityKey: key,
      signedPreKey: key,
      preKeys: fc.array(key, { maxLength: 20 }),
      replace: fc.constant(false),
    }),
  }),
  record({
    type: fc.constant("request_prekeys" as const),
    request: record({ userId, knownDeviceIds: fc.array(uint32, { maxLength: 20 }) }),
  }),
  record({
    type: fc.constant("user_message" as const),
    message: record({
      to: address,
      transient: fc.constant(false),
      retry: fc.constant(false),
      ttlSeconds: fc.constant(0),
      ciphertext,
    }),
  }),
);

const serverMessage: fc.Arbitrary<ServerMessage> = fc.oneof(
  fc.constant<ServerMessage>({ type: "ack" }),
  error,
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
  record({ type: fc.constant("prekeys_low" as const), wanted: fc.integer({ min: 0, max: 0xffff }) }),
  record({
    type: fc.constant("user_message" as const),
    message: record({
      from: address,
      messageId: fc.constant(new Uint8Array(16)),
      timestamp: fc.constant(0),
      ciphertext,
    }),
  }),
);

const fromClient: Direction<ClientMessage> = {
  version: 1,
  message: clientMessage,
  encode: (message) => v1.encodeClientMessage(message, 1),
  decode: v1.decodeClientMessage,
};

const fromServer: Direction<ServerMessage> = {
  version: 1,
  message: serverMessage,
  encode: (message) => {
    const bytes = v1.encodeServerMessage(message, 1);
    assert.ok(bytes !== null);
    return bytes;
  },
  decode: v1.decodeServerMessage,
};

Deno.test("decodeClientMessage() reads what encodeClientMessage() wrote", () => assertRoundTrip(fromClient));
Deno.test("decodeServerMessage() reads what encodeServerMessage() wrote", () => assertRoundTrip(fromServer));
Deno.test("decodeClientMessage() reads any payload or throws what it may", () => assertTotal(fromClient));
Deno.test("decodeServerMessage() reads any payload or throws what it may", () => assertTotal(fromServer));

Deno.test("decodeClientMessage() throws unknown_type for every type that is not a request", () => {
  const unknown = (thrown: unknown) => thrown instanceof RequestError && thrown.error === "unknown_type";
  for (let type = 0; type < 256; type++) {
    if ([1, 2, 3, 4, 5, 8].includes(type)) continue;
    assert.throws(() => v1.decodeClientMessage(type, new Uint8Array(0)), unknown, `${type}`);
  }
});

Deno.test("decodeClientMessage() describes a broken user ID in the words that old clients compare", () => {
  const invalid = (thrown: unknown) =>
    thrown instanceof RequestError && thrown.description === "invalid userID";
  assert.throws(() => v1.decodeClientMessage(TYPE.userMessage, new Uint8Array(20)), invalid);
});

Deno.test("encodeServerMessage() cuts a description at 512 bytes, and never inside a character", () => {
  for (const [character, count] of [["a", 512], ["é", 256], ["€", 170], ["🔑", 128]] as const) {
    const message = { type: "error", code: 3, description: character.repeat(600) } as const;
    const expected = { ...message, description: character.repeat(count) };
    const { type, payload } = decodeEnvelope(fromServer.encode(message), 0, 1);
    assert.deepEqual(v1.decodeServerMessage(type, payload), expected);
  }
});

Deno.test("encodeServerMessage() leaves out what version 1 does not carry", () => {
  const from = { userId: ALICE, deviceId: 7 };
  const stored = {
    from,
    messageId: hex("11".repeat(16)),
    timestamp: 1_700_000_000_000,
    ciphertext: hex("cafe"),
  };
  assert.equal(
    v1.encodeServerMessage({ type: "user_message", message: stored }, 0x8000_0001)?.toHex(),
    "01" + "80000001" + "08" + "00000016" + ALICE.replaceAll("-", "") + "00000007" + "cafe",
  );
  const limited = { type: "error", code: 105, description: "later", retryAfterMs: 5 } as const;
  assert.equal(
    v1.encodeServerMessage(limited, 9)?.toHex(),
    "01" + "00000009" + "02" + "00000006" + "696c61746572",
  );
});

Deno.test("SUBPROTOCOLS names the codec of version 1", () => {
  assert.equal(SUBPROTOCOLS.get("messaging.v1"), v1);
});

Deno.test("decodeClientMessage() refuses 1 MiB in less than 50 ms, without the memory that it claims", () => {
  const fill = (head: string, unit: string) =>
    hex(head + unit.repeat((MIB - head.length / 2) / (unit.length / 2)));
  const register =
    "84ae526567697374726174696f6e494401ac5369676e65645072654b6579c40101ab4964656e746974794b6579c40101";
  const hostile: Readonly<Record<string, Uint8Array>> = {
    "arrays in arrays": fill("", "91"),
    "maps in maps": fill("", "8100"),
    "arrays of 65,535 in each other": fill("", "dcffff"),
    "one array of a million": fill("dd000ffffb", "c0"),
    "one map of half a million": fill("df0007fffd", "a0c0"),
    "empty arrays one behind the other": fill("", "90"),
    "bytes that are never used": fill("", "c1"),
    "4 GiB of bytes": fill("c6ffffffff", "00"),
    "4 billion maps": fill("dfffffffff", "80"),
    "one string": fill("db000ffffb", "61"),
    "unknown keys, each of 16 KiB": fill("de003f", "00c53ffc" + "00".repeat(0x3ffc)),
    "a million prekeys, all empty": fill(register + "a75072654b657973dd0007ffc0", "c400"),
    "prekeys that claim to be a billion": fill(register + "a75072654b657973dd40000000", "90"),
  };
  for (const [name, payload] of Object.entries(hostile)) {
    assertRefusedCheaply(name, () => v1.decodeClientMessage(TYPE.register, payload));
  }
});
