/** Unregistering: the keys and the mailbox are gone, the connection stays. */
import assert from "node:assert/strict";
import { Device, keysOf, numbered, numbersFrom, preKeys, refusal } from "../support/device.ts";
import { connectRaw, joinRaw, numbersAt, registerMessage, sendNumbers } from "../support/raw_messages.ts";
import { startServer } from "../support/server.ts";

Deno.test("after Unregister the user is unknown to senders and to requests for prekeys", async () => {
  await using server = await startServer();
  await using bob = await Device.join(server);
  await using alice = await Device.connect(server);
  await alice.send(bob.address, 1);
  await bob.connection.unregister();
  assert.equal(await refusal(101, alice.send(bob.address, 2)), "unknown user");
  assert.equal(await refusal(101, alice.connection.requestPreKeys(bob.address.userId)), "unknown user");
});

Deno.test("after Unregister of one of two devices that one is an unknown device", async () => {
  await using server = await startServer();
  await using phone = await Device.join(server, { deviceId: 1 });
  const { userId } = phone.address;
  await using tablet = await Device.join(server, { userId, deviceId: 2 });
  await using alice = await Device.connect(server);
  await alice.send(phone.address, 1);
  await phone.connection.unregister();
  assert.equal(await refusal(102, alice.send(phone.address, 2)), "unknown device");
  await alice.send(tablet.address, 3);
  await tablet.untilNumbers([3]);
  const bundles = await alice.connection.requestPreKeys(userId);
  assert.deepEqual(bundles.map(({ deviceId }) => deviceId), [2]);
});

Deno.test("Unregister of a device that is not registered is an Ack", async () => {
  await using server = await startServer();
  await using bob = await Device.connect(server);
  await bob.connection.unregister();
  await bob.connection.register(keysOf(1));
  await bob.connection.unregister();
  await bob.connection.unregister();
});

Deno.test("a device that registers again with the same keys starts with an empty mailbox and pool", async () => {
  await using server = await startServer();
  await using bob = await joinRaw(server);
  await using alice = await connectRaw(server);
  await sendNumbers(alice, bob, numbersFrom(0, 300)); // more than the window holds
  await bob.untilMessages(256);
  await bob.ask({ type: "unregister" });
  await bob.ask(registerMessage(keysOf(1, { preKeys: preKeys(1, 70) })));
  await sendNumbers(alice, bob, [1_000]);
  await bob.untilMessages(257);
  assert.deepEqual(numbersAt(bob).slice(256), [1_000]);
  await using carol = await Device.connect(server);
  const given = [];
  for (let i = 0; i < 2; i++) {
    given.push((await carol.connection.requestPreKeys(bob.address.userId))[0]?.preKey);
  }
  assert.deepEqual(given, [numbered(70), null]);
});

Deno.test("a device that registers on another connection gets nothing from before", async () => {
  await using server = await startServer();
  const bob = await Device.join(server);
  await bob.connection.close();
  await using alice = await Device.connect(server);
  await alice.send(bob.address, 1);
  const owner = await Device.connect(server, {
    ...bob.address,
    onMessage: () => Promise.reject(new Error()),
  });
  await owner.connection.unregister();
  await owner.connection.close();
  await using third = await Device.join(server, bob.address);
  await alice.send(bob.address, 2);
  await third.untilNumbers([2]);
});

Deno.test("a device that is not registered can still send and request prekeys", async () => {
  await using server = await startServer();
  await using bob = await Device.join(server);
  await using alice = await Device.join(server);
  await alice.connection.unregister();
  await alice.send(bob.address, 1);
  await bob.untilNumbers([1]);
  assert.deepEqual(bob.inbox[0]?.from, alice.address);
  assert.equal((await alice.connection.requestPreKeys(bob.address.userId)).length, 1);
});

Deno.test("an unregistered device is gone after a restart too", async () => {
  await using server = await startServer();
  const bob = await Device.join(server);
  await bob.connection.unregister();
  await using restarted = await server.restart();
  await using alice = await Device.connect(restarted);
  await refusal(101, alice.send(bob.address, 1));
});
