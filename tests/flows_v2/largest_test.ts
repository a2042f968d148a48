/** What is accepted can be delivered: the largest ciphertext, from each version to each, at once and out of storage. */
import assert from "node:assert/strict";
import { DEFAULTS } from "../../lib/limits.ts";
import { eventually } from "../support/eventually.ts";
import { Peer, refused } from "../support/peer.ts";
import { numberOf, range } from "../support/peer_keys.ts";
import { startServer } from "../support/server.ts";

const LARGEST = { bytes: DEFAULTS.messageBytesMax };

/** As many of the largest as fill a window and a bit. */
const MANY = 20;

/** Sends them, each in a WebSocket message of its own: together they are too large for one. */
const sendLargest = (from: Peer, to: Peer) =>
  Promise.all(range(MANY).map((n) => from.send(to.address, n, LARGEST)));

const seen = (peer: Peer) =>
  peer.messages.map(({ ciphertext }) => `${numberOf(ciphertext)}: ${ciphertext.length} bytes`);
const wanted = range(MANY).map((n) => `${n}: ${LARGEST.bytes} bytes`);

for (const from of [1, 2] as const) {
  for (const to of [1, 2] as const) {
    Deno.test(`the largest messages of version ${from} reach version ${to}, and do not come again`, async () => {
      await using server = await startServer();
      await using alice = await Peer.join(server, { version: from });
      const bob = await Peer.join(server, { version: to });
      await sendLargest(alice, bob);
      await eventually("all are there", () => bob.messages.length >= MANY);
      assert.deepEqual(seen(bob), wanted);
      await bob.leave();
      await sendLargest(alice, bob);
      const again = await bob.again(server);
      await eventually("all are there", () => again.messages.length >= MANY);
      assert.deepEqual(seen(again), wanted);
      await again.leave();
      await using last = await bob.again(server, { version: 2 });
      assert.equal(await last.queueEmpty(), 0);
      assert.deepEqual(last.numbers, []);
    });
  }
}

Deno.test("the largest copies for all devices of a user reach devices of both versions", async () => {
  await using server = await startServer();
  await using alice = await Peer.join(server);
  const old = await Peer.join(server, { version: 1 });
  const { userId } = old.address;
  const current = await Peer.join(server, { userId, deviceId: 2 });
  await alice.sendToUser(userId, { 1: 1, 2: 1 }, 7, LARGEST);
  for (const device of [old, current]) {
    await eventually("it is there", () => device.messages.length > 0);
    assert.deepEqual(seen(device), [`7: ${LARGEST.bytes} bytes`]);
    await device.leave();
  }
  await refused(104, alice.sendToUser(userId, { 1: 1, 2: 1 }, 8, { bytes: LARGEST.bytes + 1 }));
});
