/** Two servers fill one mailbox at the same time: its cap, in messages and in bytes, holds within two percent. */
import assert from "node:assert/strict";
import { eventually } from "../support/eventually.ts";
import { Peer } from "../support/peer.ts";
import { numbered, range, sendWith } from "../support/peer_keys.ts";
import type { TestServer } from "../support/server.ts";
import { withTwoServers } from "../support/shared_kv.ts";

/** Sends from both servers, some at a time, until everybody is refused; tells how many were accepted. */
async function fill(
  servers: readonly TestServer[],
  bob: Peer,
  bytes: number,
  together: number,
): Promise<number> {
  const senders = await Promise.all([...servers, ...servers].map((server) => Peer.connect(server)));
  let accepted = 0;
  await Promise.all(senders.map(async (sender) => {
    for (let refusals = 0; refusals === 0;) {
      const sends = range(together).map((n) => sendWith(bob.address, numbered(n), { bytes }));
      const results = await Promise.allSettled(sender.askTogether(sends));
      refusals = results.filter(({ status }) => status === "rejected").length;
      accepted += results.length - refusals;
    }
  }));
  for (const sender of senders) await sender.leave();
  return accepted;
}

/** What is in the only mailbox of the database. */
async function countInbox(kv: Deno.Kv): Promise<number> {
  let rows = 0;
  for await (const _ of kv.list({ prefix: ["inbox"] }, { batchSize: 500 })) rows++;
  return rows;
}

for (const together of [1, 20, 200]) {
  Deno.test(`the cap on messages, filled ${together} at a time`, async () => {
    const LIMIT = 4_000;
    await withTwoServers(async (a, b, kv) => {
      const bob = await Peer.join(a);
      await bob.leave();
      const accepted = await fill([a, b], bob, 4, together);
      assert.equal(await countInbox(kv), accepted);
      assert.ok(Math.abs(accepted - LIMIT) <= LIMIT * 0.02, `${accepted} fit, ${LIMIT} should`);
    }, { settings: { MAILBOX_MESSAGES_MAX: `${LIMIT}` } });
  });
}

Deno.test("the cap on bytes", async () => {
  const BYTES = 4 * 1_024;
  const LIMIT = 8 * 1_024 * 1_024 / BYTES;
  await withTwoServers(async (a, b, kv) => {
    const bob = await Peer.join(a);
    await bob.leave();
    const accepted = await fill([a, b], bob, BYTES, 10);
    assert.equal(await countInbox(kv), accepted);
    assert.ok(Math.abs(accepted - LIMIT) <= LIMIT * 0.02, `${accepted} fit, ${LIMIT} should`);
  }, { settings: { MAILBOX_BYTES_MAX: "8MiB" } });
});

Deno.test("what is acknowledged at one server makes room at the other", async () => {
  await withTwoServers(async (a, b) => {
    const bob = await Peer.join(a);
    await bob.leave();
    await fill([a, b], bob, 4, 10);
    await using again = await bob.again(a);
    await again.queueEmpty();
    await again.settle();
    await using alice = await Peer.connect(b);
    await eventually("there is room", () => alice.send(bob.address, 1).then(() => true, () => false), 3_000);
    await alice.sendMany(bob.address, range(80));
  }, { settings: { MAILBOX_MESSAGES_MAX: "100" } });
});
