/**
 * Flows of classic Signal clients (X3DH without Kyber, as the first clients of this server) through the server.
 * @module
 */
import assert from "node:assert/strict";
import { startServer } from "../support/server.ts";
import { ClassicDevice } from "./classic_device.ts";
import { Messenger, newUser, numberedTexts, type Reachable } from "./messenger.ts";

Deno.test("two classic clients set up a session and write both ways", async () => {
  await using server = await startServer();
  await using alice = await registered(server);
  await using bob = await registered(server);

  const [bundle] = await alice.startSessions(bob.address.userId);
  assert.equal(bundle?.registrationId, bob.device.registrationId);
  assert.notEqual(bundle.preKey, null);
  await alice.sendAll(bob.address, ["Hello", "a second one before any answer"]);
  assert.deepEqual(await bob.texts.atLeast(2), ["Hello", "a second one before any answer"]);
  await bob.send(alice.address, "Hello back");
  assert.deepEqual(await alice.texts.atLeast(1), ["Hello back"]);
  await alice.send(bob.address, "in the ratchet now");
  assert.deepEqual((await bob.texts.atLeast(3)).slice(2), ["in the ratchet now"]);
});

Deno.test("a classic session works without a one-time prekey", async () => {
  await using server = await startServer();
  await using alice = await registered(server);
  await using bob = await registered(server, 0);

  const [bundle] = await alice.startSessions(bob.address.userId);
  assert.equal(bundle?.preKey, null);
  await alice.send(bob.address, "Hello");
  assert.deepEqual(await bob.texts.atLeast(1), ["Hello"]);
  await bob.send(alice.address, "Hello back");
  assert.deepEqual(await alice.texts.atLeast(1), ["Hello back"]);
});

Deno.test("two classic clients go on after a reconnect with what was written meanwhile", async () => {
  await using server = await startServer();
  await using alice = await registered(server);
  await using bob = await registered(server);
  const fromAlice = numberedTexts("Alice", 40);
  const fromBob = numberedTexts("Bob", 40);

  await alice.startSessions(bob.address.userId);
  await alice.send(bob.address, "Hello");
  await bob.texts.atLeast(1);
  await bob.sendAll(alice.address, fromBob.slice(0, 20));
  await alice.texts.atLeast(20);
  await alice.sendAll(bob.address, fromAlice.slice(0, 20));
  await bob.texts.atLeast(21);

  await bob.disconnect();
  await alice.sendAll(bob.address, fromAlice.slice(20, 30));
  await bob.connect();
  await Promise.all([
    alice.sendAll(bob.address, fromAlice.slice(30)),
    bob.sendAll(alice.address, fromBob.slice(20)),
  ]);

  assert.deepEqual(await bob.texts.atLeast(41), ["Hello", ...fromAlice]);
  assert.deepEqual(await alice.texts.atLeast(40), fromBob);
  assert.deepEqual(alice.undecryptable.all, []);
});

async function registered(server: Reachable, preKeys?: number): Promise<Messenger<ClassicDevice>> {
  const device = await ClassicDevice.install({ userId: newUser(), deviceId: 1 });
  return await Messenger.registered(server, device, preKeys);
}
