/**
 * Flows of today's Signal clients (libsignal, with Kyber) through the server: sessions, conversation, keys.
 *
 * The server sees blobs only; that these clients understand each other is the proof that it mixes up none.
 * @module
 */
import assert from "node:assert/strict";
import { ErrorCode, LibSignalErrorBase } from "../support/libsignal.ts";
import type { PreKeyBundle } from "../../lib/client/mod.ts";
import { startServer } from "../support/server.ts";
import { LibsignalDevice } from "./libsignal_device.ts";
import { Messenger, newUser, numberedTexts, type Reachable } from "./messenger.ts";

Deno.test("Alice sets up sessions with both devices of Bob and both reply", async () => {
  await using server = await startServer();
  const bob = newUser();
  await using alice = await registered(server, newUser(), 1);
  await using phone = await registered(server, bob, 1);
  await using tablet = await registered(server, bob, 2);

  const bundles = await alice.startSessions(bob);
  assert.deepEqual(
    bundles.map(({ userId, deviceId, registrationId }) => ({ userId, deviceId, registrationId })),
    [phone, tablet].map(({ device }) => ({ ...device.address, registrationId: device.registrationId })),
  );
  assert.ok(bundles.every(({ preKey }) => preKey !== null), "each bundle has a one-time prekey");

  await alice.send(phone.address, "Hello, phone");
  await alice.send(tablet.address, "Hello, tablet");
  assert.deepEqual(await phone.texts.atLeast(1), ["Hello, phone"]);
  assert.deepEqual(await tablet.texts.atLeast(1), ["Hello, tablet"]);

  await phone.send(alice.address, "from the phone");
  assert.deepEqual(await alice.texts.atLeast(1), ["from the phone"]);
  await tablet.send(alice.address, "from the tablet");
  assert.deepEqual(await alice.texts.atLeast(2), ["from the phone", "from the tablet"]);

  assert.deepEqual(await alice.requestBundles(bob, [1, 2]), [], "she knows both devices already");
});

Deno.test("Alice and Bob exchange 200 messages each way across a reconnect", async () => {
  await using server = await startServer();
  await using alice = await registered(server, newUser(), 1);
  await using bob = await registered(server, newUser(), 1);
  await introduce(alice, bob);
  const fromAlice = numberedTexts("Alice", 200);
  const fromBob = numberedTexts("Bob", 200);

  const whileBobLeaves = alice.sendAll(bob.address, fromAlice.slice(0, 100));
  await bob.sendAll(alice.address, fromBob.slice(0, 100));
  await bob.disconnect();
  await whileBobLeaves;
  await alice.sendAll(bob.address, fromAlice.slice(100, 150));

  await bob.connect();
  await Promise.all([
    alice.sendAll(bob.address, fromAlice.slice(150)),
    bob.sendAll(alice.address, fromBob.slice(100)),
  ]);

  // Whatever came twice came before the last message, as the order is kept.
  assert.deepEqual(await bob.texts.atLeast(201), ["Hello", ...fromAlice]);
  assert.deepEqual(await alice.texts.atLeast(201), ["Hello back", ...fromBob]);
  assert.deepEqual(alice.undecryptable.all, []);
  // Only the one that Bob was reading when he left may come again, and his library knows it.
  assert.ok(bob.undecryptable.all.length <= 1, `${bob.undecryptable.all.length} messages came twice`);
  for (const { error } of bob.undecryptable.all) {
    assert.ok(isError(error, ErrorCode.DuplicatedMessage), `${error}`);
  }
});

Deno.test("what Bob has acknowledged does not come again after a reconnect", async () => {
  await using server = await startServer();
  await using alice = await registered(server, newUser(), 1);
  await using bob = await registered(server, newUser(), 1);
  await introduce(alice, bob);
  const read = numberedTexts("Alice", 20);
  await alice.sendAll(bob.address, read);
  await bob.texts.atLeast(21);

  // Sent after his last acknowledgement: the server takes them in this order.
  await bob.send(alice.address, "I have read them all");
  await bob.disconnect();
  await bob.connect();
  await alice.send(bob.address, "one more");
  assert.deepEqual(await bob.texts.atLeast(22), ["Hello", ...read, "one more"]);
  assert.deepEqual(bob.undecryptable.all, [], "his library would have refused a message that came twice");
});

