/** UserMessages is judged on the recipient's devices as they are, and stored for all of them or for none. */
import assert from "node:assert/strict";
import { eventually } from "../support/eventually.ts";
import { Peer, refused } from "../support/peer.ts";
import { newId, numbered, range } from "../support/peer_keys.ts";
import { startServer, type TestServer } from "../support/server.ts";

/** Bob's devices 1, 2 and 3, with the registration IDs 10, 20 and 30. */
async function bobsDevices(server: TestServer): Promise<Peer[]> {
  const userId = crypto.randomUUID();
  return await Promise.all(
    range(3, 1).map((deviceId) => Peer.join(server, { userId, deviceId, registrationId: deviceId * 10 })),
  );
}

/** The device and registration IDs of devices that a refusal names. */
function idsOf(devices: readonly { deviceId: number; registrationId: number }[] = []) {
  return devices.map(({ deviceId, registrationId }) => [deviceId, registrationId]).sort();
}

Deno.test("a message to all devices reaches each of them, with its ID and the time of the Ack", async () => {
  await using server = await startServer();
  const devices = await bobsDevices(server);
  const userId = devices[0]?.address.userId ?? "";
  await using alice = await Peer.connect(server);
  const messageId = newId();
  const { at, fullDeviceIds } = await alice.sendToUser(userId, { 1: 10, 2: 20, 3: 30 }, 5, { messageId });
  assert.deepEqual(fullDeviceIds, []);
  for (const device of devices) {
    await device.untilNumbers([5]);
    const [message] = device.messages;
    assert.deepEqual([message?.from, message?.messageId, message?.timestamp], [alice.address, messageId, at]);
    await device.leave();
  }
});

Deno.test("each device gets its own ciphertext", async () => {
  await using server = await startServer();
  const devices = await bobsDevices(server);
  const userId = devices[0]?.address.userId ?? "";
  await using alice = await Peer.connect(server);
  const copies = range(3, 1).toReversed().map((deviceId) => ({
    deviceId,
    registrationId: deviceId * 10,
    ciphertext: numbered(deviceId, deviceId * 1_000),
  }));
  const how = { messageId: newId(), retry: false, transient: false, ttlSeconds: 0, listedOnly: false };
  await alice.ask({ type: "user_messages", messages: { userId, devices: copies, ...how } });
  for (const device of devices) {
    const { deviceId } = device.address;
    await device.untilNumbers([deviceId]);
    assert.equal(device.messages[0]?.ciphertext.length, deviceId * 1_000);
    await device.leave();
  }
});

Deno.test("one refusal names all that is missing, stale and extra, and nothing is stored", async () => {
  await using server = await startServer();
  const [phone, tablet, laptop] = await bobsDevices(server);
  assert.ok(phone && tablet && laptop);
  const { userId } = phone.address;
  await using alice = await Peer.connect(server);
  const cases: [Record<number, number>, number[][], number[][], number[]][] = [
    [{ 1: 10, 2: 20 }, [[3, 30]], [], []],
    [{ 1: 10, 2: 21, 3: 30 }, [], [[2, 20]], []],
    [{ 1: 10, 2: 20, 3: 30, 4: 40 }, [], [], [4]],
    [{ 2: 0, 7: 7, 9: 9 }, [[1, 10], [3, 30]], [[2, 20]], [7, 9]],
    [{}, [[1, 10], [2, 20], [3, 30]], [], []],
    [{ 1: 20, 2: 10, 3: 30 }, [], [[1, 10], [2, 20]], []],
  ];
  for (const [named, missing, stale, extra] of cases) {
    const { mismatch, description } = await refused(107, alice.sendToUser(userId, named, 1));
    assert.deepEqual(idsOf(mismatch?.missing), missing, description);
    assert.deepEqual(idsOf(mismatch?.stale), stale, description);
    assert.deepEqual([...mismatch?.extra ?? []].sort(), extra, description);
  }
  const { mismatch } = await refused(107, alice.sendToUser(userId, { 1: 10, 2: 99 }, 1));
  assert.deepEqual(mismatch?.missing[0]?.identityKey, Uint8Array.of(1, 30, 0));
  assert.deepEqual(mismatch?.stale[0]?.identityKey, Uint8Array.of(1, 20, 0));
  await alice.sendToUser(userId, { 1: 10, 2: 20, 3: 30 }, 2);
  for (const device of [phone, tablet, laptop]) {
    await device.untilNumbers([2]);
    await device.leave();
  }
});

Deno.test("to one's own user all devices but the sending one are named", async () => {
  await using server = await startServer();
  const [phone, tablet, laptop] = await bobsDevices(server);
  assert.ok(phone && tablet && laptop);
  const { userId } = phone.address;
  await phone.sendToUser(userId, { 2: 20, 3: 30 }, 1);
  const { mismatch } = await refused(107, phone.sendToUser(userId, { 1: 10, 2: 20, 3: 30 }, 2));
  assert.deepEqual([mismatch?.missing, mismatch?.stale, mismatch?.extra], [[], [], [1]]);
  await tablet.untilNumbers([1]);
  await laptop.untilNumbers([1]);
  await tablet.ask({ type: "unregister" });
  await laptop.ask({ type: "unregister" });
  await phone.sendToUser(userId, {}, 3);
  assert.deepEqual(phone.numbers, []);
  for (const device of [phone, tablet, laptop]) await device.leave();
});

