/** One connection per address: the newest has it, the one before loses it, and no message gets lost between them. */
import assert from "node:assert/strict";
import { Background } from "../support/background.ts";
import { Device, keysOf, numbered, numberOf, numbersFrom } from "../support/device.ts";
import { eventually } from "../support/eventually.ts";
import { askForBytes, LARGE_KEYS, registerLargeUser, SYSTEM_BYTES } from "../support/large_answers.ts";
import { RawClient } from "../support/raw_client.ts";
import {
  connectRaw,
  joinRaw,
  numbersAt,
  registerMessage,
  sendNumbers,
  sequenceOf,
  userMessage,
} from "../support/raw_messages.ts";
import { startServer } from "../support/server.ts";

Deno.test("a second connection gets everything that is not acknowledged, and the first is closed with 4409", async () => {
  await using server = await startServer();
  await using first = await joinRaw(server);
  await using alice = await connectRaw(server);
  await sendNumbers(alice, first, [1, 2, 3]);
  await first.untilMessages(3);
  first.acknowledge(sequenceOf(first, 2));
  await first.settle();
  await using second = await RawClient.connect(server, first.address);
  assert.equal((await first.closed).code, 4409);
  await second.untilMessages(2);
  await sendNumbers(alice, first, [4]);
  await second.untilMessages(3);
  assert.deepEqual(numbersAt(second), [1, 3, 4]);
  assert.deepEqual(numbersAt(first), [1, 2, 3]);
});

Deno.test("a connection of another device, or of another user, is not disturbed", async () => {
  await using server = await startServer();
  await using phone = await Device.join(server, { deviceId: 1 });
  const { userId } = phone.address;
  await using tablet = await Device.join(server, { userId, deviceId: 2 });
  await using bob = await Device.join(server, { deviceId: 1 });
  await using phoneAgain = await phone.reconnect(server);
  await eventually("the takeover", () => phone.closeCode === 4409);
  await bob.send(tablet.address, 1);
  await tablet.send(bob.address, 2);
  await bob.send(phone.address, 3);
  await tablet.untilNumbers([1]);
  await bob.untilNumbers([2]);
  await phoneAgain.untilNumbers([3]);
});

Deno.test("a connection that was replaced can't roll the keys back", async () => {
  await using server = await startServer();
  await using alice = await Device.connect(server);
  const old = registerMessage(keysOf(1, { signedPreKey: numbered(1), preKeys: [] }));
  for (let round = 0; round < 8; round++) {
    await using first = await joinRaw(server);
    await using flood = new Background(() => first.ask(old));
    await using second = await RawClient.connect(server, first.address);
    await second.ask(registerMessage(keysOf(1, { signedPreKey: numbered(2), preKeys: [] })));
    await first.closed;
    await flood.stop().catch(() => {}); // the last one was not answered
    const [bundle] = await alice.connection.requestPreKeys(first.address.userId);
    assert.deepEqual(bundle?.signedPreKey, numbered(2), `round ${round}`);
  }
});

Deno.test("from a replaced connection that is not closed yet nothing but Acks is taken", async () => {
  await using server = await startServer(LARGE_KEYS);
  const largeUserId = await registerLargeUser(server);
  await using bob = await Device.join(server);
  await using first = await joinRaw(server);
  await using alice = await connectRaw(server);
  await sendNumbers(alice, first, [1, 2]);
  await first.untilMessages(2);
  // With answers that it does not read on their way, the server waits a second before it closes.
  first.stall();
  askForBytes(first, largeUserId, SYSTEM_BYTES + 3 * 1_024 * 1_024);
  await sendNumbers(alice, bob, [0]); // by then the requests were taken, and most were answered
  await using second = await RawClient.connect(server, first.address);
  await second.untilMessages(2);
  first.send(registerMessage(keysOf(9)));
  first.send({ type: "unregister" });
  first.send(userMessage(bob.address, numbered(99)));
  first.acknowledge(sequenceOf(first, 1));
  await eventually("the Ack of the replaced connection", async () => {
    const metrics = await (await fetch(`${server.httpUrl}/metrics`)).text();
    return metrics.includes("messaging_messages_acknowledged_total 2");
  }, 900);
  first.resume();
  assert.equal((await first.closed).code, 4409);
  second.cut();
  await using third = await Device.connect(server, first.address);
  await third.untilNumbers([2]);
  const [bundle] = await third.connection.requestPreKeys(first.address.userId);
  assert.equal(bundle?.registrationId, 1);
  await sendNumbers(alice, bob, [100]);
  await bob.untilNumbers([0, 100]);
});

Deno.test("in repeated takeovers under load nothing is lost, the order stays, and each close has its code", async () => {
  await using server = await startServer({ MAILBOX_MESSAGES_MAX: "1000000" });
  const received: number[] = [];
  const onMessage = ({ ciphertext }: { ciphertext: Uint8Array }) => void received.push(numberOf(ciphertext));
  const first = await Device.join(server, { onMessage });
  await using alice = await Device.connect(server);
  let n = 0;
  await using sender = new Background(() =>
    Promise.all(numbersFrom(0, 100).map(() => alice.send(first.address, n++)))
  );
  await using devices = new AsyncDisposableStack();
  const ends: Promise<{ code: number }>[] = [];
  let last = devices.use(first);
  while (ends.length < 30) {
    ends.push(last.connection.closed);
    last = devices.use(await first.reconnect(server, { onMessage }));
    const before = received.length;
    await eventually("a message", () => received.length > before);
  }
  await sender.stop();
  await eventually("all messages", () => new Set(received).size === n);
  assert.deepEqual([...new Set(received)], numbersFrom(0, n));
  assert.equal(last.closeCode, null);
  assert.deepEqual((await Promise.all(ends)).map(({ code }) => code), Array(30).fill(4409));
});

Deno.test("a device that connects many times at once ends up with one connection, which gets the messages", async () => {
  await using server = await startServer();
  await using owner = await joinRaw(server);
  await using clients = new AsyncDisposableStack();
  const all = await Promise.all(
    numbersFrom(0, 20).map(async () => clients.use(await RawClient.connect(server, owner.address))),
  );
  await eventually("one that is left", () => all.filter(({ isClosed }) => !isClosed).length === 1);
  const codes = await Promise.all(
    all.filter(({ isClosed }) => isClosed).map(async (c) => (await c.closed).code),
  );
  assert.deepEqual(codes, Array(19).fill(4409));
  await using alice = await connectRaw(server);
  await sendNumbers(alice, owner, [1]);
  const left = all.find(({ isClosed }) => !isClosed);
  assert.ok(left);
  await left.untilMessages(1);
});

Deno.test("a takeover from a connection whose other end is gone delivers what went there", async () => {
  await using server = await startServer();
  await using dead = await joinRaw(server);
  dead.stall();
  await using alice = await connectRaw(server);
  await sendNumbers(alice, dead, numbersFrom(0, 100));
  await using again = await RawClient.connect(server, dead.address);
  await again.untilMessages(100);
  assert.deepEqual(numbersAt(again), numbersFrom(0, 100));
});
