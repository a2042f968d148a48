/** A request for prekeys that is repeated with its ClaimID gets the same keys, and takes no new ones. */
import assert from "node:assert/strict";
import type { PreKeyBundle } from "../../lib/protocol/mod.ts";
import { AdvancingClock } from "../support/advancing_clock.ts";
import { Peer, refused } from "../support/peer.ts";
import { manyKeys, newId, numberOf, range } from "../support/peer_keys.ts";
import { startServer, type TestServer } from "../support/server.ts";
import { withTwoServers } from "../support/shared_kv.ts";

/** The numbers of the one-time prekeys, by device; `null` where there was none. */
function keysIn(bundles: readonly PreKeyBundle[]): (number | null)[] {
  return bundles.toSorted((a, b) => a.deviceId - b.deviceId)
    .map(({ preKey }) => preKey === null ? null : numberOf(preKey));
}

/** How many one-time prekeys a device has left. */
async function stored(server: TestServer, device: Peer): Promise<number> {
  await using again = await device.again(server);
  return (await again.hello()).preKeysStored;
}

/** Bob's two devices: prekeys 0 to 19, and 100 to 119. They stay offline. */
async function joinTwo(server: TestServer): Promise<[Peer, Peer]> {
  const phone = await Peer.join(server, { preKeys: manyKeys(20) });
  const other = { ...phone.address, deviceId: 2, registrationId: 2 };
  const tablet = await Peer.join(server, { ...other, preKeys: manyKeys(20, 100) });
  await phone.leave();
  await tablet.leave();
  return [phone, tablet];
}

Deno.test("a claim repeated on the same and on another connection gets the same keys, and no new ones go", async () => {
  await using server = await startServer();
  const [phone, tablet] = await joinTwo(server);
  const { userId } = phone.address;
  await using alice = await Peer.connect(server);
  const claimId = newId();
  assert.deepEqual(keysIn(await alice.bundles(userId, claimId)), [0, 100]);
  assert.deepEqual(keysIn(await alice.bundles(userId, claimId)), [0, 100]);
  await using again = await alice.again(server);
  assert.deepEqual(keysIn(await again.bundles(userId, claimId)), [0, 100]);
  assert.deepEqual([await stored(server, phone), await stored(server, tablet)], [19, 19]);
  assert.deepEqual(keysIn(await again.bundles(userId, newId())), [1, 101]);
  assert.deepEqual(keysIn(await again.bundles(userId)), [2, 102]);
});

Deno.test("a claim repeated at another server of the same database gets the same keys", async () => {
  await withTwoServers(async (a, b) => {
    const [phone] = await joinTwo(a);
    await using alice = await Peer.connect(a);
    const claimId = newId();
    const first = await alice.bundles(phone.address.userId, claimId);
    await using again = await alice.again(b);
    assert.deepEqual(await again.bundles(phone.address.userId, claimId), first);
    assert.equal(await stored(a, phone), 19);
  });
});

Deno.test("a claim made many times at once, at two servers, gets one set of keys", async () => {
  await withTwoServers(async (a, b) => {
    const [phone, tablet] = await joinTwo(a);
    const { userId } = phone.address;
    await using alice = await Peer.connect(a);
    await using carol = await Peer.connect(b);
    const claims = range(5).map(() => newId());
    const asked = await Promise.all(
      claims.map((claimId) =>
        Promise.all([alice, carol].map(async (requester) => {
          const results = await Promise.all(range(4).map(() => requester.bundles(userId, claimId)));
          for (const bundles of results) assert.deepEqual(keysIn(bundles), keysIn(results[0] ?? []));
          return keysIn(results[0] ?? []);
        }))
      ),
    );
    const given = asked.flat(2).toSorted((x, y) => Number(x) - Number(y));
    assert.deepEqual(given, [...range(10), ...range(10, 100)], "ten claims, each key once");
    assert.deepEqual([await stored(a, phone), await stored(b, tablet)], [10, 10]);
  });
});

