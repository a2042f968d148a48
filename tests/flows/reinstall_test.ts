/** Re-installing a device: the old keys and messages are gone in one step, the new installation misses nothing. */
import assert from "node:assert/strict";
import { Background } from "../support/background.ts";
import { Device, keysOf, numbered, numbersFrom, preKeys } from "../support/device.ts";
import { eventually } from "../support/eventually.ts";
import { RawClient } from "../support/raw_client.ts";
import { connectRaw, joinRaw, numbersAt, registerMessage, sendNumbers } from "../support/raw_messages.ts";
import { startServer } from "../support/server.ts";

for (
  const [what, keys] of [
    ["RegistrationID", keysOf(2, { identityKey: Uint8Array.of(1, 1), preKeys: preKeys(2, 50) })],
    ["IdentityKey", keysOf(1, { identityKey: Uint8Array.of(1, 9), preKeys: preKeys(2, 50) })],
  ] as const
) {
  Deno.test(`another ${what} replaces the keys and empties the mailbox`, async () => {
    await using server = await startServer();
    await using alice = await Device.connect(server);
    const bob = await Device.join(server, { preKeys: preKeys(3) });
    await bob.connection.close();
    await alice.send(bob.address, 1);
    // The old mailbox is delivered up to the Register, so it is read by a client that acknowledges nothing.
    await using again = await RawClient.connect(server, bob.address);
    assert.equal((await again.ask(registerMessage(keys))).type, "ack");
    const given = [];
    for (let i = 0; i < 3; i++) {
      const [bundle] = await alice.connection.requestPreKeys(bob.address.userId);
      assert.equal(bundle?.registrationId, keys.registrationId);
      assert.deepEqual(bundle?.identityKey, keys.identityKey);
      given.push(bundle?.preKey);
    }
    assert.deepEqual(given, [numbered(50), numbered(51), null]);
    again.cut();
    await alice.send(bob.address, 2);
    await using third = await bob.reconnect(server);
    await third.untilNumbers([2]);
  });
}

Deno.test("a prekey of the old installation may be uploaded by the new one", async () => {
  await using server = await startServer();
  await using alice = await Device.connect(server);
  await using bob = await Device.join(server, { preKeys: preKeys(1) });
  await alice.connection.requestPreKeys(bob.address.userId);
  await bob.connection.register(keysOf(2, { preKeys: preKeys(1) }));
  assert.deepEqual((await alice.connection.requestPreKeys(bob.address.userId))[0]?.preKey, numbered(0));
});

Deno.test("an Ack for a message of the old installation is ignored", async () => {
  await using server = await startServer();
  await using alice = await Device.connect(server);
  await using bob = await joinRaw(server);
  await alice.send(bob.address, 1);
  await bob.untilMessages(1);
  await bob.ask(registerMessage(keysOf(2)));
  await alice.send(bob.address, 2);
  await bob.untilMessages(2);
  bob.acknowledge(bob.messages[0]?.sequence ?? 0);
  await bob.settle();
  bob.cut();
  await using again = await Device.connect(server, bob.address);
  await again.untilNumbers([2]);
});

Deno.test("the window of the old installation does not hold up the messages of the new one", async () => {
  await using server = await startServer();
  await using alice = await connectRaw(server);
  await using bob = await joinRaw(server);
  await sendNumbers(alice, bob, numbersFrom(0, 300));
  await bob.untilMessages(256);
  await bob.ask(registerMessage(keysOf(2)));
  await sendNumbers(alice, bob, numbersFrom(300, 256));
  await bob.untilMessages(512);
  assert.deepEqual(numbersAt(bob).slice(256), numbersFrom(300, 256));
});

Deno.test("while a sender goes on, everything it sends after the re-install arrives, in order", async () => {
  await using server = await startServer();
  await using alice = await Device.connect(server);
  await using bob = await Device.join(server);
  let n = 0;
  await using sender = new Background(() => alice.send(bob.address, n++));
  for (let installation = 2; installation <= 10; installation++) {
    await bob.connection.register(keysOf(installation));
  }
  const first = n; // what is sent from here on is judged on the last installation
  await eventually("50 messages more", () => n >= first + 50);
  await sender.stop();
  await eventually("the last message", () => bob.numbers.at(-1) === n - 1);
  assert.deepEqual(bob.numbers.filter((m) => m >= first), numbersFrom(first, n - first));
});
