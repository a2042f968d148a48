/** Register with Replace: the new prekeys take the place of the pool in one step, against requests that run meanwhile. */
import assert from "node:assert/strict";
import { Peer } from "../support/peer.ts";
import { manyKeys, newId, numberOf, range } from "../support/peer_keys.ts";
import { startServer, type TestServer } from "../support/server.ts";
import { withTwoServers } from "../support/shared_kv.ts";

/** Takes prekeys until none is left. */
async function drain(taker: Peer, userId: string): Promise<number[]> {
  const taken: number[] = [];
  for (;;) {
    const [bundle] = await taker.bundles(userId);
    if (!bundle?.preKey) return taken;
    taken.push(numberOf(bundle.preKey));
  }
}

Deno.test("the new prekeys replace those in the pool, and the Ack counts what was stored and skipped", async () => {
  await using server = await startServer();
  await using bob = await Peer.connect(server);
  await using alice = await Peer.connect(server);
  const { userId } = bob.address;
  assert.deepEqual(await bob.register({ preKeys: manyKeys(10) }), { stored: 10, skipped: 0 });
  assert.deepEqual(await bob.register({ preKeys: manyKeys(10, 5) }), { stored: 5, skipped: 5 });
  await alice.bundles(userId);
  await alice.bundles(userId);
  // 0 and 1 were handed out, 2 and 3 are in the pool, 20 and 21 are new.
  const preKeys = [0, 1, 2, 3, 20, 21].flatMap((n) => manyKeys(1, n));
  assert.deepEqual(await bob.register({ preKeys, replace: true }), { stored: 2, skipped: 4 });
  await using again = await bob.again(server);
  assert.equal((await again.hello()).preKeysStored, 4);
  assert.deepEqual(await drain(alice, userId), [2, 3, 20, 21]);
});

Deno.test("Replace with no prekeys empties the pool; a repeat changes nothing", async () => {
  await using server = await startServer();
  await using bob = await Peer.join(server, { preKeys: manyKeys(20) });
  await using alice = await Peer.connect(server);
  assert.deepEqual(await bob.register({ preKeys: [], replace: true }), { stored: 0, skipped: 0 });
  assert.deepEqual(await bob.register({ preKeys: [], replace: true }), { stored: 0, skipped: 0 });
  assert.deepEqual(await drain(alice, bob.address.userId), []);
  assert.deepEqual(await bob.register({ preKeys: manyKeys(3, 7), replace: true }), { stored: 3, skipped: 0 });
  assert.deepEqual(await bob.register({ preKeys: manyKeys(3, 7), replace: true }), { stored: 0, skipped: 3 });
  assert.deepEqual(await drain(alice, bob.address.userId), [7, 8, 9]);
});

Deno.test("a full pool can be replaced by as many new ones as one Register carries", async () => {
  await using server = await startServer();
  await using bob = await Peer.connect(server);
  for (const first of [0, 200, 400]) {
    await bob.register({ preKeys: manyKeys(first === 400 ? 100 : 200, first) });
  }
  const outcome = await bob.register({ preKeys: manyKeys(200, 1_000), replace: true });
  assert.deepEqual(outcome, { stored: 200, skipped: 0 });
  await using again = await bob.again(server);
  assert.equal((await again.hello()).preKeysStored, 200);
});

async function replaceUnderClaims(a: TestServer, b: TestServer): Promise<void> {
  await using bob = await Peer.join(a, { preKeys: manyKeys(150) });
  const { userId } = bob.address;
  const takers = await Promise.all(range(8).map((i) => Peer.connect(i % 2 === 0 ? a : b)));
  const taken: number[] = [];
  const late: number[] = [];
  let isReplaced = false;
  let finished = 0;
  const claiming = takers.map(async (taker) => {
    for (const _ of range(25)) {
      // What is asked for after the Ack, must not get what was replaced.
      const isLate = isReplaced;
      const [bundle] = await taker.bundles(userId, newId());
      const key = bundle?.preKey ?? null;
      if (key !== null) taken.push(numberOf(key));
      if (key !== null && isLate) late.push(numberOf(key));
      finished++;
    }
  });
  while (finished < 10) await takers[0]?.bundles(crypto.randomUUID()).catch(() => {});
  // Some of the old ones stay, and may be taken at the very moment.
  const preKeys = [...manyKeys(50, 20), ...manyKeys(150, 1_000)];
  for (const _ of range(8)) {
    await bob.register({ preKeys, replace: true });
    isReplaced = true;
  }
  await Promise.all(claiming);
  const { preKeysStored } = await (await bob.again(a)).hello();
  const rest = await drain(takers[0] ?? bob, userId);
  assert.ok(late.length > 0, "some claims came after it");
  assert.equal(preKeysStored, rest.length, "the count is that of the pool");
  assert.deepEqual([...late, ...rest].filter((n) => n >= 70 && n < 1_000), [], "no replaced one came later");
  assert.ok(taken.some((n) => n < 1_000), "some claims came before it");
  assert.equal(new Set([...taken, ...rest]).size, taken.length + rest.length, "each at most once");
  assert.deepEqual(
    [...taken, ...rest].filter((n) => n >= 1_000).toSorted((x, y) => x - y),
    range(150, 1_000),
  );
  for (const taker of takers) await taker.leave();
}

Deno.test("of 200 claims while the pool is replaced, none gets a key twice, or a replaced one after the Ack", async () => {
  await using server = await startServer();
  await replaceUnderClaims(server, server);
});

Deno.test("the same with claims at two servers", async () => {
  await withTwoServers(replaceUnderClaims);
});
