/** Lost: what expired undelivered, or found the mailbox full, is told to the next version 2 connection, once. */
import assert from "node:assert/strict";
import { AdvancingClock } from "../support/advancing_clock.ts";
import { eventually } from "../support/eventually.ts";
import { Peer, refused } from "../support/peer.ts";
import { range } from "../support/peer_keys.ts";
import { startServer, type TestServer } from "../support/server.ts";
import { sharedKv, withTwoServers } from "../support/shared_kv.ts";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** A device that is registered, and offline. */
async function offline(server: TestServer, now?: number): Promise<Peer> {
  const bob = await Peer.join(server, now === undefined ? {} : { now });
  await bob.leave();
  return bob;
}

/** Waits until what was to be written for a user is written. */
async function settled(server: TestServer, { address }: Peer, now?: number): Promise<void> {
  await using someone = await Peer.connect(server, now === undefined ? {} : { now });
  await someone.sendToUser(address.userId, {}, 0, { listedOnly: true });
}

/** What a connection is told that says by its leaving that it was told. */
async function told(server: TestServer, bob: Peer, now?: number): Promise<number> {
  await settled(server, bob, now);
  const again = await bob.again(server, now === undefined ? {} : { now });
  const lost = await again.queueEmpty();
  await again.leave();
  return lost;
}

for (
  const [ttlSeconds, laterMs, when] of [
    [60, 61_000, "a second later"],
    [60, 7 * HOUR_MS, "7 hours later"],
    [60, 2 * DAY_MS, "2 days later"],
    [0, 31 * DAY_MS, "31 days later"],
  ] as const
) {
  Deno.test(`what expired, with a ttl of ${ttlSeconds} s, is told ${when}, and only once`, async () => {
    const clock = new AdvancingClock();
    await using server = await startServer({}, { clock });
    const bob = await offline(server);
    await using alice = await Peer.connect(server);
    await alice.sendMany(bob.address, range(300), { ttlSeconds });
    clock.advance(laterMs);
    await using late = await Peer.connect(server, { now: clock.now() });
    await late.send(bob.address, 1_000);
    await using again = await bob.again(server, { now: clock.now() });
    assert.equal(await again.queueEmpty(), 300);
    assert.deepEqual(again.numbers, [1_000]);
    await again.leave();
    assert.equal(await told(server, bob, clock.now()), 0);
  });
}

Deno.test("some expired and some did not: only those are counted, and the others come", async () => {
  const clock = new AdvancingClock();
  await using server = await startServer({}, { clock });
  const bob = await offline(server);
  await using alice = await Peer.connect(server);
  for (const n of range(40)) await alice.send(bob.address, n, { ttlSeconds: n % 2 === 0 ? 30 : 0 });
  clock.advance(31_000);
  await using again = await bob.again(server);
  assert.equal(await again.queueEmpty(), 20);
  assert.deepEqual(again.numbers, range(40).filter((n) => n % 2 === 1));
});

Deno.test("a count is told again until the client has sent something after it", async () => {
  const clock = new AdvancingClock();
  await using server = await startServer({}, { clock });
  const bob = await offline(server);
  await using alice = await Peer.connect(server);
  await alice.sendMany(bob.address, range(3), { ttlSeconds: 30 });
  clock.advance(31_000);
  for (let round = 0; round < 3; round++) {
    const again = await bob.again(server);
    assert.equal(await again.queueEmpty(), 3);
    await again.vanish();
  }
  const last = await bob.again(server);
  assert.equal(await last.queueEmpty(), 3);
  await last.bundles(crypto.randomUUID()).catch(() => {});
  await last.vanish();
  assert.equal(await told(server, bob), 0);
});

Deno.test("version 1 connections in between don't swallow the count", async () => {
  const clock = new AdvancingClock();
  await using server = await startServer({}, { clock });
  const bob = await offline(server);
  await using alice = await Peer.connect(server);
  await alice.sendMany(bob.address, range(3), { ttlSeconds: 30 });
  clock.advance(31_000);
  await alice.send(bob.address, 9);
  for (let round = 0; round < 2; round++) {
    const old = await bob.again(server, { version: 1 });
    if (round === 0) await old.untilNumbers([9]);
    await old.bundles(bob.address.userId);
    await old.leave();
  }
  clock.advance(7 * HOUR_MS);
  assert.equal(await told(server, bob, clock.now()), 3);
});

Deno.test("transient messages are never counted", async () => {
  const clock = new AdvancingClock();
  await using server = await startServer({ MAILBOX_MESSAGES_MAX: "5" }, { clock });
  const bob = await offline(server);
  await using alice = await Peer.connect(server);
  for (const n of range(5)) await alice.send(bob.address, n, { transient: true });
  await alice.sendMany(bob.address, range(5));
  await refused(106, alice.send(bob.address, 5, { transient: true }));
  await refused(106, alice.sendToUser(bob.address.userId, { 1: 1 }, 5, { transient: true }));
  clock.advance(11_000);
  assert.equal(await told(server, bob), 0);
  await alice.send(bob.address, 6, { transient: true });
  clock.advance(7 * HOUR_MS);
  assert.equal(await told(server, bob, clock.now()), 0);
});

