/**
 * Tests of the codec of version 2: reading is total, reading and writing are inverse, and hostile bytes are cheap.
 * @module
 */
import assert from "node:assert/strict";
import fc from "../support/fast_check.ts";
import { RequestError } from "../../lib/errors.ts";
import {
  type ClientMessage,
  decodeEnvelope,
  type OutgoingMessages,
  type ServerMessage,
  SUBPROTOCOLS,
  TYPE,
  v2,
} from "../../lib/protocol/mod.ts";
import { assertRefusedCheaply, assertRoundTrip, assertTotal, type Direction } from "./properties.ts";
import { clientMessage, serverMessage } from "./v2_arbitraries.ts";

const MIB = 1024 * 1024;
const ALICE = "3f0c7e0a-91d4-4b6e-8a57-2d1c9e6f7b10";
const hex = (text: string) => Uint8Array.fromHex(text);

const fromClient: Direction<ClientMessage> = {
  version: 2,
  message: clientMessage,
  encode: (message) => v2.encodeClientMessage(message, 1),
  decode: v2.decodeClientMessage,
};

const fromServer: Direction<ServerMessage> = {
  version: 2,
  message: serverMessage,
  encode: (message) => {
    const bytes = v2.encodeServerMessage(message, 1);
    assert.ok(bytes !== null);
    return bytes;
  },
  decode: v2.decodeServerMessage,
};

Deno.test("decodeClientMessage() reads what encodeClientMessage() wrote", () => assertRoundTrip(fromClient));
Deno.test("decodeServerMessage() reads what encodeServerMessage() wrote", () => assertRoundTrip(fromServer));
Deno.test("decodeClientMessage() reads any payload or throws what it may", () => assertTotal(fromClient));
Deno.test("decodeServerMessage() reads any payload or throws what it may", () => assertTotal(fromServer));

Deno.test("the codec throws unknown_type for every type that its peer does not send", () => {
  const unknown = (thrown: unknown) => thrown instanceof RequestError && thrown.error === "unknown_type";
  const empty = new Uint8Array(0);
  for (let type = 0; type < 256; type++) {
    if (![1, 2, 3, 4, 5, 8, 10, 12].includes(type)) {
      assert.throws(() => v2.decodeClientMessage(type, empty), unknown, `${type}`);
    }
    if (![1, 2, 6, 7, 8, 9, 11, 13].includes(type)) {
      assert.throws(() => v2.decodeServerMessage(type, empty), unknown, `${type}`);
    }
  }
});

Deno.test("decodeClientMessage() reads every flag by itself, and no other bit", () => {
  const head = ALICE.replaceAll("-", "") + "00000001" + "11".repeat(16);
  for (let bit = 0; bit < 8; bit++) {
    const payload = hex(head + (1 << bit).toString(16).padStart(2, "0") + "00000000");
    const read = () => v2.decodeClientMessage(TYPE.userMessage, payload);
    if (bit !== 0 && bit !== 2) {
      assert.throws(read, { error: "unmarshal" }, `bit ${bit}`);
      continue;
    }
    const message = read();
    assert.ok(message.type === "user_message");
    assert.deepEqual([message.message.transient, message.message.retry], [bit === 0, bit === 2]);
  }
});

Deno.test("decodeClientMessage() names the device that is named twice, and the one that is cut", () => {
  const head = ALICE.replaceAll("-", "") + "11".repeat(16) + "00" + "00000000";
  const decode = (rest: string) => () => v2.decodeClientMessage(TYPE.userMessages, hex(head + rest));
  const device = "0000002a" + "00000001" + "00000000";
  assert.throws(decode("0002" + device + device), { description: "device 42 is named twice" });
  assert.throws(decode("0001" + "0000002a" + "00000001" + "00000001"), { description: /device 42 / });
});

Deno.test("both sides cut a description at 512 bytes, and never inside a character", () => {
  for (const [character, count] of [["a", 512], ["é", 256], ["€", 170], ["🔑", 128]] as const) {
    const message = { type: "error", code: 3, description: character.repeat(600) } as const;
    const expected = { ...message, description: character.repeat(count) };
    for (const { encode, decode } of [fromServer, fromClient]) {
      const { type, payload } = decodeEnvelope(encode(message), 0, 2);
      assert.deepEqual(decode(type, payload), expected);
    }
  }
});

