/** The window: no more under way to one connection than 256 messages or 1 MiB, until some are acknowledged. */
import assert from "node:assert/strict";
import { Device, numbered, numbersFrom } from "../support/device.ts";
import { RawClient } from "../support/raw_client.ts";
import {
  connectRaw,
  joinRaw,
  numbersAt,
  requestPreKeys,
  sendNumbers,
  sequenceOf,
  userMessage,
} from "../support/raw_messages.ts";
import { startServer, type TestServer } from "../support/server.ts";

const WINDOW_MESSAGES = 256;

async function pair(server: TestServer): Promise<{ alice: RawClient; bob: RawClient }> {
  return { bob: await joinRaw(server), alice: await connectRaw(server) };
}

for (const isOnline of [true, false]) {
  const when = isOnline ? "while they are sent" : "after it connects";
  Deno.test(`a client that never acknowledges gets 256 messages and no more, ${when}`, async () => {
    await using server = await startServer();
    const { alice, bob } = await pair(server);
    if (!isOnline) bob.cut();
    await sendNumbers(alice, bob, numbersFrom(0, 400));
    await using receiver = isOnline ? bob : await RawClient.connect(server, bob.address);
    await receiver.untilMessages(WINDOW_MESSAGES);
    for (let i = 0; i < 20; i++) await receiver.settle(); // whatever was on its way has come by now
    assert.deepEqual(numbersAt(receiver), numbersFrom(0, WINDOW_MESSAGES));
  });

  Deno.test(`a client that acknowledges at last gets the rest, ${when}`, async () => {
    await using server = await startServer();
    const { alice, bob } = await pair(server);
    if (!isOnline) bob.cut();
    await sendNumbers(alice, bob, numbersFrom(0, 500));
    await sendNumbers(alice, bob, numbersFrom(500, 300));
    await using receiver = isOnline ? bob : await RawClient.connect(server, bob.address);
    for (let acknowledged = 0; acknowledged < 800;) {
      await receiver.untilMessages(Math.min(acknowledged + WINDOW_MESSAGES, 800));
      for (const { sequence } of receiver.messages.slice(acknowledged)) receiver.acknowledge(sequence);
      acknowledged = receiver.messages.length;
    }
    assert.deepEqual(numbersAt(receiver), numbersFrom(0, 800));
  });
}

Deno.test("each Ack makes room for one message while they come from memory", async () => {
  await using server = await startServer();
  const { alice, bob } = await pair(server);
  await sendNumbers(alice, bob, numbersFrom(0, WINDOW_MESSAGES + 10));
  await bob.untilMessages(WINDOW_MESSAGES);
  for (let i = 0; i < 10; i++) {
    bob.acknowledge(sequenceOf(bob, i));
    await bob.untilMessages(WINDOW_MESSAGES + i + 1);
  }
  assert.deepEqual(numbersAt(bob), numbersFrom(0, WINDOW_MESSAGES + 10));
});

Deno.test("1 MiB of ciphertext fills the window too", async () => {
  await using server = await startServer();
  const { alice, bob } = await pair(server);
  const large = (n: number) => {
    const bytes = new Uint8Array(60 * 1_024);
    bytes.set(numbered(n));
    return bytes;
  };
  for (let n = 0; n < 40; n++) {
    assert.equal((await alice.ask(userMessage(bob.address, large(n)))).type, "ack");
  }
  await bob.untilMessages(17);
  for (let i = 0; i < 20; i++) await bob.settle();
  const { length } = bob.messages;
  assert.ok(length === 17 || length === 18, `${length} messages of 60 KiB`);
  for (let acknowledged = 0; acknowledged < 40;) {
    await bob.untilMessages(acknowledged + 1);
    for (const { sequence } of bob.messages.slice(acknowledged)) bob.acknowledge(sequence);
    acknowledged = bob.messages.length;
  }
  assert.deepEqual(numbersAt(bob), numbersFrom(0, 40));
});

Deno.test("a refused message gives its place in the window up, and comes again on the next connection", async () => {
  await using server = await startServer();
  const { alice, bob } = await pair(server);
  await sendNumbers(alice, bob, numbersFrom(0, WINDOW_MESSAGES + 2));
  await bob.untilMessages(WINDOW_MESSAGES);
  bob.sendEnvelope(sequenceOf(bob, 0), 2, Uint8Array.of(3));
  await bob.untilMessages(WINDOW_MESSAGES + 1);
  for (let i = 0; i < 20; i++) await bob.settle();
  assert.equal(bob.messages.length, WINDOW_MESSAGES + 1);
  bob.cut();
  await using again = await Device.connect(server, bob.address);
  await again.untilNumbers(numbersFrom(0, WINDOW_MESSAGES + 2));
});

Deno.test("a window that is full does not keep other answers and requests from a client", async () => {
  await using server = await startServer();
  const { alice, bob } = await pair(server);
  await sendNumbers(alice, bob, numbersFrom(0, 300));
  await bob.untilMessages(WINDOW_MESSAGES);
  await using carol = await Device.join(server);
  const bundle = await bob.ask(requestPreKeys(carol.address.userId));
  assert.equal(bundle.type, "prekey");
  assert.equal((await bob.ask(userMessage(carol.address, numbered(1)))).type, "ack");
  await carol.untilNumbers([1]);
});
