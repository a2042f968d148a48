/** Poison: a message that a client can never deal with keeps no other from coming, and is neither lost nor hidden. */
import assert from "node:assert/strict";
import { AdvancingClock } from "../support/advancing_clock.ts";
import { eventually } from "../support/eventually.ts";
import { Peer } from "../support/peer.ts";
import { range } from "../support/peer_keys.ts";
import { startServer, type TestServer } from "../support/server.ts";
import { sharedKv } from "../support/shared_kv.ts";

/** Connections on which a message may be the oldest and not be dealt with. */
const ATTEMPTS = 10;

/** What a server counts. */
async function metric(server: TestServer, name: string): Promise<number> {
  const text = await (await fetch(`${server.httpUrl}/metrics`)).text();
  return Number(new RegExp(`^messaging_${name}_total (\\d+)$`, "m").exec(text)?.[1]);
}

/** The value of the row that counts, as a string: it changes with each count, and goes with the last one. */
async function countOf(kv: Deno.Kv, { address: { userId, deviceId } }: Peer): Promise<string> {
  const [row] = await Array.fromAsync(
    kv.list<Uint8Array>({ prefix: ["inbox", userId, deviceId] }, { limit: 1 }),
  );
  const last = row?.key.at(-1);
  return row !== undefined && last instanceof Uint8Array && last.length === 0 ? row.value.toHex() : "";
}

for (const version of [1, 2] as const) {
  for (const how of ["never answers", "refuses"] as const) {
    Deno.test(`version ${version}: a message that a client ${how} is behind the others after ten connections, also over a restart`, async () => {
      using shared = await sharedKv();
      let server = await startServer({}, { kv: shared.kv });
      const bob = await Peer.join(server, { version });
      await bob.leave();
      let sent = 1;
      {
        await using alice = await Peer.connect(server);
        await alice.send(bob.address, 0);
      }
      for (let connection = 1; connection <= ATTEMPTS; connection++) {
        if (connection === 5) server = await server.restart();
        await using alice = await Peer.connect(server);
        const good = [sent++, sent++];
        await alice.sendMany(bob.address, good);
        const again = await bob.again(server, { version, acknowledges: false });
        await again.untilNumbers([0, ...good]);
        if (how === "refuses") again.refuseNumber(0);
        for (const n of good) again.acknowledgeNumber(n);
        assert.equal(await metric(server, "messages_set_aside"), 0);
        const before = await countOf(shared.kv, bob);
        await again.vanish();
        await eventually("it is counted", async () => await countOf(shared.kv, bob) !== before);
      }
      await eventually("it is moved", async () => await metric(server, "messages_set_aside") === 1);
      await using alice = await Peer.connect(server);
      await alice.sendMany(bob.address, [100, 101]);
      const after = await bob.again(server, { version, acknowledges: false });
      await after.untilNumbers([100, 101, 0]);
      for (const n of [100, 101]) after.acknowledgeNumber(n);
      await alice.send(bob.address, 102);
      await after.untilNumbers([100, 101, 0, 102]);
      after.acknowledgeNumber(102);
      await after.vanish();
      const last = await bob.again(server, { version });
      await last.untilNumbers([0]);
      await last.leave();
      const none = await bob.again(server, { version });
      await alice.send(bob.address, 103);
      await none.untilNumbers([103]);
      await none.leave();
      await server[Symbol.asyncDispose]();
    });
  }
}

Deno.test("a phone that connects, receives and drops hides nothing, however often it does", async () => {
  using shared = await sharedKv();
  await using server = await startServer({}, { kv: shared.kv });
  const bob = await Peer.join(server);
  await bob.leave();
  await using alice = await Peer.connect(server);
  await alice.sendMany(bob.address, range(20));
  for (let connection = 0; connection < 25; connection++) {
    const again = await bob.again(server, { acknowledges: false });
    await again.untilNumbers(range(20));
    await again.vanish();
  }
  // It has time for some of them at last, in their order, and drops before the rest.
  for (let first = 0; first < 18; first += 2) {
    const again = await bob.again(server, { acknowledges: false });
    await again.untilNumbers(range(20).slice(first));
    for (const n of [first, first + 1]) again.acknowledgeNumber(n);
    await again.settle();
    await again.vanish();
  }
  await using last = await bob.again(server);
  await last.untilNumbers([18, 19]);
  assert.equal(await countOf(shared.kv, bob), "", "nothing was ever counted");
  assert.equal(await metric(server, "messages_set_aside"), 0);
});

Deno.test("a message that is late, and acknowledged before it was moved, was only counted", async () => {
  using shared = await sharedKv();
  await using server = await startServer({}, { kv: shared.kv });
  const bob = await Peer.join(server);
  await bob.leave();
  await using alice = await Peer.connect(server);
  await alice.send(bob.address, 0);
  for (let connection = 1; connection < ATTEMPTS; connection++) {
    await alice.send(bob.address, connection);
    const again = await bob.again(server, { acknowledges: false });
    await again.untilNumbers([0, connection]);
    again.acknowledgeNumber(connection);
    const before = await countOf(shared.kv, bob);
    await again.vanish();
    await eventually("it is counted", async () => await countOf(shared.kv, bob) !== before);
  }
  const last = await bob.again(server);
  await last.untilNumbers([0]);
  await last.settle();
  await last.leave();
  assert.equal(await countOf(shared.kv, bob), "", "its count went with it");
  await using none = await bob.again(server);
  await none.queueEmpty();
  assert.deepEqual(none.numbers, []);
});

for (const version of [1, 2] as const) {
  Deno.test(`version ${version}: 300 refused messages at the head keep no other from coming`, async () => {
    await using server = await startServer();
    const bob = await Peer.join(server, { version });
    await bob.leave();
    await using alice = await Peer.connect(server);
    await alice.sendMany(bob.address, range(400));
    for (let connection = 0; connection < 2; connection++) {
      await using again = await bob.again(server, { version, acknowledges: false });
      for (let refused = 0; refused < 300;) {
        await eventually("more messages", () => again.messages.length > refused);
        const next = again.numbers.slice(refused, 300);
        for (const n of next) again.refuseNumber(n);
        refused += next.length;
      }
      // The rest fits the window, so it need not be acknowledged.
      await again.untilNumbers(range(400));
    }
    assert.equal(await metric(server, "messages_refused"), 600);
  });
}

Deno.test("what was moved behind, and expires there, is told as lost once, and never comes", async () => {
  const clock = new AdvancingClock();
  await using server = await startServer({}, { clock });
  const bob = await Peer.join(server, { now: clock.now() });
  await bob.leave();
  await using alice = await Peer.connect(server, { now: clock.now() });
  await alice.send(bob.address, 0, { ttlSeconds: 3_600 });
  await eventually("it is moved", async () => {
    const again = await bob.again(server, { acknowledges: false, now: clock.now() });
    await again.untilNumbers([0]);
    again.refuseNumber(0);
    await again.settle();
    await again.vanish();
    return await metric(server, "messages_set_aside") === 1;
  });
  for (const [laterMs, lost] of [[3_000_000, 0], [600_000, 1], [0, 0], [7 * 3_600_000, 0]] as const) {
    clock.advance(laterMs);
    const again = await bob.again(server, { acknowledges: false, now: clock.now() });
    assert.equal(await again.queueEmpty(), lost);
    assert.deepEqual(
      again.numbers,
      laterMs === 3_000_000 ? [0] : [],
      "it comes before QueueEmpty, or not at all",
    );
    await again.settle();
    await again.vanish();
  }
});