Deno.test("the same ClaimID of one device at two servers at once takes one key a device", async () => {
  await withTwoServers(async (a, b) => {
    const [phone] = await joinTwo(a);
    const { userId } = phone.address;
    let all = 0;
    for (const round of range(10)) {
      const alice = crypto.randomUUID();
      const claimId = newId();
      const first = await Peer.connect(a, { userId: alice });
      const second = await Peer.connect(b, { userId: alice });
      // The first one may have been replaced by the second: then it is not answered.
      const results =
        (await Promise.allSettled([first.bundles(userId, claimId), second.bundles(userId, claimId)]))
          .flatMap((result) => result.status === "fulfilled" ? [keysIn(result.value)] : []);
      for (const keys of results) assert.deepEqual(keys, [round, 100 + round]);
      all += results.length;
      await first.vanish();
      await second.vanish();
    }
    assert.ok(all >= 10);
    assert.equal(await stored(a, phone), 10);
  });
});

Deno.test("the same ClaimID of another device, or of another user, gets other keys", async () => {
  await using server = await startServer();
  const [phone] = await joinTwo(server);
  const { userId } = phone.address;
  await using alice = await Peer.connect(server);
  await using tablet = await Peer.connect(server, { ...alice.address, deviceId: 2 });
  await using carol = await Peer.connect(server);
  const claimId = newId();
  assert.deepEqual(keysIn(await alice.bundles(userId, claimId)), [0, 100]);
  assert.deepEqual(keysIn(await tablet.bundles(userId, claimId)), [1, 101]);
  assert.deepEqual(keysIn(await carol.bundles(userId, claimId)), [2, 102]);
});

Deno.test("a claim is known for ten minutes; after that it gets new keys", async () => {
  const clock = new AdvancingClock();
  await using server = await startServer({}, { clock });
  const [phone] = await joinTwo(server);
  const { userId } = phone.address;
  await using alice = await Peer.connect(server);
  const claimId = newId();
  assert.deepEqual(keysIn(await alice.bundles(userId, claimId)), [0, 100]);
  clock.advance(9.9 * 60_000);
  assert.deepEqual(keysIn(await alice.bundles(userId, claimId)), [0, 100]);
  clock.advance(0.2 * 60_000);
  assert.deepEqual(keysIn(await alice.bundles(userId, claimId)), [1, 101]);
  assert.deepEqual(keysIn(await alice.bundles(userId, claimId)), [1, 101]);
});

Deno.test("a claim on a device without prekeys gets none, also when there are some by then", async () => {
  await using server = await startServer();
  await using bob = await Peer.join(server, { preKeys: [] });
  const { userId } = bob.address;
  await using alice = await Peer.connect(server);
  const claimId = newId();
  assert.deepEqual(keysIn(await alice.bundles(userId, claimId)), [null]);
  await bob.register({ preKeys: manyKeys(3) });
  assert.deepEqual(keysIn(await alice.bundles(userId, claimId)), [null]);
  assert.deepEqual(keysIn(await alice.bundles(userId, newId())), [0]);
});

Deno.test("a repeated claim covers a device that came meanwhile, and leaves known ones out", async () => {
  await using server = await startServer();
  const [phone, tablet] = await joinTwo(server);
  const { userId } = phone.address;
  await using alice = await Peer.connect(server);
  const claimId = newId();
  assert.deepEqual(keysIn(await alice.bundles(userId, claimId)), [0, 100]);
  await using laptop = await Peer.join(server, { userId, deviceId: 3, preKeys: manyKeys(20, 200) });
  assert.deepEqual(keysIn(await alice.bundles(userId, claimId)), [0, 100, 200]);
  assert.deepEqual(keysIn(await alice.bundles(userId, claimId, [1, 3])), [100]);
  assert.deepEqual(await alice.bundles(userId, claimId, [1, 2, 3]), []);
  await laptop.ask({ type: "unregister", deviceId: tablet.address.deviceId });
  assert.deepEqual(keysIn(await alice.bundles(userId, claimId)), [0, 200]);
});

Deno.test("repeats of a claim cost nothing of the budget for a device", async () => {
  await using server = await startServer({ RATE_PREKEYS: "0.001/s:2" });
  const [phone] = await joinTwo(server);
  const { userId } = phone.address;
  await using alice = await Peer.connect(server);
  const [claimId, second] = [newId(), newId()];
  for (let repeat = 0; repeat < 5; repeat++) {
    assert.deepEqual(keysIn(await alice.bundles(userId, claimId)), [0, 100]);
  }
  assert.deepEqual(keysIn(await alice.bundles(userId, second)), [1, 101]);
  const { retryAfterMs } = await refused(105, alice.bundles(userId, newId()));
  assert.ok(retryAfterMs !== undefined && retryAfterMs > 0);
  assert.deepEqual(keysIn(await alice.bundles(userId, second)), [1, 101]);
});
