/** A send that is repeated with the same message ID and the retry bit is stored once, and gets the same Ack. */
import assert from "node:assert/strict";
import type { Accepted } from "../../lib/protocol/mod.ts";
import { AdvancingClock } from "../support/advancing_clock.ts";
import { Peer, refused } from "../support/peer.ts";
import { copyFor, newId, numbered, range, type SendHow, sendWith } from "../support/peer_keys.ts";
import { startServer, type TestServer } from "../support/server.ts";
import { withTwoServers } from "../support/shared_kv.ts";

const MINUTE_MS = 60_000;

/** Both kinds of sends to Bob's only device, which has registration ID 1. */
const KINDS: Record<string, (from: Peer, bob: Peer, n: number, how: SendHow) => Promise<Accepted>> = {
  UserMessage: (from, bob, n, how) => from.send(bob.address, n, how),
  UserMessages: (from, bob, n, how) => from.sendToUser(bob.address.userId, { 1: 1 }, n, how),
};

for (const [kind, send] of Object.entries(KINDS)) {
  Deno.test(`a ${kind} repeated on the same and on another connection is stored once`, async () => {
    await using server = await startServer();
    await using bob = await Peer.join(server);
    await using alice = await Peer.connect(server);
    const messageId = newId();
    const first = await send(alice, bob, 1, { messageId });
    assert.deepEqual(await send(alice, bob, 1, { messageId, retry: true }), first);
    await alice.vanish();
    await using again = await alice.again(server);
    assert.deepEqual(await send(again, bob, 1, { messageId, retry: true }), first);
    await send(again, bob, 2, {});
    await bob.untilNumbers([1, 2]);
    assert.equal(bob.messages[0]?.timestamp, first.at);
  });

  Deno.test(`a ${kind} repeated at another server of the same database is stored once`, async () => {
    await withTwoServers(async (a, b) => {
      await using bob = await Peer.join(b);
      await using alice = await Peer.connect(a);
      const ids = range(20).map(() => newId());
      const first = await Promise.all(ids.map((messageId, n) => send(alice, bob, n, { messageId })));
      await using again = await alice.again(b);
      const repeats = ids.map((messageId, n) => send(again, bob, n, { messageId, retry: true }));
      assert.deepEqual(await Promise.all(repeats), first);
      await send(again, bob, 20, {});
      await bob.untilNumbers(range(21));
    });
  });

  Deno.test(`a ${kind} repeated after a restart is stored once`, async () => {
    await using server = await startServer();
    const bob = await Peer.join(server);
    const alice = await Peer.connect(server);
    const messageId = newId();
    const first = await send(alice, bob, 1, { messageId });
    await using restarted: TestServer = await server.restart();
    await using again = await alice.again(restarted);
    assert.deepEqual(await send(again, bob, 1, { messageId, retry: true }), first);
    await send(again, bob, 2, {});
    await using bobAgain = await bob.again(restarted);
    assert.equal(await bobAgain.queueEmpty(), 0);
    assert.deepEqual([...new Set([...bob.numbers, ...bobAgain.numbers])], [1, 2]);
  });

  Deno.test(`a ${kind} repeated without the retry bit is stored twice`, async () => {
    await using server = await startServer();
    await using bob = await Peer.join(server);
    await using alice = await Peer.connect(server);
    const messageId = newId();
    await send(alice, bob, 1, { messageId });
    await send(alice, bob, 1, { messageId });
    await bob.untilNumbers([1, 1]);
    assert.deepEqual(bob.messages[0]?.messageId, bob.messages[1]?.messageId);
  });

  Deno.test(`a ${kind} with the retry bit that was never accepted is stored`, async () => {
    await using server = await startServer();
    await using bob = await Peer.join(server);
    await using alice = await Peer.connect(server);
    const messageId = newId();
    const { at } = await send(alice, bob, 1, { messageId, retry: true });
    assert.equal((await send(alice, bob, 1, { messageId, retry: true })).at, at);
    await bob.untilNumbers([1]);
    assert.equal(bob.messages[0]?.timestamp, at);
  });

  Deno.test(`a ${kind} is stored once when connections repeat it at the same time, at two servers`, async () => {
    await withTwoServers(async (a, b) => {
      await using bob = await Peer.join(a);
      await using alice = await Peer.connect(a);
      // The same device at the other server: the first connection is replaced, and what it asked is answered.
      const tablets = await Promise.all(range(2).map((i) => Peer.connect(i === 0 ? a : b, alice.address)));
      const ids = range(10).map(() => newId());
      const repeat = (from: Peer) =>
        Promise.allSettled(ids.map((messageId, n) => send(from, bob, n, { messageId, retry: true })));
      const results = await Promise.all([...tablets, ...tablets, ...tablets].map(repeat));
      for (const n of range(10)) {
        const times = results.flatMap((result) => {
          const outcome = result[n];
          return outcome?.status === "fulfilled" ? [outcome.value.at] : [];
        });
        assert.ok(times.length >= 3);
        assert.equal(new Set(times).size, 1, `send ${n}: ${times}`);
      }
      await using last = await Peer.connect(b);
      await send(last, bob, 99, {});
      await bob.untilNumbers([...bob.numbers.slice(0, 10), 99]);
      assert.deepEqual(bob.numbers.slice(0, 10).toSorted((x, y) => x - y), range(10));
      for (const tablet of tablets) await tablet.vanish();
    });
  });

  Deno.test(`a ${kind} is known for an hour, whenever it was sent, and stored anew after that`, async () => {
    for (const offset of [0, 3, 7]) {
      const clock = new AdvancingClock();
      await using server = await startServer({}, { clock });
      clock.advance(offset * MINUTE_MS);
      await using bob = await Peer.join(server, { now: clock.now() });
      const alice = await Peer.connect(server, { now: clock.now() });
      const messageId = newId();
      const first = await send(alice, bob, 1, { messageId });
      clock.advance(59.9 * MINUTE_MS);
      assert.deepEqual(await send(alice, bob, 1, { messageId, retry: true }), first);
      clock.advance(31 * MINUTE_MS);
      const { at } = await send(alice, bob, 1, { messageId, retry: true });
      assert.ok(at > first.at + 90 * MINUTE_MS);
      await bob.untilNumbers([1, 1]);
      await alice.leave();
    }
  });

  Deno.test(`a ${kind} of another sender, or to another recipient, with the same ID is another one`, async () => {
    await using server = await startServer();
    await using bob = await Peer.join(server);
    await using carol = await Peer.join(server);
    await using alice = await Peer.connect(server);
    await using tablet = await Peer.connect(server, { ...alice.address, deviceId: 2 });
    const messageId = newId();
    await send(alice, bob, 1, { messageId });
    await send(tablet, bob, 2, { messageId, retry: true });
    await send(alice, carol, 3, { messageId, retry: true });
    await bob.untilNumbers([1, 2]);
    await carol.untilNumbers([3]);
  });
}

