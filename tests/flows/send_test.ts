/** Sending: who gets a message, when, from whom; and what is refused. */
import assert from "node:assert/strict";
import { ServerError } from "../../lib/client/mod.ts";
import { encodeEnvelope, TYPE } from "../../lib/protocol/mod.ts";
import { Device, keysOf, numbered, refusal } from "../support/device.ts";
import { eventually } from "../support/eventually.ts";
import { connectRaw, outcomes, userMessage } from "../support/raw_messages.ts";
import { startServer } from "../support/server.ts";

const MESSAGE_BYTES_MAX = 60 * 1_024;

Deno.test("a message to a device that is connected is delivered at once, from the address of its sender", async () => {
  await using server = await startServer();
  await using bob = await Device.join(server);
  await using alice = await Device.connect(server, { deviceId: 0xffff_ffff });
  await alice.send(bob.address, 1);
  await bob.untilNumbers([1]);
  assert.deepEqual(bob.inbox[0]?.from, alice.address);
});

Deno.test("a message sent offline is delivered when its recipient connects", async () => {
  await using server = await startServer();
  const bob = await Device.join(server);
  await bob.connection.close();
  await using alice = await Device.connect(server);
  await alice.send(bob.address, 1);
  await alice.send(bob.address, 2);
  await using again = await bob.reconnect(server);
  await again.untilNumbers([1, 2]);
});

Deno.test("a message sent offline survives a restart of the server", async () => {
  await using server = await startServer();
  const bob = await Device.join(server);
  await bob.connection.close();
  const alice = await Device.connect(server);
  await alice.send(bob.address, 1);
  await using restarted = await server.restart();
  await using again = await bob.reconnect(restarted);
  await again.untilNumbers([1]);
});

Deno.test("messages go to the device that is named, and to no other", async () => {
  await using server = await startServer();
  await using phone = await Device.join(server, { deviceId: 1 });
  const { userId } = phone.address;
  await using tablet = await Device.join(server, { userId, deviceId: 2 });
  await using alice = await Device.connect(server);
  await alice.send(phone.address, 1);
  await alice.send(tablet.address, 2);
  await alice.send(phone.address, 3);
  await phone.untilNumbers([1, 3]);
  await tablet.untilNumbers([2]);
});

Deno.test("a device sends to the other devices of its own user, and to itself", async () => {
  await using server = await startServer();
  await using phone = await Device.join(server, { deviceId: 1 });
  const { userId } = phone.address;
  await using tablet = await Device.join(server, { userId, deviceId: 2 });
  await phone.send(tablet.address, 1);
  await phone.send(phone.address, 2);
  await tablet.untilNumbers([1]);
  await phone.untilNumbers([2]);
  assert.deepEqual(tablet.inbox[0]?.from, phone.address);
});

Deno.test("a message to a user without devices is refused as unknown user", async () => {
  await using server = await startServer();
  await using alice = await Device.connect(server);
  const nobody = { userId: crypto.randomUUID(), deviceId: 1 };
  assert.equal(await refusal(101, alice.send(nobody, 1)), "unknown user");
  await using bob = await Device.connect(server); // connected, and not registered
  assert.equal(await refusal(101, alice.send(bob.address, 1)), "unknown user");
});

Deno.test("a message to another device than those of the user is refused as unknown device", async () => {
  await using server = await startServer();
  await using bob = await Device.join(server, { deviceId: 1 });
  await using alice = await Device.connect(server);
  await alice.send(bob.address, 1);
  const other = { ...bob.address, deviceId: 2 };
  assert.equal(await refusal(102, alice.send(other, 2)), "unknown device");
  await using _tablet = await Device.join(server, other);
  await alice.send(other, 2); // the refusal is not remembered
});

Deno.test("a message to what is not a UUID of version 4 is refused as invalid userID", async () => {
  await using server = await startServer();
  await using alice = await connectRaw(server);
  for (const [i, userId] of ["00".repeat(16), "3f0c7e0a91d41b6e8a572d1c9e6f7b10"].entries()) {
    alice.sendEnvelope(i + 1, TYPE.userMessage, Uint8Array.fromHex(`${userId}00000001cafe`));
    const expected = { type: "error", code: 100, description: "invalid userID", sequence: i + 1 };
    assert.deepEqual(await alice.answer(i + 1), expected);
  }
});