Deno.test("both sides make descriptions well-formed, without byte order marks ahead", () => {
  const tail = "x".repeat(300); // long strings are decoded by other means
  const pairs = [["\ufeff\ufeffa", "a"], ["a\ufeff", "a\ufeff"], ["\ud800a", "\ufffda"], [
    "\ufeff" + tail,
    tail,
  ]];
  for (const [written = "", read] of pairs) {
    const message = { type: "error", code: 3, description: written } as const;
    for (const { encode, decode } of [fromServer, fromClient]) {
      const { type, payload } = decodeEnvelope(encode(message), 0, 2);
      assert.deepEqual(decode(type, payload), { ...message, description: read });
    }
  }
  for (const raw of ["a6efbbbfefbbbf", "a3eda080", "a161"]) {
    const payload = hex("82a4436f646503ab4465736372697074696f6e" + raw);
    const read = { "a6efbbbfefbbbf": "", "a3eda080": "\ufffd" }[raw] ?? "a";
    const expected = { type: "error", code: 3, description: read };
    assert.deepEqual(v2.decodeServerMessage(TYPE.error, payload), expected);
    assert.deepEqual(v2.decodeClientMessage(TYPE.error, payload), expected);
  }
});

Deno.test("decodeServerMessage() makes the name of a server well-formed, too", () => {
  const hello = fc.sample(serverMessage, 200).find(({ type }) => type === "hello");
  assert.ok(hello?.type === "hello");
  const named = (server: string): ServerMessage => ({ type: "hello", hello: { ...hello.hello, server } });
  const { type, payload } = decodeEnvelope(fromServer.encode(named("\ufeffa\udc00")), 0, 2);
  assert.deepEqual(v2.decodeServerMessage(type, payload), named("a\ufffd"));
});

Deno.test("decodeServerMessage() reads the float -0 as 0", () => {
  const payload = hex("81a44c6f7374cb8000000000000000");
  assert.deepEqual(v2.decodeServerMessage(TYPE.queueEmpty, payload), { type: "queue_empty", lost: 0 });
});

Deno.test("encodeClientMessage() throws for what it can't say", () => {
  const ids = { messageId: new Uint8Array(15), transient: false, retry: false, ttlSeconds: 0 };
  const to = { userId: ALICE, deviceId: 1 };
  const ciphertext = hex("cafe");
  const messages: OutgoingMessages = { ...ids, userId: ALICE, listedOnly: false, devices: [] };
  const device = { deviceId: 1, registrationId: 1, ciphertext };
  const many = { ...messages, messageId: new Uint8Array(16), devices: Array(4_097).fill(device) };
  const { messageId: _, ...noId } = ids;
  const unsayable: ClientMessage[] = [
    { type: "user_message", message: { ...ids, to, ciphertext } },
    { type: "user_message", message: { ...noId, to, ciphertext } },
    { type: "user_messages", messages },
    { type: "user_messages", messages: many },
    { type: "request_prekeys", request: { userId: ALICE, knownDeviceIds: [], claimId: new Uint8Array(17) } },
  ];
  for (const message of unsayable) assert.throws(() => v2.encodeClientMessage(message, 1), TypeError);
});

Deno.test("SUBPROTOCOLS names the codec of version 2", () => {
  assert.equal(SUBPROTOCOLS.get("messaging.v2"), v2);
});

Deno.test("decodeClientMessage() refuses 1 MiB in less than 50 ms, without the memory that it claims", () => {
  const fill = (head: string, unit: string) =>
    hex(head + unit.repeat((MIB - head.length / 2) / (unit.length / 2)));
  const head = ALICE.replaceAll("-", "") + "11".repeat(16) + "00" + "00000000";
  const distinct = fill(head + "ffff", "00");
  const view = new DataView(distinct.buffer);
  for (let i = 0; 39 + i * 12 + 12 <= MIB; i++) view.setUint32(39 + i * 12, i);
  const hostile: readonly [string, number, Uint8Array][] = [
    ["65,535 devices", TYPE.userMessages, distinct],
    [
      "4,096 devices and a megabyte",
      TYPE.userMessages,
      Uint8Array.from(distinct).fill(0x10, 37, 38).fill(0, 38, 39),
    ],
    ["one device 65,535 times", TYPE.userMessages, fill(head + "ffff", "00")],
    ["a length of 4 GiB", TYPE.userMessages, fill(head + "0001" + "0000000100000001ffffffff", "00")],
    ["a map of half a million", TYPE.unregister, fill("df0007fffd", "a0c0")],
    ["arrays in arrays", TYPE.requestDevices, fill("", "91")],
    ["a ClaimID of 1 MiB", TYPE.requestPreKeys, fill("81a7436c61696d4944c6000ffff2", "00")],
  ];
  for (const [name, type, payload] of hostile) {
    assertRefusedCheaply(name, () => v2.decodeClientMessage(type, payload));
  }
});
