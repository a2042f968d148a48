/** What can't be answered: the connection is closed with a code that says why, and nobody else notices. */
import assert from "node:assert/strict";
import { encodeEnvelope, TYPE } from "../../lib/protocol/mod.ts";
import { Device, numbered } from "../support/device.ts";
import type { RawClient } from "../support/raw_client.ts";
import { connectRaw, userMessage } from "../support/raw_messages.ts";
import { startServer } from "../support/server.ts";
import { OPCODE } from "../support/websocket_frames.ts";

const MIB = 1_024 * 1_024;
const ack = encodeEnvelope(1, 0x8000_0001, TYPE.ack);

/** What a client does, and the code with which it is closed. */
const CASES: readonly (readonly [string, number, (client: RawClient) => void])[] = [
  ["a text message", 1003, (client) => client.sendFrame(OPCODE.text, new TextEncoder().encode("{}"))],
  ["an empty text message", 1003, (client) => client.sendFrame(OPCODE.text, new Uint8Array())],
  ["an empty message", 1002, (client) => client.sendBytes(new Uint8Array())],
  ["version byte 0", 1002, (client) => client.sendBytes(encodeEnvelope(1, 1, 4).with(0, 0))],
  ["version byte 2", 1002, (client) => client.sendBytes(encodeEnvelope(1, 1, 4).with(0, 2))],
  ["a cut header", 1002, (client) => client.sendBytes(ack.subarray(0, 9))],
  ["a cut payload", 1002, (client) => client.sendBytes(encodeEnvelope(1, 1, 8, numbered(1)).subarray(0, 13))],
  [
    "a length of 4 GiB",
    1002,
    (client) => client.sendBytes(new Uint8Array([1, 0, 0, 0, 1, 8, 255, 255, 255, 255])),
  ],
  ["a byte after the envelope", 1002, (client) => client.sendBytes(new Uint8Array([...ack, 1]))],
  [
    "another version in the second envelope",
    1002,
    (client) => client.sendBytes(new Uint8Array([...ack, ...ack.with(0, 2)])),
  ],
  ["more than 1 MiB", 1009, (client) => client.sendBytes(new Uint8Array(MIB + 1))],
  ["more than 1 MiB in fragments", 1009, (client) => {
    client.sendFrame(OPCODE.binary, new Uint8Array(MIB / 2), false);
    client.sendFrame(OPCODE.continuation, new Uint8Array(MIB / 2), false);
    client.sendFrame(OPCODE.continuation, new Uint8Array(1));
  }],
];

for (const [what, code, send] of CASES) {
  Deno.test(`${what} is closed with ${code}, and others are not disturbed`, async () => {
    await using server = await startServer();
    await using bob = await Device.join(server);
    await using client = await connectRaw(server);
    send(client);
    const ending = await client.closed;
    assert.equal(ending.code, code);
    assert.ok(ending.reason.length > 0);
    await bob.send(bob.address, 1);
    await bob.untilNumbers([1]);
  });
}

Deno.test("what came before a broken envelope is carried out or not, and nothing after it is", async () => {
  await using server = await startServer();
  await using bob = await Device.join(server);
  await using client = await connectRaw(server);
  client.send(userMessage(bob.address, numbered(1)));
  client.sendBytes(new Uint8Array());
  client.send(userMessage(bob.address, numbered(2)));
  assert.equal((await client.closed).code, 1002);
  await bob.send(bob.address, 3);
  await bob.untilNumbers(bob.numbers.includes(1) ? [1, 3] : [3]);
});

Deno.test("a message of exactly 1 MiB is taken", async () => {
  await using server = await startServer();
  await using client = await connectRaw(server);
  const header = encodeEnvelope(1, 7, TYPE.userMessage).length;
  client.sendBytes(encodeEnvelope(1, 7, TYPE.userMessage, new Uint8Array(MIB - header)));
  const answer = await client.answer(7);
  assert.equal(answer.type === "error" && answer.code, 100, "an address of zeros");
});

Deno.test("a frame that is not masked, or reserved, ends the connection and not the server", async () => {
  await using server = await startServer();
  await using bob = await Device.join(server);
  for (const opcode of [3, 7, 11, 15]) {
    await using client = await connectRaw(server);
    client.sendFrame(opcode, new Uint8Array(3));
    await client.closed;
  }
  await bob.send(bob.address, 1);
  await bob.untilNumbers([1]);
});

Deno.test("a client that closes normally is answered with its code", async () => {
  await using server = await startServer();
  await using client = await connectRaw(server);
  client.sendFrame(OPCODE.close, Uint8Array.of(0x03, 0xe8));
  assert.equal((await client.closed).code, 1000);
});