Deno.test("an empty ciphertext is delivered as an empty one", async () => {
  await using server = await startServer();
  await using bob = await Device.join(server);
  await using alice = await Device.connect(server);
  await alice.connection.send(bob.address, new Uint8Array());
  await alice.send(bob.address, 1);
  await eventually("both messages", () => bob.inbox.length === 2);
  assert.deepEqual(bob.inbox.map(({ ciphertext }) => ciphertext), [new Uint8Array(), numbered(1)]);
});

Deno.test("a ciphertext of 60 KiB is delivered whole, to a connected device and to one that comes later", async () => {
  await using server = await startServer();
  const bob = await Device.join(server);
  await using alice = await Device.connect(server);
  const large = new Uint8Array(MESSAGE_BYTES_MAX).map((_, i) => i % 251);
  await alice.connection.send(bob.address, large);
  await alice.send(bob.address, 1);
  await bob.untilNumbers([0x0001_0203, 1]);
  assert.deepEqual(bob.inbox[0]?.ciphertext, large);
  await bob.connection.close();
  await alice.connection.send(bob.address, large);
  await using again = await bob.reconnect(server);
  await again.untilNumbers([0x0001_0203]);
  assert.deepEqual(again.inbox[0]?.ciphertext, large);
});

Deno.test("a ciphertext of one byte more than 60 KiB is refused with both numbers, and nothing is stored", async () => {
  await using server = await startServer();
  await using bob = await Device.join(server);
  await using alice = await Device.connect(server);
  const tooLarge = alice.connection.send(bob.address, new Uint8Array(MESSAGE_BYTES_MAX + 1));
  assert.match(await refusal(104, tooLarge), /61441.*61440/);
  await alice.send(bob.address, 1);
  await bob.untilNumbers([1]);
});

Deno.test("a refused message does not hold up those that were sent with it", async () => {
  await using server = await startServer();
  await using bob = await Device.join(server);
  await using alice = await connectRaw(server);
  const unknown = { ...bob.address, deviceId: 9 };
  const sequences = alice.sendTogether(
    [1, 2, 3, 4].map((n) => userMessage(n % 2 === 0 ? unknown : bob.address, numbered(n))),
  );
  const answers = await alice.answers(sequences);
  assert.deepEqual(outcomes(answers), ["ack", 102, "ack", 102]);
  await bob.untilNumbers([1, 3]);
});

Deno.test("several requests in one WebSocket message are answered each in one of its own", async () => {
  await using server = await startServer();
  await using bob = await Device.join(server);
  await using alice = await connectRaw(server);
  await alice.answers(alice.sendTogether([1, 2, 3].map((n) => userMessage(bob.address, numbered(n)))));
  assert.deepEqual(alice.envelopesInFrame, [1, 1, 1]);
});

Deno.test("a WebSocket message in fragments is put together", async () => {
  await using server = await startServer();
  await using bob = await Device.join(server);
  await using alice = await connectRaw(server);
  const payload = Uint8Array.fromHex(`${bob.address.userId.replaceAll("-", "")}0000000100000007`);
  const envelope = encodeEnvelope(1, 1, TYPE.userMessage, payload);
  alice.sendFrame(2, envelope.subarray(0, 5), false);
  alice.sendFrame(0, envelope.subarray(5, 20), false);
  alice.sendFrame(0, envelope.subarray(20));
  assert.equal((await alice.answer(1)).type, "ack");
  await bob.untilNumbers([7]);
});

Deno.test("a device that registers only now gets what is sent from then on", async () => {
  await using server = await startServer();
  await using bob = await Device.connect(server);
  await using alice = await Device.connect(server);
  await assert.rejects(alice.send(bob.address, 1), ServerError);
  await bob.connection.register(keysOf(1));
  await alice.send(bob.address, 2);
  await bob.untilNumbers([2]);
});