Deno.test("listed only: none is missing, while stale and extra ones are still refused", async () => {
  await using server = await startServer();
  const [phone, tablet, laptop] = await bobsDevices(server);
  assert.ok(phone && tablet && laptop);
  const { userId } = phone.address;
  await using alice = await Peer.connect(server);
  await alice.sendToUser(userId, { 2: 20 }, 1, { listedOnly: true });
  await alice.sendToUser(userId, {}, 2, { listedOnly: true });
  const { mismatch } = await refused(
    107,
    alice.sendToUser(userId, { 2: 21, 5: 50 }, 3, { listedOnly: true }),
  );
  assert.deepEqual([mismatch?.missing, idsOf(mismatch?.stale), mismatch?.extra], [[], [[2, 20]], [5]]);
  await alice.sendToUser(userId, { 1: 10, 2: 20, 3: 30 }, 4);
  await tablet.untilNumbers([1, 4]);
  await phone.untilNumbers([4]);
  await laptop.untilNumbers([4]);
  for (const device of [phone, tablet, laptop]) await device.leave();
});

Deno.test("an unknown user, a device named twice, and too many or too large copies have their errors", async () => {
  await using server = await startServer({
    DEVICES_MAX: "3",
    MESSAGE_BYTES_MAX: "1000",
    MESSAGES_BYTES_MAX: "1500",
  });
  await using bob = await Peer.join(server, { registrationId: 10 });
  await using tablet = await Peer.join(server, { ...bob.address, deviceId: 2, registrationId: 20 });
  const { userId } = bob.address;
  await using alice = await Peer.connect(server);
  await refused(101, alice.sendToUser(crypto.randomUUID(), { 1: 10 }, 1));
  await refused(101, alice.sendToUser(crypto.randomUUID(), {}, 1));
  const twice = [1, 1, 2].map((deviceId) => ({ deviceId, registrationId: 10, ciphertext: numbered(1) }));
  const how = { messageId: newId(), retry: false, transient: false, ttlSeconds: 0, listedOnly: false };
  const { description } = await refused(
    3,
    alice.ask({ type: "user_messages", messages: { userId, devices: twice, ...how } }),
  );
  assert.match(description, /device 1 is named twice/);
  await refused(104, alice.sendToUser(userId, { 1: 10, 2: 20 }, 1, { bytes: 1_001 }));
  const together = await refused(104, alice.sendToUser(userId, { 1: 10, 2: 20 }, 1, { bytes: 800 }));
  assert.match(together.description, /1600 bytes, at most 1500/);
  await refused(104, alice.sendToUser(userId, { 1: 10, 2: 20, 3: 30, 4: 40 }, 1));
  await alice.sendToUser(userId, { 1: 10, 2: 20 }, 2, { bytes: 750 });
  await bob.untilNumbers([2]);
  await tablet.untilNumbers([2]);
});

Deno.test("fifty devices with all the bytes that are allowed get their copies in one commit", async () => {
  await using server = await startServer();
  const userId = crypto.randomUUID();
  await using alice = await Peer.connect(server);
  const all: Record<number, number> = {};
  for (const deviceId of range(50)) {
    const device = await Peer.join(server, { userId, deviceId, registrationId: deviceId + 1, preKeys: [] });
    await device.leave();
    all[deviceId] = deviceId + 1;
  }
  await alice.sendToUser(userId, all, 9, { bytes: Math.floor(700 * 1_024 / 50) });
  for (const deviceId of [0, 24, 49]) {
    await using device = await Peer.connect(server, { userId, deviceId });
    await device.untilNumbers([9]);
  }
});

Deno.test("sends of both kinds on one connection arrive in the order sent", async () => {
  await using server = await startServer();
  await using bob = await Peer.join(server, { registrationId: 10 });
  await using alice = await Peer.connect(server);
  const sends: Promise<unknown>[] = [];
  for (const n of range(300)) {
    const kind = Math.floor(Math.random() * 4);
    if (kind === 0) sends.push(alice.sendToUser(bob.address.userId, { 1: 10 }, n));
    else sends.push(alice.send(bob.address, n, { retry: kind === 1 }));
  }
  await Promise.all(sends);
  await bob.untilNumbers(range(300));
});

Deno.test("a message to all devices is never seen by some of them only", async () => {
  await using server = await startServer({ MAILBOX_MESSAGES_MAX: "100000" });
  const [phone, tablet, laptop] = await bobsDevices(server);
  assert.ok(phone && tablet && laptop);
  const { userId } = phone.address;
  await using alice = await Peer.connect(server);
  let registrationId = 30;
  let accepted = 0;
  const outcomes = await Promise.all([
    ...range(150).map((n) =>
      alice.sendToUser(userId, { 1: 10, 2: 20, 3: 30 }, n).then(
        () => accepted++,
        (e) => refused(107, Promise.reject(e)),
      )
    ),
    ...range(20).map(async (round) => {
      // Re-installs between the sends: about half of them find a registration ID that is not theirs.
      registrationId = round % 2 === 0 ? 31 : 30;
      await tablet.register({ registrationId: 20, preKeys: [] });
      await laptop.register({ registrationId, preKeys: [] });
    }),
  ]);
  assert.equal(outcomes.length, 170);
  assert.ok(accepted > 0);
  await eventually("phone has all", () => phone.messages.length === accepted);
  await eventually("tablet has all", () => tablet.messages.length === accepted);
  assert.deepEqual(phone.numbers, tablet.numbers);
  assert.deepEqual(laptop.numbers.filter((n) => !phone.numbers.includes(n)), []);
  for (const device of [phone, tablet, laptop]) await device.leave();
});
