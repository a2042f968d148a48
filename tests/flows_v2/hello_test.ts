/** Version 2 connections are greeted, and told when all that waited has come; version 1 connections are not. */
import assert from "node:assert/strict";
import { eventually } from "../support/eventually.ts";
import { Peer } from "../support/peer.ts";
import { manyKeys, range } from "../support/peer_keys.ts";
import { startServer } from "../support/server.ts";

Deno.test("Hello comes first, and says what the server takes and what it knows of the device", async () => {
  await using server = await startServer({ RETENTION: "7d", PREKEYS_MAX: "77", MESSAGE_BYTES_MAX: "9KiB" });
  await using stranger = await Peer.connect(server);
  const { time, server: name, ...fields } = await stranger.hello();
  assert.match(name, /^messaging-server\/\d/);
  assert.ok(Math.abs(time - Date.now()) < 10_000);
  assert.deepEqual(fields, {
    messageBytesMax: 9 * 1_024,
    envelopesBytesMax: 1_048_576,
    window: 256,
    inFlightMax: 512,
    preKeysMax: 77,
    devicesMax: 50,
    retentionSeconds: 7 * 86_400,
    registrationId: null,
    preKeysStored: 0,
  });
  await stranger.register({ registrationId: 1_234, preKeys: manyKeys(13) });
  await using known = await stranger.again(server);
  const { registrationId, preKeysStored } = await known.hello();
  assert.deepEqual([registrationId, preKeysStored], [1_234, 13]);
});

Deno.test("Hello comes first also if requests were sent before it, and messages wait", async () => {
  await using server = await startServer();
  const bob = await Peer.join(server);
  await bob.leave();
  await using alice = await Peer.connect(server);
  await alice.send(bob.address, 1);
  for (let round = 0; round < 20; round++) {
    await using again = await bob.again(server, { acknowledges: false });
    await Promise.all([again.bundles(bob.address.userId), again.untilNumbers([1])]);
    assert.equal(again.heard[0]?.type, "hello");
    assert.equal(again.heard.filter(({ type }) => type === "hello").length, 1);
  }
});

Deno.test("QueueEmpty comes once, after all that waited, and before what is sent later", async () => {
  await using server = await startServer();
  const bob = await Peer.join(server);
  await bob.leave();
  await using alice = await Peer.connect(server);
  // More than two windows, so that they can't all be under way at once.
  await alice.sendMany(bob.address, range(600));
  await using again = await bob.again(server);
  assert.equal(await again.queueEmpty(), 0);
  assert.deepEqual(again.numbers, range(600));
  await alice.send(bob.address, 600);
  await again.untilNumbers(range(601));
  await again.bundles(bob.address.userId);
  assert.deepEqual(again.losses, [0]);
  assert.equal(again.heard.findIndex(({ type }) => type === "queue_empty"), 601, "Hello, 600 messages");
});

Deno.test("QueueEmpty waits until the client made room for all that waits", async () => {
  await using server = await startServer();
  const bob = await Peer.join(server);
  await bob.leave();
  await using alice = await Peer.connect(server);
  await alice.sendMany(bob.address, range(300));
  await using again = await bob.again(server, { acknowledges: false });
  await again.untilNumbers(range(256));
  await again.bundles(bob.address.userId);
  assert.deepEqual(again.losses, []);
  again.acknowledges = true;
  for (const { sequence } of again.messages) again.acknowledge(sequence);
  assert.equal(await again.queueEmpty(), 0);
  assert.deepEqual(again.numbers, range(300));
});

Deno.test("a device that is not registered hears QueueEmpty once, also when it registers then", async () => {
  await using server = await startServer();
  await using bob = await Peer.connect(server);
  assert.equal(await bob.queueEmpty(), 0);
  await bob.register();
  await using alice = await Peer.connect(server);
  await alice.send(bob.address, 1);
  await bob.untilNumbers([1]);
  assert.deepEqual(bob.losses, [0]);
});

Deno.test("a version 1 connection hears neither Hello nor QueueEmpty", async () => {
  await using server = await startServer();
  await using bob = await Peer.join(server, { version: 1 });
  await using alice = await Peer.connect(server, { version: 1 });
  await alice.send(bob.address, 1);
  await bob.untilNumbers([1]);
  await using again = await bob.again(server, { version: 1 });
  await alice.send(bob.address, 2);
  await again.untilNumbers([2]);
  await eventually("the takeover", async () => await bob.ended() === 4409);
  assert.deepEqual([...bob.heard, ...again.heard].map(({ type }) => type), [
    "ack",
    "user_message",
    "user_message",
  ]);
});

Deno.test("keys and messages go from version 1 to version 2", async () => {
  await using server = await startServer();
  await using old = await Peer.join(server, { version: 1, registrationId: 11 });
  await using current = await Peer.join(server, { registrationId: 22 });
  const [bundle] = await old.bundles(current.address.userId);
  assert.deepEqual([bundle?.registrationId, bundle?.preKey], [22, manyKeys(1)[0]]);
  const before = Date.now();
  await old.send(current.address, 1);
  await old.send(current.address, 2);
  await current.untilNumbers([1, 2]);
  const [first, second] = current.messages;
  assert.ok(first && second);
  assert.deepEqual(first.from, old.address);
  assert.ok(first.timestamp >= before && first.timestamp <= Date.now());
  assert.equal(first.messageId.length, 16);
  assert.ok(first.messageId.some((byte) => byte !== 0), "the server made it");
  assert.notDeepEqual(first.messageId, second.messageId);
});

Deno.test("a message keeps its server-made ID when it is delivered again", async () => {
  await using server = await startServer();
  await using old = await Peer.connect(server, { version: 1 });
  const current = await Peer.join(server, { acknowledges: false });
  await old.send(current.address, 1);
  await current.untilNumbers([1]);
  await using again = await current.again(server);
  await again.untilNumbers([1]);
  assert.deepEqual(again.messages[0]?.messageId, current.messages[0]?.messageId);
  assert.deepEqual(again.messages[0]?.timestamp, current.messages[0]?.timestamp);
});

Deno.test("keys and messages go from version 2 to version 1", async () => {
  await using server = await startServer();
  await using old = await Peer.join(server, { version: 1, registrationId: 11 });
  await using current = await Peer.join(server, { registrationId: 22 });
  const [bundle] = await current.bundles(old.address.userId);
  assert.deepEqual([bundle?.registrationId, bundle?.preKey], [11, manyKeys(1)[0]]);
  await current.send(old.address, 1);
  await current.sendToUser(old.address.userId, { 1: 11 }, 2);
  await old.untilNumbers([1, 2]);
  assert.deepEqual(old.messages.map(({ from }) => from), [current.address, current.address]);
});