Deno.test("messages that found the mailbox full are counted, of both kinds and both versions", async () => {
  await using server = await startServer({ MAILBOX_MESSAGES_MAX: "5" });
  const bob = await offline(server);
  await using alice = await Peer.connect(server);
  await using old = await Peer.connect(server, { version: 1 });
  await alice.sendMany(bob.address, range(5));
  for (const n of range(3)) await refused(106, alice.send(bob.address, n));
  for (const n of range(2)) await refused(106, old.send(bob.address, n));
  await refused(106, alice.sendToUser(bob.address.userId, { 1: 1 }, 9));
  assert.equal(await told(server, bob), 6);
  assert.equal(await told(server, bob), 0);
});

for (const hours of [1, 7, 13]) {
  Deno.test(`what expired in a mailbox that was full is counted once, ${hours} hours later`, async () => {
    const clock = new AdvancingClock();
    await using server = await startServer({ MAILBOX_MESSAGES_MAX: "10" }, { clock });
    const bob = await offline(server);
    await using alice = await Peer.connect(server);
    await alice.sendMany(bob.address, range(10), { ttlSeconds: 60 });
    clock.advance(hours * HOUR_MS);
    // It looks full, and is looked through.
    await using late = await Peer.connect(server, { now: clock.now() });
    await late.send(bob.address, 10);
    assert.equal(await told(server, bob, clock.now()), 10);
    assert.equal(await told(server, bob, clock.now()), 0);
  });
}

Deno.test("nothing is lost when everything was acknowledged, also with sends while connecting", async () => {
  const clock = new AdvancingClock();
  await using server = await startServer({}, { clock });
  let bob = await Peer.join(server);
  await using alice = await Peer.connect(server);
  let sent = 0;
  let isOver = false;
  const sending = (async () => {
    while (!isOver) await alice.send(bob.address, sent++, { ttlSeconds: sent % 2 === 0 ? 0 : 8 * 3_600 });
  })();
  for (let round = 0; round < 15; round++) {
    await eventually("some messages", () => bob.messages.length > 20);
    if (round % 3 === 0) await bob.leave();
    else if (round % 3 === 1) await bob.vanish();
    bob = await bob.again(server);
    assert.equal(await bob.queueEmpty(), 0, `round ${round}`);
  }
  isOver = true;
  await sending;
  await bob.settle();
  await bob.leave();
  clock.advance(31 * DAY_MS);
  assert.equal(await told(server, bob, clock.now()), 0);
});

Deno.test("a message that was delivered, and is acknowledged after it expired, is not lost", async () => {
  const clock = new AdvancingClock();
  await withTwoServers(async (a) => {
    await using bob = await Peer.join(a, { acknowledges: false });
    await using alice = await Peer.connect(a);
    await alice.send(bob.address, 1, { ttlSeconds: 30 });
    await bob.untilNumbers([1]);
    clock.advance(31_000);
    // What is sent now rings the bell on a database that is shared, and has the mailbox looked at.
    await alice.send(bob.address, 2);
    await bob.untilNumbers([1, 2]);
    await alice.send(bob.address, 3);
    await bob.untilNumbers([1, 2, 3]);
    for (const n of [1, 2, 3]) bob.acknowledgeNumber(n);
    await bob.settle();
    await bob.leave();
    assert.equal(await told(a, bob), 0);
  }, { clock });
});

Deno.test("counts of what was all acknowledged leave nothing in the database", async () => {
  using shared = await sharedKv();
  const clock = new AdvancingClock();
  await using server = await startServer({}, { kv: shared.kv, clock });
  for (const version of [1, 2] as const) {
    const first = await Peer.join(server, { version, now: clock.now() });
    await first.leave();
    for (let day = 0; day < 20; day++) {
      await using bob = await first.again(server, { version, now: clock.now() });
      await using alice = await Peer.connect(server, { now: clock.now() });
      await alice.send(bob.address, day, { ttlSeconds: 3_600 });
      await bob.untilNumbers([day]);
      clock.advance(DAY_MS);
    }
  }
  await using last = await Peer.join(server, { now: clock.now() });
  await last.settle();
  const rows: Deno.KvKey[] = [];
  for await (const { key } of shared.kv.list({ prefix: ["waiting"] })) rows.push(key);
  assert.ok(rows.length <= 4, `${rows.length} counts of 40 stretches that are over`);
});

Deno.test("a connection that comes right after the one that was told is not told again", async () => {
  const clock = new AdvancingClock();
  await using server = await startServer({}, { clock });
  const bob = await offline(server);
  await using alice = await Peer.connect(server);
  const counts: number[] = [];
  for (let round = 0; round < 20; round++) {
    await alice.sendMany(bob.address, range(3), { ttlSeconds: 30 });
    clock.advance(31_000);
    for (let again = 0; again < 2; again++) {
      const next = await bob.again(server);
      counts.push(await next.queueEmpty());
      await next.leave();
    }
  }
  assert.deepEqual(counts, range(40).map((n) => n % 2 === 0 ? 3 : 0));
});

Deno.test("a connection that comes right after a refusal is told of it", async () => {
  await using server = await startServer({ MAILBOX_MESSAGES_MAX: "1" });
  const bob = await offline(server);
  await using alice = await Peer.connect(server);
  await alice.send(bob.address, 1);
  for (let round = 0; round < 20; round++) {
    await refused(106, alice.send(bob.address, 2));
    await using next = await bob.again(server, { acknowledges: false });
    assert.equal(await next.queueEmpty(), round + 1);
  }
});
