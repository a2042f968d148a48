/** Transient messages and short lives: delivered to who is there, and never after they have expired. */
import assert from "node:assert/strict";
import { AdvancingClock } from "../support/advancing_clock.ts";
import { Peer } from "../support/peer.ts";
import { range } from "../support/peer_keys.ts";
import { startServer } from "../support/server.ts";
import { withTwoServers } from "../support/shared_kv.ts";

Deno.test("a transient message reaches who is connected, in order with the others", async () => {
  await using server = await startServer();
  await using bob = await Peer.join(server);
  await using alice = await Peer.connect(server);
  const sends = range(30).map((n) => alice.send(bob.address, n, { transient: n % 2 === 0 }));
  await Promise.all([...sends, alice.sendToUser(bob.address.userId, { 1: 1 }, 30, { transient: true })]);
  await bob.untilNumbers(range(31));
});

Deno.test("a transient message reaches who is connected to another server", async () => {
  await withTwoServers(async (a, b) => {
    await using bob = await Peer.join(b);
    await using alice = await Peer.connect(a);
    for (const n of range(10)) await alice.send(bob.address, n, { transient: true });
    await bob.untilNumbers(range(10));
  });
});

for (
  const [what, how, livesMs] of [
    ["a transient message", { transient: true }, 10_000],
    ["a transient message with a ttl of a day", { transient: true, ttlSeconds: 86_400 }, 10_000],
    ["a transient message with a ttl of 3 s", { transient: true, ttlSeconds: 3 }, 3_000],
    ["a message with a ttl of 3 s", { ttlSeconds: 3 }, 3_000],
    ["a message with a ttl above the retention of a day", { ttlSeconds: 0xffff_ffff }, 86_400_000],
    ["a message without a ttl", {}, 86_400_000],
  ] as const
) {
  Deno.test(`${what} is delivered within ${livesMs / 1_000} s, and not later`, async () => {
    const clock = new AdvancingClock();
    await using server = await startServer({ RETENTION: "1d" }, { clock });
    const bob = await Peer.join(server);
    await bob.leave();
    const alice = await Peer.connect(server);
    await alice.send(bob.address, 1, how);
    await alice.sendToUser(bob.address.userId, { 1: 1 }, 2, how);
    // Less than its life by what the sends may have taken.
    clock.advance(livesMs - 1_500);
    const early = await bob.again(server, { acknowledges: false, now: clock.now() });
    await early.queueEmpty();
    assert.deepEqual(early.numbers, [1, 2]);
    await early.vanish();
    clock.advance(1_500);
    await using late = await bob.again(server, { now: clock.now() });
    await late.queueEmpty();
    assert.deepEqual(late.numbers, []);
    await alice.vanish();
  });
}

Deno.test("a message that expired while it waited for room in the window is not delivered", async () => {
  const clock = new AdvancingClock();
  await using server = await startServer({}, { clock });
  await using bob = await Peer.join(server, { acknowledges: false });
  await using alice = await Peer.connect(server);
  await alice.sendMany(bob.address, range(256));
  await bob.untilNumbers(range(256));
  await alice.sendMany(bob.address, range(40, 256), { ttlSeconds: 5 });
  await alice.send(bob.address, 999);
  clock.advance(6_000);
  for (const { sequence } of bob.messages.slice()) bob.acknowledge(sequence);
  await bob.untilNumbers([...range(256), 999]);
});
