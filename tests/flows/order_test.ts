/** The order of messages: of one sender under load, of a backlog, across reconnects and restarts. */
import assert from "node:assert/strict";
import type { DeviceAddress } from "../../lib/client/mod.ts";
import { Background } from "../support/background.ts";
import { Device, numbered, numberOf, numbersFrom } from "../support/device.ts";
import { eventually } from "../support/eventually.ts";
import { RawClient } from "../support/raw_client.ts";
import { connectRaw, joinRaw, numbersAt, sendNumbers, userMessage } from "../support/raw_messages.ts";
import { startServer, type TestServer } from "../support/server.ts";

/** Fewer than a connection may leave unanswered. */
const UNDER_WAY_MAX = 400;

/** Sends numbered messages without waiting for each Ack. */
async function pipeline(sender: Device, to: DeviceAddress, numbers: readonly number[]): Promise<void> {
  const underWay = new Set<Promise<void>>();
  for (const n of numbers) {
    const sent = sender.send(to, n);
    underWay.add(sent);
    void sent.finally(() => underWay.delete(sent)).catch(() => {});
    if (underWay.size >= UNDER_WAY_MAX) await Promise.race(underWay);
  }
  await Promise.all(underWay);
}

/** Fills the mailbox of a device that is not connected. */
async function fillMailbox(server: TestServer, count: number): Promise<DeviceAddress> {
  const bob = await Device.join(server);
  await bob.connection.close();
  await using alice = await Device.connect(server);
  await pipeline(alice, bob.address, numbersFrom(0, count));
  return bob.address;
}

Deno.test("2,000 messages that one sender pipelines to a connected device arrive in order", async () => {
  await using server = await startServer();
  await using bob = await Device.join(server);
  await using alice = await Device.connect(server);
  await pipeline(alice, bob.address, numbersFrom(0, 2_000));
  await bob.untilNumbers(numbersFrom(0, 2_000));
});

Deno.test("each of four senders keeps its order at a device that is connected, away, and back", async () => {
  await using server = await startServer();
  const received: number[] = [];
  const onMessage = ({ ciphertext }: { ciphertext: Uint8Array }) => {
    received.push(numberOf(ciphertext));
  };
  const bob = await Device.join(server, { onMessage });
  await using senders = new AsyncDisposableStack();
  const sends = numbersFrom(0, 4).map(async (k) => {
    const sender = senders.use(await Device.connect(server));
    await pipeline(sender, bob.address, numbersFrom(k * 10_000, 500));
  });
  await eventually("some messages", () => received.length > 100);
  await bob.connection.close();
  await using _again = await bob.reconnect(server, { onMessage });
  await Promise.all(sends);
  await eventually("all messages", () => new Set(received).size === 2_000);
  for (const k of numbersFrom(0, 4)) {
    // A message whose Ack was lost with the connection comes twice; first arrivals are in order all the same.
    const first = [...new Set(received)].filter((n) => Math.floor(n / 10_000) === k);
    assert.deepEqual(first, numbersFrom(k * 10_000, 500));
  }
});

Deno.test("messages of one sender to several devices arrive at each in order", async () => {
  await using server = await startServer();
  await using phone = await Device.join(server, { deviceId: 1 });
  const { userId } = phone.address;
  await using tablet = await Device.join(server, { userId, deviceId: 2 });
  await using carol = await Device.join(server);
  await using alice = await connectRaw(server);
  const targets = [phone, tablet, carol];
  const messages = numbersFrom(0, 150).flatMap((n) =>
    targets.map(({ address }) => userMessage(address, numbered(n)))
  );
  await alice.answers(alice.sendTogether(messages));
  for (const target of targets) await target.untilNumbers(numbersFrom(0, 150));
});

Deno.test("a first message whose recipient must be looked up is not overtaken by the next ones", async () => {
  await using server = await startServer();
  const bobs = await Promise.all(numbersFrom(0, 20).map(() => joinRaw(server)));
  await using restarted = await server.restart(); // now nothing is at hand
  for (const { address } of bobs) {
    await using bob = await RawClient.connect(restarted, address);
    await using alice = await connectRaw(restarted);
    await sendNumbers(alice, bob, numbersFrom(0, 50));
    await bob.untilMessages(50);
    assert.deepEqual(numbersAt(bob), numbersFrom(0, 50));
  }
});

Deno.test("a backlog of 10,000 messages is delivered in order", async () => {
  await using server = await startServer();
  const address = await fillMailbox(server, 10_000);
  await using bob = await Device.connect(server, address);
  await eventually("the backlog", () => bob.inbox.length >= 10_000, 30_000);
  assert.deepEqual(bob.numbers, numbersFrom(0, 10_000));
});

Deno.test("what is sent while a backlog is delivered comes after it", async () => {
  await using server = await startServer();
  const address = await fillMailbox(server, 2_000);
  await using alice = await Device.connect(server);
  let n = 2_000;
  await using sender = new Background(() => pipeline(alice, address, numbersFrom((n += 20) - 20, 20)));
  await using bob = await Device.connect(server, address);
  await eventually("more than the backlog", () => bob.inbox.length > 2_500);
  await sender.stop();
  await bob.untilNumbers(numbersFrom(0, n));
});

Deno.test("messages from before and after a restart come in the order of their acceptance", async () => {
  await using server = await startServer();
  const address = await fillMailbox(server, 300);
  await using restarted = await server.restart();
  await using alice = await Device.connect(restarted);
  await pipeline(alice, address, numbersFrom(300, 300));
  await using bob = await Device.connect(restarted, address);
  await bob.untilNumbers(numbersFrom(0, 600));
});

Deno.test("a client that acknowledges from the end of its window gets the rest in order, and nothing twice", async () => {
  await using server = await startServer();
  const address = await fillMailbox(server, 1_000);
  await using bob = await RawClient.connect(server, address);
  let acknowledged = 0;
  while (acknowledged < 1_000) {
    await bob.untilMessages(Math.min(acknowledged + 100, 1_000));
    const { messages } = bob;
    for (const { sequence } of messages.slice(acknowledged).reverse()) bob.acknowledge(sequence);
    acknowledged = messages.length;
  }
  await bob.settle();
  assert.deepEqual(numbersAt(bob), numbersFrom(0, 1_000));
});
