/** Fetching keys: what a bundle holds, which devices are answered for, and what there is when nothing is left. */
import assert from "node:assert/strict";
import { Device, keysOf, numbered, preKeys, refusal } from "../support/device.ts";
import { connectRaw, requestPreKeys } from "../support/raw_messages.ts";
import { startServer } from "../support/server.ts";

Deno.test("a bundle carries what its device registered, and the oldest prekey", async () => {
  await using server = await startServer();
  await using bob = await Device.join(server, {
    deviceId: 0xffff_ffff,
    registrationId: 0xffff_fffe,
    identityKey: new Uint8Array(33).fill(5),
    signedPreKey: new Uint8Array(4_096).fill(6),
    preKeys: preKeys(3, 100),
  });
  await using alice = await Device.connect(server);
  const { userId } = bob.address;
  assert.deepEqual(await alice.connection.requestPreKeys(userId.toUpperCase()), [{
    userId,
    deviceId: 0xffff_ffff,
    registrationId: 0xffff_fffe,
    identityKey: new Uint8Array(33).fill(5),
    signedPreKey: new Uint8Array(4_096).fill(6),
    preKey: numbered(100),
  }]);
});

Deno.test("each prekey is given once, the oldest first, and then none", async () => {
  await using server = await startServer();
  await using bob = await Device.join(server, { preKeys: preKeys(3) });
  await bob.connection.register(keysOf(1, { preKeys: preKeys(2, 3) }));
  await using alice = await Device.connect(server);
  const given = [];
  for (let i = 0; i < 7; i++) {
    given.push((await alice.connection.requestPreKeys(bob.address.userId))[0]?.preKey);
  }
  assert.deepEqual(given, [...preKeys(5), null, null]);
});

Deno.test("with PREKEY_ORDER=lifo the newest prekey goes first", async () => {
  await using server = await startServer({ PREKEY_ORDER: "lifo" });
  await using bob = await Device.join(server, { preKeys: preKeys(2) });
  await bob.connection.register(keysOf(1, { preKeys: preKeys(2, 2) }));
  await using alice = await Device.connect(server);
  const given = [];
  for (let i = 0; i < 5; i++) {
    given.push((await alice.connection.requestPreKeys(bob.address.userId))[0]?.preKey);
  }
  assert.deepEqual(given, [...preKeys(4).toReversed(), null]);
});

Deno.test("a user without devices is unknown", async () => {
  await using server = await startServer();
  await using alice = await Device.connect(server);
  const unknown = alice.connection.requestPreKeys(crypto.randomUUID(), [1, 2]);
  assert.equal(await refusal(101, unknown), "unknown user");
  const own = alice.connection.requestPreKeys(alice.address.userId);
  assert.equal(await refusal(101, own), "unknown user");
});

Deno.test("a user ID that is not a UUID of version 4 is invalid", async () => {
  await using server = await startServer();
  await using alice = await Device.connect(server);
  for (const userId of ["bob", "", "3f0c7e0a-91d4-1b6e-8a57-2d1c9e6f7b10", `${crypto.randomUUID()}0`]) {
    assert.equal(await refusal(100, alice.connection.requestPreKeys(userId)), "invalid userID");
  }
});

Deno.test("one PreKey comes for each device that is not known, with More counting down", async () => {
  await using server = await startServer();
  const userId = crypto.randomUUID();
  for (const deviceId of [0, 1, 2, 3, 4]) {
    await using _device = await Device.join(server, { userId, deviceId, preKeys: preKeys(1, deviceId) });
  }
  await using alice = await connectRaw(server);
  const sequence = alice.send({
    type: "request_prekeys",
    request: { userId, knownDeviceIds: [3, 77, 3, 0] },
  });
  await alice.answer(sequence);
  await alice.settle();
  const answers = alice.received.filter((message) => message.sequence === sequence);
  assert.deepEqual(answers.map((a) => a.type === "prekey" && a.more), [2, 1, 0]);
  const bundles = answers.flatMap((answer) => answer.type === "prekey" ? [answer.bundle] : []);
  assert.deepEqual(bundles.map(({ deviceId }) => deviceId).toSorted(), [1, 2, 4]);
  for (const { deviceId, preKey } of bundles) assert.deepEqual(preKey, numbered(deviceId));
});

Deno.test("if every device is known the answer is one Ack, and no prekey is taken", async () => {
  await using server = await startServer();
  await using bob = await Device.join(server, { preKeys: preKeys(1) });
  const { userId } = bob.address;
  await using alice = await connectRaw(server);
  const sequence = alice.send({ type: "request_prekeys", request: { userId, knownDeviceIds: [1] } });
  await alice.answer(sequence);
  await alice.settle();
  assert.deepEqual(alice.received.filter((m) => m.sequence === sequence), [{ type: "ack", sequence }]);
  const bundle = await alice.ask(requestPreKeys(userId));
  assert.ok(bundle.type === "prekey");
  assert.deepEqual(bundle.bundle.preKey, numbered(0));
});

Deno.test("a device without prekeys is answered for with nil in the place of one", async () => {
  await using server = await startServer();
  await using bob = await Device.join(server, { preKeys: [] });
  await using alice = await connectRaw(server);
  await alice.ask(requestPreKeys(bob.address.userId));
  const payload = alice.envelopes[0]?.payload.toHex() ?? "";
  const name = new TextEncoder().encode("PreKey").toHex();
  assert.ok(payload.includes(`a6${name}c0`), payload);
});

Deno.test("who asks for its own user is answered for its own device too, unless it names it", async () => {
  await using server = await startServer();
  await using tablet = await Device.join(server, { deviceId: 1 });
  const { userId } = tablet.address;
  await using phone = await Device.join(server, { userId, deviceId: 2 });
  const all = await phone.connection.requestPreKeys(userId);
  assert.deepEqual(all.map(({ deviceId }) => deviceId).toSorted(), [1, 2]);
  const others = await phone.connection.requestPreKeys(userId, [2]);
  assert.deepEqual(others.map(({ deviceId }) => deviceId), [1]);
});

Deno.test("more KnownDeviceIDs than 200 are refused, with both numbers", async () => {
  await using server = await startServer();
  await using bob = await Device.join(server);
  await using alice = await Device.connect(server);
  const known = Array.from({ length: 201 }, (_, i) => i + 2);
  const description = await refusal(104, alice.connection.requestPreKeys(bob.address.userId, known));
  assert.match(description, /201.*200/);
  assert.equal((await alice.connection.requestPreKeys(bob.address.userId, known.slice(1))).length, 1);
});
