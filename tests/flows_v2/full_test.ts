/** A full mailbox on version 2: UserMessages leaves it out, and it is never full of what has expired. */
import assert from "node:assert/strict";
import { AdvancingClock } from "../support/advancing_clock.ts";
import { Peer, refused } from "../support/peer.ts";
import { numbered, range, sendWith } from "../support/peer_keys.ts";
import { startServer } from "../support/server.ts";

const HOUR_MS = 3_600_000;
const TEN = { MAILBOX_MESSAGES_MAX: "10" };

Deno.test("UserMessages leaves full mailboxes out and names them; 106 only if all are full", async () => {
  await using server = await startServer({ MAILBOX_MESSAGES_MAX: "2" });
  const phone = await Peer.join(server, { registrationId: 1 });
  const tablet = await Peer.join(server, { ...phone.address, deviceId: 2, registrationId: 2 });
  const { userId } = phone.address;
  await phone.leave();
  await tablet.leave();
  await using alice = await Peer.connect(server);
  await alice.send(tablet.address, 1);
  assert.deepEqual((await alice.sendToUser(userId, { 1: 1, 2: 2 }, 2)).fullDeviceIds, []);
  assert.deepEqual((await alice.sendToUser(userId, { 1: 1, 2: 2 }, 3)).fullDeviceIds, [2]);
  await refused(106, alice.sendToUser(userId, { 1: 1, 2: 2 }, 4));
  await refused(106, alice.send(phone.address, 5));
  // A commit behind what was counted.
  await alice.sendToUser(userId, {}, 0, { listedOnly: true });
  await using phoneAgain = await phone.again(server);
  assert.equal(await phoneAgain.queueEmpty(), 2, "4 and 5 found it full");
  assert.deepEqual(phoneAgain.numbers, [2, 3]);
  await using tabletAgain = await tablet.again(server);
  assert.equal(await tabletAgain.queueEmpty(), 2, "3 and 4 found it full");
  assert.deepEqual(tabletAgain.numbers, [1, 2]);
  await tabletAgain.settle();
  await phoneAgain.settle();
  assert.deepEqual((await alice.sendToUser(userId, { 1: 1, 2: 2 }, 6)).fullDeviceIds, []);
});

Deno.test("a UserMessages that is refused takes no room", async () => {
  await using server = await startServer(TEN);
  const bob = await Peer.join(server);
  await bob.leave();
  await using alice = await Peer.connect(server);
  for (const n of range(20)) await refused(107, alice.sendToUser(bob.address.userId, { 1: 2 }, n));
  await alice.sendMany(bob.address, range(10));
  await refused(106, alice.send(bob.address, 10));
});

Deno.test("bytes fill a mailbox as well, and those of a larger message need not fit where a small one does", async () => {
  await using server = await startServer({ MAILBOX_BYTES_MAX: "64KiB" });
  await using bob = await Peer.join(server, { acknowledges: false });
  await using alice = await Peer.connect(server);
  for (const n of range(3)) await alice.send(bob.address, n, { bytes: 20_000 });
  await refused(106, alice.send(bob.address, 3, { bytes: 20_000 }));
  await alice.send(bob.address, 4, { bytes: 5_000 });
  await bob.untilNumbers([0, 1, 2, 4]);
  bob.acknowledgeNumber(0);
  await bob.settle();
  await alice.send(bob.address, 5, { bytes: 20_000 });
  await refused(106, alice.send(bob.address, 6, { bytes: 1_000 }));
});

Deno.test("messages with a short ttl make room again when they have expired", async () => {
  const clock = new AdvancingClock();
  await using server = await startServer(TEN, { clock });
  const bob = await Peer.join(server, { now: clock.now() });
  await bob.leave();
  await using alice = await Peer.connect(server);
  for (let round = 0; round < 5; round++) {
    await alice.sendMany(bob.address, range(10), { ttlSeconds: 60 });
    await refused(106, alice.send(bob.address, 10));
    clock.advance(61_000);
  }
  await alice.send(bob.address, 11);
});

