/** A device unregisters another one of its user, as after the loss of a phone; and what RequestDevices tells. */
import assert from "node:assert/strict";
import { eventually } from "../support/eventually.ts";
import { Peer, refused } from "../support/peer.ts";
import { manyKeys } from "../support/peer_keys.ts";
import { startServer, type TestServer } from "../support/server.ts";
import { withTwoServers } from "../support/shared_kv.ts";

async function loseThePhone(a: TestServer, b: TestServer): Promise<void> {
  await using laptop = await Peer.join(a, { deviceId: 1 });
  const { userId } = laptop.address;
  await using phone = await Peer.join(b, { userId, deviceId: 2, registrationId: 2, acknowledges: false });
  await using alice = await Peer.connect(a);
  await alice.send(phone.address, 1);
  await phone.untilNumbers([1]);
  await laptop.ask({ type: "unregister", deviceId: 2 });
  assert.equal(await phone.ended(), 4401);

  await refused(102, alice.send(phone.address, 2));
  assert.deepEqual((await alice.bundles(userId)).map(({ deviceId }) => deviceId), [1]);
  await alice.sendToUser(userId, { 1: 1 }, 3);
  await laptop.untilNumbers([3]);

  // Whoever has the phone may connect, but finds nothing; also if it registers with the same keys.
  await using again = await phone.again(b);
  assert.equal((await again.hello()).registrationId, null);
  await again.queueEmpty();
  await again.register({ registrationId: 2, preKeys: manyKeys(2, 50) });
  await using last = await again.again(a);
  assert.equal(await last.queueEmpty(), 0);
  assert.deepEqual([...again.numbers, ...last.numbers], []);
  assert.equal((await last.hello()).preKeysStored, 2);
  await alice.send(phone.address, 4);
  await last.untilNumbers([4]);
}

Deno.test("a device that another one unregisters is disconnected with 4401, and its keys and messages go", async () => {
  await using server = await startServer();
  await loseThePhone(server, server);
});

Deno.test("the same if it is connected to another server", async () => {
  await withTwoServers(loseThePhone);
});

Deno.test("a connection that comes after it was unregistered is not closed for it", async () => {
  await withTwoServers(async (a, b) => {
    await using laptop = await Peer.join(a, { deviceId: 1 });
    const phone = await Peer.join(b, { ...laptop.address, deviceId: 2 });
    await phone.leave();
    await laptop.ask({ type: "unregister", deviceId: 2 });
    await using again = await phone.again(b);
    await again.register();
    await again.bundles(laptop.address.userId);
    await using alice = await Peer.connect(a);
    await alice.send(again.address, 1);
    await again.untilNumbers([1]);
  });
});

Deno.test("unregistering another device twice, or one that never was, is no error", async () => {
  await using server = await startServer();
  await using laptop = await Peer.join(server);
  await using phone = await Peer.join(server, { ...laptop.address, deviceId: 2 });
  await laptop.ask({ type: "unregister", deviceId: 2 });
  await laptop.ask({ type: "unregister", deviceId: 2 });
  await laptop.ask({ type: "unregister", deviceId: 77 });
  assert.equal(await phone.ended(), 4401);
  assert.deepEqual((await laptop.bundles(laptop.address.userId)).length, 1);
});

Deno.test("naming oneself is the same as naming nobody: the connection stays", async () => {
  await using server = await startServer();
  await using bob = await Peer.join(server, { deviceId: 3 });
  await bob.ask({ type: "unregister", deviceId: 3 });
  await refused(101, bob.bundles(bob.address.userId));
  await bob.register();
  await using alice = await Peer.connect(server);
  await alice.send(bob.address, 1);
  await bob.untilNumbers([1]);
});

Deno.test("devices of other users can't be reached by it", async () => {
  await using server = await startServer();
  await using mallory = await Peer.join(server, { deviceId: 1 });
  await using bob = await Peer.join(server, { deviceId: 2 });
  await mallory.ask({ type: "unregister", deviceId: 2 });
  await mallory.send(bob.address, 1);
  await bob.untilNumbers([1]);
  assert.equal((await mallory.bundles(bob.address.userId)).length, 1);
});

Deno.test("RequestDevices names the devices of a user with their identities, and takes no keys", async () => {
  await using server = await startServer();
  await using phone = await Peer.join(server, { registrationId: 10 });
  const { userId } = phone.address;
  await using tablet = await Peer.join(server, { userId, deviceId: 7, registrationId: 70 });
  await using alice = await Peer.connect(server);
  const devices = async () => {
    const [answer] = await alice.ask({ type: "request_devices", userId });
    assert.ok(answer?.type === "devices");
    assert.equal(answer.userId, userId);
    return answer.devices.map((device) => ({ ...device })).toSorted((a, b) => a.deviceId - b.deviceId);
  };
  const identityKey = (registrationId: number) => Uint8Array.of(1, registrationId, 0);
  const [one, seven] = [
    { deviceId: 1, registrationId: 10, identityKey: identityKey(10) },
    { deviceId: 7, registrationId: 70, identityKey: identityKey(70) },
  ];
  for (let i = 0; i < 20; i++) assert.deepEqual(await devices(), [one, seven]);
  await using again = await phone.again(server);
  assert.equal((await again.hello()).preKeysStored, 12);
  await tablet.register({ registrationId: 71 });
  assert.deepEqual(await devices(), [one, { deviceId: 7, registrationId: 71, identityKey: identityKey(71) }]);
  await tablet.ask({ type: "unregister" });
  assert.deepEqual(await devices(), [one]);
  await again.ask({ type: "unregister" });
  await refused(101, alice.ask({ type: "request_devices", userId }));
});

Deno.test("RequestDevices tells what was changed at another server at once", async () => {
  await withTwoServers(async (a, b) => {
    await using bob = await Peer.join(a);
    await using alice = await Peer.connect(b);
    const { userId } = bob.address;
    for (const registrationId of [2, 3, 4]) {
      await bob.register({ registrationId });
      const [answer] = await alice.ask({ type: "request_devices", userId });
      assert.ok(answer?.type === "devices");
      assert.deepEqual(answer.devices.map((device) => device.registrationId), [registrationId]);
    }
    await eventually("both are still there", () => bob.socket.readyState === WebSocket.OPEN);
  });
});