Deno.test("a UserMessage and a UserMessages with the same ID are two sends", async () => {
  await using server = await startServer();
  await using bob = await Peer.join(server);
  await using alice = await Peer.connect(server);
  const messageId = newId();
  await alice.send(bob.address, 1, { messageId });
  await alice.sendToUser(bob.address.userId, { 1: 1 }, 2, { messageId, retry: true });
  await bob.untilNumbers([1, 2]);
});

Deno.test("a repeat right behind the first attempt, in one WebSocket message, is stored once", async () => {
  await using server = await startServer();
  await using bob = await Peer.join(server);
  await using alice = await Peer.connect(server);
  const [messageId, other] = [newId(), newId()];
  const { userId } = bob.address;
  const answers = await Promise.all(alice.askTogether([
    sendWith(bob.address, numbered(1), { messageId }),
    sendWith(bob.address, numbered(1), { messageId, retry: true }),
    copyFor(userId, { 1: 1 }, numbered(2), { messageId: other }),
    copyFor(userId, { 1: 1 }, numbered(2), { messageId: other, retry: true }),
    sendWith(bob.address, numbered(3)),
  ]));
  assert.deepEqual(answers[0], answers[1]);
  assert.deepEqual(answers[2], answers[3]);
  await bob.untilNumbers([1, 2, 3]);
});

Deno.test("a repeat is looked up before the device list and the room in the mailbox are judged", async () => {
  await using server = await startServer({ MAILBOX_MESSAGES_MAX: "2" });
  const bob = await Peer.join(server);
  await bob.leave();
  await using alice = await Peer.connect(server);
  const [one, all] = [newId(), newId()];
  const first = await alice.send(bob.address, 1, { messageId: one });
  const second = await alice.sendToUser(bob.address.userId, { 1: 1 }, 2, { messageId: all });
  await refused(106, alice.send(bob.address, 3));
  assert.deepEqual(await alice.send(bob.address, 1, { messageId: one, retry: true }), first);
  await using tablet = await Peer.join(server, { ...bob.address, deviceId: 2 });
  await refused(107, alice.sendToUser(bob.address.userId, { 1: 1 }, 3));
  const again = await alice.sendToUser(bob.address.userId, { 1: 1 }, 2, { messageId: all, retry: true });
  assert.deepEqual(again, second);
  assert.deepEqual(tablet.numbers, []);
});

Deno.test("a repeated UserMessages names the same devices that were full, also when they no longer are", async () => {
  await using server = await startServer({ MAILBOX_MESSAGES_MAX: "1" });
  const phone = await Peer.join(server);
  const tablet = await Peer.join(server, { ...phone.address, deviceId: 2, registrationId: 2 });
  await tablet.leave();
  await using alice = await Peer.connect(server);
  await alice.send(tablet.address, 1);
  const messageId = newId();
  const first = await alice.sendToUser(phone.address.userId, { 1: 1, 2: 2 }, 2, { messageId });
  assert.deepEqual(first.fullDeviceIds, [2]);
  await using back = await tablet.again(server);
  await back.untilNumbers([1]);
  await back.settle();
  const how = { messageId, retry: true };
  assert.deepEqual(await alice.sendToUser(phone.address.userId, { 1: 1, 2: 2 }, 2, how), first);
  await phone.untilNumbers([2]);
  assert.deepEqual(back.numbers, [1]);
  await phone.leave();
});
