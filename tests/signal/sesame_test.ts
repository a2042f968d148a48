/** Sesame with real Signal clients: devices come, go and are re-installed while others send to all of them. */
import assert from "node:assert/strict";
import { IdentityKeyPair } from "../support/libsignal.ts";
import { startServer } from "../support/server.ts";
import { LibsignalDevice } from "./libsignal_device.ts";
import { newUser, numberedTexts, type Reachable } from "./messenger.ts";
import { SesameClient, withIdentity } from "./sesame_client.ts";

function client(server: Reachable, userId: string, deviceId: number): Promise<SesameClient> {
  return SesameClient.registered(server, new LibsignalDevice({ userId, deviceId }));
}

Deno.test("Bob gets a new device while Alice is sending: it gets all that is sent from then on", async () => {
  await using server = await startServer();
  const bob = newUser();
  await using alice = await client(server, newUser(), 1);
  await using phone = await client(server, bob, 1);
  const texts = numberedTexts("Alice", 40);
  let tablet: SesameClient | null = null;
  let joining: Promise<unknown> = Promise.resolve();
  const sentAfter: string[] = [];
  for (const [i, text] of texts.entries()) {
    if (i === 10) joining = client(server, bob, 2).then((joined) => tablet = joined);
    if (tablet !== null) sentAfter.push(text);
    await alice.send(bob, text);
    if (i === 20) await joining;
  }
  assert.ok(tablet !== null);
  await using there: SesameClient = tablet;
  assert.ok(sentAfter.length >= 19);
  assert.deepEqual(await phone.texts.atLeast(40), texts, "also what was refused first came once");
  const received = await there.texts.atLeast(sentAfter.length);
  assert.deepEqual(received.slice(-sentAfter.length), sentAfter);
  assert.deepEqual(alice.repairs, [
    { missing: [1], stale: [], extra: [] },
    { missing: [2], stale: [], extra: [] },
  ]);
  assert.deepEqual([...phone.undecryptable.all, ...there.undecryptable.all], []);
});

Deno.test("Bob re-installs with the same device and identity key: Alice is told that her session is stale", async () => {
  await using server = await startServer();
  const [bob, identity] = [newUser(), IdentityKeyPair.generate()];
  await using alice = await client(server, newUser(), 1);
  const before = await SesameClient.registered(server, withIdentity(identity, { userId: bob, deviceId: 1 }));
  await alice.send(bob, "Hello");
  assert.deepEqual(await before.texts.atLeast(1), ["Hello"]);
  await before[Symbol.asyncDispose]();

  await using after = await SesameClient.registered(
    server,
    withIdentity(identity, { userId: bob, deviceId: 1 }),
  );
  assert.deepEqual((await after.device.keys(0)).identityKey, (await before.device.keys(0)).identityKey);
  await alice.send(bob, "Are you still there?");
  await alice.send(bob, "Good.");
  assert.deepEqual(await after.texts.atLeast(2), ["Are you still there?", "Good."]);
  assert.deepEqual(alice.repairs.slice(1), [{ missing: [], stale: [1], extra: [] }]);
  assert.deepEqual(after.undecryptable.all, [], "nothing came in the session that was lost");
  await after.send(alice.address.userId, "Here I am");
  assert.deepEqual(await alice.texts.atLeast(1), ["Here I am"]);
});

Deno.test("Bob removes a device: Alice leaves it out, and the others get everything", async () => {
  await using server = await startServer();
  const bob = newUser();
  await using alice = await client(server, newUser(), 1);
  await using phone = await client(server, bob, 1);
  const tablet = await client(server, bob, 2);
  await alice.send(bob, "to both");
  assert.deepEqual(await tablet.texts.atLeast(1), ["to both"]);
  await phone.connection.unregister(2);
  assert.equal((await tablet.connection.closed).code, 4401);
  await alice.send(bob, "to the phone");
  assert.deepEqual(await phone.texts.atLeast(2), ["to both", "to the phone"]);
  assert.deepEqual(alice.repairs.slice(1), [{ missing: [], stale: [], extra: [2] }]);
});

Deno.test("a device comes, one goes and one is re-installed: one refusal is enough to repair it all", async () => {
  await using server = await startServer();
  const [bob, identity] = [newUser(), IdentityKeyPair.generate()];
  await using alice = await client(server, newUser(), 1);
  await using phone = await client(server, bob, 1);
  const before = await SesameClient.registered(server, withIdentity(identity, { userId: bob, deviceId: 2 }));
  await using laptop = await client(server, bob, 3);
  await alice.send(bob, "to three");
  await laptop.texts.atLeast(1);
  await before[Symbol.asyncDispose]();
  await phone.connection.unregister(3);
  await using after = await SesameClient.registered(
    server,
    withIdentity(identity, { userId: bob, deviceId: 2 }),
  );
  await using watch = await client(server, bob, 4);
  await alice.send(bob, "to three others");
  assert.deepEqual(alice.repairs.slice(1), [{ missing: [4], stale: [2], extra: [3] }]);
  assert.deepEqual(await phone.texts.atLeast(2), ["to three", "to three others"]);
  assert.deepEqual(await after.texts.atLeast(1), ["to three others"]);
  assert.deepEqual(await watch.texts.atLeast(1), ["to three others"]);
});

Deno.test("Alice's other device gets its copy of what she sends, and she none of her own", async () => {
  await using server = await startServer();
  const alice = newUser();
  await using phone = await client(server, alice, 1);
  await using laptop = await client(server, alice, 2);
  await using bob = await client(server, newUser(), 1);
  for (const text of ["one", "two"]) {
    await phone.send(bob.address.userId, text);
    await phone.send(alice, `sent to Bob: ${text}`);
  }
  await laptop.send(alice, "seen");
  assert.deepEqual(await bob.texts.atLeast(2), ["one", "two"]);
  assert.deepEqual(await laptop.texts.atLeast(2), ["sent to Bob: one", "sent to Bob: two"]);
  assert.deepEqual(await phone.texts.atLeast(1), ["seen"]);
});

Deno.test("a message that one device could not read is sent again to that device only", async () => {
  await using server = await startServer();
  const bob = newUser();
  await using alice = await client(server, newUser(), 1);
  await using phone = await client(server, bob, 1);
  await using tablet = await client(server, bob, 2);
  await alice.send(bob, "Hello");
  await tablet.texts.atLeast(1);
  await alice.sendSpoilt(tablet.address, "Did you read this?");
  await tablet.undecryptable.atLeast(1);
  await alice.resend(tablet.address, "Did you read this?");
  await alice.send(bob, "Good.");
  const all = ["Hello", "Did you read this?", "Good."];
  assert.deepEqual(await tablet.texts.atLeast(3), all);
  assert.deepEqual(await phone.texts.atLeast(3), all);
  assert.equal(alice.repairs.length, 1, "only at the start");
});