Deno.test("a short ttl makes room again also in a mailbox that was found full of long ones before", async () => {
  const clock = new AdvancingClock();
  await using server = await startServer(TEN, { clock });
  await using bob = await Peer.join(server, { acknowledges: false });
  await using alice = await Peer.connect(server);
  await alice.sendMany(bob.address, range(10));
  await refused(106, alice.send(bob.address, 10));
  await bob.untilNumbers(range(10));
  bob.acknowledgeNumber(3);
  await bob.settle();
  await alice.send(bob.address, 11, { ttlSeconds: 30 });
  await refused(106, alice.send(bob.address, 12));
  clock.advance(31_000);
  await alice.send(bob.address, 13);
});

Deno.test("a mailbox that is full of expired messages takes new ones, a stretch of time later or many", async () => {
  for (const hours of [1, 7, 31 * 24]) {
    const clock = new AdvancingClock();
    await using server = await startServer(TEN, { clock });
    const bob = await Peer.join(server);
    await bob.leave();
    const alice = await Peer.connect(server);
    await alice.sendMany(bob.address, range(10), { ttlSeconds: 1_800 });
    await refused(106, alice.send(bob.address, 10));
    clock.advance(hours * HOUR_MS);
    await alice.sendMany(bob.address, range(10, 20));
    await refused(106, alice.send(bob.address, 99));
    await using again = await bob.again(server, { now: clock.now() });
    await again.queueEmpty();
    assert.deepEqual(again.numbers, range(10, 20));
    await alice.leave();
  }
});

Deno.test("what is acknowledged while a full mailbox is looked through does not count any more", async () => {
  const LIMIT = 2_000;
  await using server = await startServer({ MAILBOX_MESSAGES_MAX: `${LIMIT}` });
  await using alice = await Peer.connect(server);
  for (let round = 0; round < 3; round++) {
    const bob = await Peer.join(server);
    await bob.leave();
    await alice.sendMany(bob.address, range(LIMIT));
    const again = await bob.again(server, { acknowledges: false });
    await again.untilNumbers(range(256));
    // A send that finds it full has it looked through, while its owner is already reading.
    const knock = alice.send(bob.address, 5_000, { transient: true }).catch(() => {});
    again.acknowledges = true;
    for (const { sequence } of again.messages.slice()) again.acknowledge(sequence);
    await knock;
    await again.queueEmpty();
    await again.settle();
    await again.leave();
    let fits = 0;
    for (let isFull = false; !isFull && fits < LIMIT * 1.1;) {
      const sends = alice.askTogether(range(200).map((n) => sendWith(bob.address, numbered(n))));
      const accepted = (await Promise.allSettled(sends)).filter(({ status }) =>
        status === "fulfilled"
      ).length;
      fits += accepted;
      isFull = accepted < 200;
    }
    assert.ok(Math.abs(fits - LIMIT) <= LIMIT * 0.02, `${fits} fit into an empty mailbox for ${LIMIT}`);
  }
});

Deno.test("a refused send costs no more in a mailbox with 10,000 messages than in one with 100", async () => {
  const cost = async (limit: number) => {
    await using server = await startServer({ MAILBOX_MESSAGES_MAX: `${limit}` });
    const bob = await Peer.join(server);
    await bob.leave();
    await using alice = await Peer.connect(server);
    await alice.sendMany(bob.address, range(limit));
    // The first one looks the mailbox through.
    await refused(106, alice.send(bob.address, 0));
    const times: number[] = [];
    for (const _ of range(300)) {
      const startedAt = performance.now();
      await refused(106, alice.send(bob.address, 0));
      times.push(performance.now() - startedAt);
    }
    return times.toSorted((a, b) => a - b)[150] ?? 0;
  };
  const [shallow, deep] = [await cost(100), await cost(10_000)];
  assert.ok(deep < shallow * 4 + 1, `median ${deep.toFixed(2)} ms, ${shallow.toFixed(2)} ms with 100`);
});
