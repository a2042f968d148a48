/** After kill -9, sends and claims that are repeated are carried out once, whether or not they had been answered. */
import assert from "node:assert/strict";
import type { Accepted } from "../../lib/protocol/mod.ts";
import { Peer, refused } from "../support/peer.ts";
import { copyFor, newId, numbered, range, sendWith } from "../support/peer_keys.ts";
import { ProcessServer } from "../support/process_server.ts";

/** What an answer says of a send; `null` if none came. */
async function outcomeOf(answer: Promise<unknown>): Promise<Accepted | null> {
  const messages: unknown = await answer.catch(() => null);
  if (!Array.isArray(messages)) return null;
  return messages[0].accepted;
}

Deno.test("sends that a kill -9 may have swallowed are repeated: each is stored once, with the Ack it had", async () => {
  await using server = await ProcessServer.start();
  let bob = await Peer.join(server);
  await bob.leave();
  let total = 0;
  for (const killAfter of [0, 1, 40, 150]) {
    let alice = await Peer.connect(server);
    const ids = range(200).map(() => newId());
    const toSend = (n: number, retry: boolean) => {
      const how = { messageId: ids[n] ?? newId(), retry };
      const number = numbered(total + n);
      return n % 2 === 0
        ? sendWith(bob.address, number, how)
        : copyFor(bob.address.userId, { 1: 1 }, number, how);
    };
    const answers = alice.askTogether(range(200).map((n) => toSend(n, false)));
    const outcomes = Promise.all(answers.map(outcomeOf));
    // Killed before anything is answered, or while the rest is under way.
    if (killAfter > 0) await answers[killAfter - 1];
    await server.kill();
    const first = await outcomes;
    await server.start();
    alice = await alice.again(server);
    const repeated = await Promise.all(
      alice.askTogether(range(200).map((n) => toSend(n, true))).map(outcomeOf),
    );
    for (const n of range(200)) {
      assert.ok(repeated[n]);
      if (first[n] !== null) assert.deepEqual(repeated[n], first[n]);
    }
    total += 200;
    bob = await bob.again(server);
    assert.equal(await bob.queueEmpty(), 0);
    assert.deepEqual(bob.numbers.toSorted((a, b) => a - b), range(200, total - 200));
    await bob.settle();
    await bob.leave();
    await alice.leave();
  }
});

Deno.test("a claim repeated after kill -9 gets the same keys, and the pool shrinks once", async () => {
  await using server = await ProcessServer.start();
  const preKeys = range(30).map((n) => numbered(n));
  let bob = await Peer.join(server, { preKeys });
  let tablet = await Peer.join(server, { ...bob.address, deviceId: 2, registrationId: 2, preKeys });
  const { userId } = bob.address;
  for (const [round, isAnswered] of [true, false, false].entries()) {
    let alice = await Peer.connect(server);
    const claimId = newId();
    const claim = alice.bundles(userId, claimId).catch(() => null);
    if (isAnswered) assert.ok(await claim);
    // Once anything behind it was answered, the claim is under way or done.
    else await alice.bundles(crypto.randomUUID()).catch(() => {});
    await server.kill();
    const first = await claim;
    await server.start();
    alice = await alice.again(server);
    const second = await alice.bundles(userId, claimId);
    assert.equal(second.length, 2);
    if (first !== null) assert.deepEqual(second, first);
    bob = await bob.again(server);
    tablet = await tablet.again(server);
    assert.equal((await bob.hello()).preKeysStored, 29 - round);
    assert.equal((await tablet.hello()).preKeysStored, 29 - round);
    for (const peer of [alice, bob, tablet]) await peer.leave();
  }
});

Deno.test("the room in a mailbox is known exactly after kill -9", async () => {
  const LIMIT = 500;
  await using server = await ProcessServer.start({ MAILBOX_MESSAGES_MAX: `${LIMIT}` });
  let bob = await Peer.join(server, { acknowledges: false });
  let alice = await Peer.connect(server);
  await alice.sendMany(bob.address, range(250));
  await bob.untilNumbers(range(250));
  for (const n of range(60)) bob.acknowledgeNumber(n * 4);
  const under = alice.askTogether(range(200, 250).map((n) => sendWith(bob.address, numbered(n))));
  const ended = Promise.allSettled(under);
  await under[20];
  await server.kill();
  await ended;
  await server.start();
  alice = await alice.again(server);
  bob = await bob.again(server, { acknowledges: false });
  // Knock until it is full; what is there then, is exactly as much as fits.
  let more = 0;
  for (; more < LIMIT; more++) {
    const isFull = await alice.send(bob.address, 1_000 + more).then(() => false, (error) => {
      return refused(106, Promise.reject(error)).then(() => true);
    });
    if (isFull) break;
  }
  bob.acknowledges = true;
  for (const { sequence } of bob.messages) bob.acknowledge(sequence);
  await bob.queueEmpty();
  assert.equal(new Set(bob.numbers).size, LIMIT);
  await alice.leave();
  await bob.leave();
});
