/** Acknowledging: an Ack deletes exactly what it names; what is not acknowledged comes again, in its order. */
import assert from "node:assert/strict";
import { Device, numbersFrom } from "../support/device.ts";
import { eventually } from "../support/eventually.ts";
import { RawClient } from "../support/raw_client.ts";
import { connectRaw, joinRaw, numbersAt, sendNumbers, sequenceOf } from "../support/raw_messages.ts";
import { startServer, type TestServer } from "../support/server.ts";
import { TcpProxy } from "../support/tcp_proxy.ts";

/** A registered device that acknowledges nothing by itself, and somebody who writes to it. */
async function pair(server: TestServer): Promise<{ alice: RawClient; bob: RawClient }> {
  return { bob: await joinRaw(server), alice: await connectRaw(server) };
}

async function deliver(alice: RawClient, bob: RawClient, numbers: readonly number[]): Promise<void> {
  await sendNumbers(alice, bob, numbers);
  await bob.untilMessages(numbers.length);
}

Deno.test("an Ack deletes exactly the message that it names", async () => {
  await using server = await startServer();
  const { alice, bob } = await pair(server);
  await deliver(alice, bob, [1, 2, 3, 4, 5]);
  bob.acknowledge(sequenceOf(bob, 4));
  bob.acknowledge(sequenceOf(bob, 2));
  await bob.settle();
  bob.cut();
  await using again = await RawClient.connect(server, bob.address);
  await again.untilMessages(3);
  await again.settle();
  assert.deepEqual(numbersAt(again), [1, 3, 5]);
});

Deno.test("an acknowledged message is gone for good, also after a restart", async () => {
  await using server = await startServer();
  const { alice, bob } = await pair(server);
  await deliver(alice, bob, [1, 2]);
  bob.acknowledge(sequenceOf(bob, 1));
  await bob.settle();
  await using restarted = await server.restart();
  await using again = await Device.connect(restarted, bob.address);
  await again.untilNumbers([2]);
  await again.connection.close();
  await using third = await Device.connect(restarted, bob.address);
  await using carol = await Device.connect(restarted);
  await carol.send(bob.address, 3);
  await third.untilNumbers([3]);
});

Deno.test("to acknowledge twice, or what was never sent, is harmless", async () => {
  await using server = await startServer();
  const { alice, bob } = await pair(server);
  await deliver(alice, bob, [1, 2]);
  const first = sequenceOf(bob, 1);
  for (const sequence of [first, first, 0, 1, 0x8000_0000, 0xffff_ffff, first + 100]) {
    bob.acknowledge(sequence);
  }
  await bob.settle();
  const errors = bob.received.filter(({ type }) => type === "error");
  assert.equal(errors.length, 1, "none but the answer to settle()");
  bob.cut();
  await using again = await Device.connect(server, bob.address);
  await again.untilNumbers([2]);
});

Deno.test("a sequence means nothing on another connection", async () => {
  await using server = await startServer();
  const { alice, bob } = await pair(server);
  await deliver(alice, bob, [1, 2, 3]);
  bob.acknowledge(sequenceOf(bob, 1));
  await bob.settle();
  bob.cut();
  await using again = await RawClient.connect(server, bob.address);
  await again.untilMessages(2);
  assert.deepEqual(again.messages.map(({ sequence }) => sequence), [0x8000_0001, 0x8000_0002]);
  again.acknowledge(0x8000_0001); // message 1 before, message 2 now
  await again.settle();
  again.cut();
  await using third = await Device.connect(server, bob.address);
  await third.untilNumbers([3]);
});

Deno.test("a client's Error leaves the message stored, and gets no answer", async () => {
  await using server = await startServer();
  const { alice, bob } = await pair(server);
  await deliver(alice, bob, [1, 2]);
  bob.sendEnvelope(sequenceOf(bob, 1), 2, Uint8Array.of(3, 0x6e, 0x6f));
  bob.acknowledge(sequenceOf(bob, 2));
  await bob.settle();
  assert.equal(bob.envelopes.filter(({ sequence }) => sequence === sequenceOf(bob, 1)).length, 1);
  bob.cut();
  await using again = await Device.connect(server, bob.address);
  await again.untilNumbers([1]);
});

Deno.test("an Ack with a payload gets Error 3, and acknowledges nothing", async () => {
  await using server = await startServer();
  const { alice, bob } = await pair(server);
  await deliver(alice, bob, [1]);
  const sequence = sequenceOf(bob, 1);
  bob.sendEnvelope(sequence, 1, Uint8Array.of(0));
  await eventually(
    "the Error",
    () => bob.received.some((m) => m.type === "error" && m.sequence === sequence),
  );
  bob.cut();
  await using again = await Device.connect(server, bob.address);
  await again.untilNumbers([1]);
});

Deno.test("after a cut, what was not acknowledged comes first, in order, then what is newer", async () => {
  await using server = await startServer();
  const { alice, bob } = await pair(server);
  await deliver(alice, bob, [1, 2, 3]);
  bob.acknowledge(sequenceOf(bob, 2));
  await bob.settle();
  bob.cut();
  await sendNumbers(alice, bob, [4, 5]);
  await using again = await Device.connect(server, bob.address);
  await sendNumbers(alice, bob, [6]);
  await again.untilNumbers([1, 3, 4, 5, 6]);
});

Deno.test("what the kernel took and nobody read is delivered again", async () => {
  await using server = await startServer();
  using proxy = new TcpProxy(server.url);
  await using alice = await Device.connect(server);
  const bob = await Device.join(server, { url: proxy.url });
  await alice.send(bob.address, 1);
  await bob.untilNumbers([1]);
  await using late = await RawClient.connect(server, alice.address);
  proxy.stall(); // the server notices nothing
  const missed = numbersFrom(2, 99);
  await sendNumbers(late, bob, missed);
  proxy.cut();
  await using again = await bob.reconnect(server);
  await again.untilNumbers(missed);
});

Deno.test("if onMessage fails, the message comes again on the next connection", async () => {
  await using server = await startServer();
  await using alice = await Device.connect(server);
  let failures = 0;
  const fails = () => {
    failures++;
    throw new Error("the disk is full");
  };
  const bob = await Device.join(server, { onMessage: fails });
  await alice.send(bob.address, 1);
  await eventually("the failure", () => failures === 1);
  await bob.connection.close();
  await using again = await bob.reconnect(server);
  await again.untilNumbers([1]);
});