Deno.test("a session through the last-resort Kyber key works when Bob's one-time prekeys are used up", async () => {
  await using server = await startServer();
  await using alice = await registered(server, newUser(), 1);
  await using carol = await registered(server, newUser(), 1);
  await using bob = await registered(server, newUser(), 1, 3);

  const taken = await requestRepeatedly(alice, bob.address.userId, 3);
  assert.equal(distinctPreKeys(taken).size, 3, "no one-time prekey is given out twice");
  for (const visitor of [alice, carol]) {
    const [bundle] = await visitor.startSessions(bob.address.userId);
    assert.equal(bundle?.preKey, null);
  }

  // Two sessions on the same key: it must have stayed, and keep them apart.
  await alice.send(bob.address, "Alice, without a one-time prekey");
  assert.deepEqual(await bob.texts.atLeast(1), ["Alice, without a one-time prekey"]);
  await carol.send(bob.address, "Carol, too");
  assert.deepEqual(await bob.texts.atLeast(2), ["Alice, without a one-time prekey", "Carol, too"]);
  await bob.send(alice.address, "Hello, Alice");
  await bob.send(carol.address, "Hello, Carol");
  assert.deepEqual(await alice.texts.atLeast(1), ["Hello, Alice"]);
  assert.deepEqual(await carol.texts.atLeast(1), ["Hello, Carol"]);
});

Deno.test("Alice reaches Bob's re-installed device through a new bundle", async () => {
  await using server = await startServer();
  const bob = newUser();
  await using alice = await registered(server, newUser(), 1);
  await using phone = await registered(server, bob, 1);
  await using before = await registered(server, bob, 2);
  await alice.startSessions(bob);
  await alice.send(before.address, "Hello");
  assert.deepEqual(await before.texts.atLeast(1), ["Hello"]);
  await before.send(alice.address, "Hello back");
  await alice.texts.atLeast(1);
  await before.disconnect();

  await using after = await registered(server, bob, 2);
  await alice.send(after.address, "in the old session");
  await after.undecryptable.atLeast(1);
  assert.deepEqual(after.texts.all, []);

  const bundles = await alice.requestBundles(bob, [phone.address.deviceId]);
  assert.deepEqual(bundles.map(({ registrationId }) => registrationId), [after.device.registrationId]);
  assert.equal(await alice.device.sessionRegistrationId(after.address), before.device.registrationId);
  for (const bundle of bundles) {
    await assert.rejects(alice.device.startSession(bundle), isUntrustedIdentity);
    alice.device.acceptNewIdentity(bundle);
    await alice.device.startSession(bundle);
  }
  await alice.send(after.address, "in the new session");
  assert.deepEqual(await after.texts.atLeast(1), ["in the new session"]);

  await alice.send(phone.address, "to the other device, as before");
  assert.deepEqual(await phone.texts.atLeast(1), ["to the other device, as before"]);
});

Deno.test("Bob is told that his prekeys run low and uploads more", async () => {
  await using server = await startServer({
    PREKEYS_LOW: "10",
    PREKEYS_REQUESTED: "20",
  });
  await using alice = await registered(server, newUser(), 1);
  await using bob = await registered(server, newUser(), 1, 10);

  const first = await requestRepeatedly(alice, bob.address.userId, 1);
  const [wanted] = await bob.preKeysWanted.atLeast(1);
  assert.equal(wanted, 20);
  await bob.register(20);

  const more = await requestRepeatedly(alice, bob.address.userId, 29);
  assert.equal(distinctPreKeys([...first, ...more]).size, 30, "10 prekeys and 20 more, none twice");
  assert.deepEqual(await bob.preKeysWanted.atLeast(2), [20, 20], "the pool fell below the limit again");

  const [last] = more.slice(-1);
  assert.ok(last);
  await alice.device.startSession(last);
  await alice.send(bob.address, "with a key of the second upload");
  assert.deepEqual(await bob.texts.atLeast(1), ["with a key of the second upload"]);
});

function registered(server: Reachable, userId: string, deviceId: number, preKeys?: number) {
  return Messenger.registered(server, new LibsignalDevice({ userId, deviceId }), preKeys);
}

/** A first message and its answer: from then on neither side sends set-up messages. */
async function introduce(
  alice: Messenger<LibsignalDevice>,
  bob: Messenger<LibsignalDevice>,
): Promise<void> {
  await alice.startSessions(bob.address.userId);
  await alice.send(bob.address, "Hello");
  await bob.texts.atLeast(1);
  await bob.send(alice.address, "Hello back");
  await alice.texts.atLeast(1);
}

/** The bundles that so many requests for a user with one device bring. */
async function requestRepeatedly(
  asker: Messenger<LibsignalDevice>,
  userId: string,
  times: number,
): Promise<PreKeyBundle[]> {
  const bundles: PreKeyBundle[] = [];
  for (let asked = 0; asked < times; asked++) bundles.push(...await asker.requestBundles(userId));
  return bundles;
}

/** The one-time prekeys that the bundles carry, each once. */
function distinctPreKeys(bundles: readonly PreKeyBundle[]): Set<string> {
  return new Set(bundles.flatMap(({ preKey }) => preKey === null ? [] : [preKey.toHex()]));
}

function isError(error: unknown, code: ErrorCode): boolean {
  return LibSignalErrorBase.is(error, code);
}

function isUntrustedIdentity(error: unknown): boolean {
  return isError(error, ErrorCode.UntrustedIdentity);
}
