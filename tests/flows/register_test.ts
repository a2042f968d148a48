/** Registering the same installation again: repeats change nothing, keys rotate, no prekey comes back. */
import assert from "node:assert/strict";
import { Device, keysOf, numbered, preKeys } from "../support/device.ts";
import { startServer } from "../support/server.ts";

/** Takes prekeys until none is left. */
async function drainPool(alice: Device, bob: Device): Promise<Uint8Array[]> {
  const given: Uint8Array[] = [];
  for (;;) {
    const preKey = (await alice.connection.requestPreKeys(bob.address.userId))[0]?.preKey;
    assert.ok(preKey !== undefined, "the device is not there any more");
    if (preKey === null) return given;
    given.push(preKey);
  }
}

Deno.test("a repeated Register changes nothing", async () => {
  await using server = await startServer();
  await using alice = await Device.connect(server);
  await using bob = await Device.join(server, { preKeys: preKeys(5) });
  await alice.send(bob.address, 1);
  for (let i = 0; i < 3; i++) await bob.connection.register(keysOf(1, { preKeys: preKeys(5) }));
  await alice.send(bob.address, 2);
  await bob.untilNumbers([1, 2]);
  assert.deepEqual(await drainPool(alice, bob), preKeys(5));
});

Deno.test("a Register with another SignedPreKey rotates it, and leaves pool and mailbox alone", async () => {
  await using server = await startServer();
  await using alice = await Device.connect(server);
  const bob = await Device.join(server, { preKeys: preKeys(2) });
  await bob.connection.close();
  await alice.send(bob.address, 1);
  await using again = await bob.reconnect(server);
  await again.connection.register(keysOf(1, { signedPreKey: numbered(99), preKeys: [] }));
  const [bundle] = await alice.connection.requestPreKeys(bob.address.userId);
  assert.deepEqual(bundle?.signedPreKey, numbered(99));
  assert.deepEqual(bundle?.preKey, numbered(0));
  await again.untilNumbers([1]);
  assert.deepEqual(await drainPool(alice, again), preKeys(1, 1));
});

Deno.test("a prekey that was handed out is not given again after it is uploaded again", async () => {
  await using server = await startServer();
  await using alice = await Device.connect(server);
  await using bob = await Device.join(server, { preKeys: preKeys(3) });
  const [bundle] = await alice.connection.requestPreKeys(bob.address.userId);
  assert.deepEqual(bundle?.preKey, numbered(0));
  await bob.connection.register(keysOf(1, { preKeys: preKeys(3) }));
  assert.deepEqual(await drainPool(alice, bob), preKeys(2, 1));
  // All are used by now: the pool stays empty, whatever connection uploads them.
  await using again = await bob.reconnect(server);
  await again.connection.register(keysOf(1, { preKeys: preKeys(4) }));
  assert.deepEqual(await drainPool(alice, again), preKeys(1, 3));
});

Deno.test("a prekey that was handed out is remembered across a restart", async () => {
  await using server = await startServer();
  const alice = await Device.connect(server);
  const bob = await Device.join(server, { preKeys: preKeys(2) });
  await alice.connection.requestPreKeys(bob.address.userId);
  await using restarted = await server.restart();
  await using again = await bob.reconnect(restarted);
  await again.connection.register(keysOf(1, { preKeys: preKeys(3) }));
  await using carol = await Device.connect(restarted);
  assert.deepEqual(await drainPool(carol, again), preKeys(2, 1));
});

Deno.test("the same key twice in one Register is stored once", async () => {
  await using server = await startServer();
  await using alice = await Device.connect(server);
  await using bob = await Device.join(server, {
    preKeys: [numbered(7), numbered(8), numbered(7), numbered(8)],
  });
  assert.deepEqual(await drainPool(alice, bob), [numbered(7), numbered(8)]);
});

Deno.test("prekeys of different lengths and contents are different keys", async () => {
  await using server = await startServer();
  await using alice = await Device.connect(server);
  const keys = [Uint8Array.of(0), Uint8Array.of(0, 0), new Uint8Array(4_096), Uint8Array.of(1)];
  await using bob = await Device.join(server, { preKeys: keys });
  assert.deepEqual(await drainPool(alice, bob), keys);
});

Deno.test("two devices of a user, and two users, have pools of their own", async () => {
  await using server = await startServer();
  await using alice = await Device.connect(server);
  await using bob = await Device.join(server, { deviceId: 1, preKeys: preKeys(1) });
  const { userId } = bob.address;
  await using _tablet = await Device.join(server, { userId, deviceId: 2, preKeys: preKeys(1) });
  await using carol = await Device.join(server, { preKeys: preKeys(1) });
  const bundles = await alice.connection.requestPreKeys(userId);
  assert.deepEqual(bundles.map(({ preKey }) => preKey), [numbered(0), numbered(0)]);
  assert.deepEqual(await drainPool(alice, carol), preKeys(1));
});
