/** What the server writes beside devices and messages does not grow for ever: it expires, or goes with its device. */
import assert from "node:assert/strict";
import { TIMES } from "../../lib/limits.ts";
import { AdvancingClock } from "../support/advancing_clock.ts";
import { eventually } from "../support/eventually.ts";
import { Peer } from "../support/peer.ts";
import { newId, range } from "../support/peer_keys.ts";
import { startServer } from "../support/server.ts";
import { sharedKv } from "../support/shared_kv.ts";

/** What every database has, however old: up to when ids are reserved. */
const BASE = ["clock"];

/** The longest that anything beside messages is kept by the database itself. */
const DAY_MS = 86_400_000;

const nameOf = (key: Deno.KvKey) => key.map(String).join(" ");

/** A database that notes for how long each row that is set is kept. */
async function watchedKv() {
  const shared = await sharedKv();
  const { kv } = shared;
  const expiries = new Map<string, number | undefined>();
  const open = kv.atomic.bind(kv);
  kv.atomic = () => {
    const atomic = open();
    const set = atomic.set.bind(atomic);
    atomic.set = (key, value, options) => {
      expiries.set(nameOf(key), options?.expireIn);
      set(key, value, options);
      return atomic;
    };
    return atomic;
  };
  /** The rows that the database will never collect by itself. */
  const lasting = async () => {
    const rows: string[] = [];
    for await (const { key } of kv.list({ prefix: [] })) {
      if (expiries.get(nameOf(key)) === undefined) rows.push(nameOf(key));
    }
    return rows;
  };
  return { kv, expiries, lasting, [Symbol.dispose]: () => shared[Symbol.dispose]() };
}

Deno.test("when all devices are gone, everything that is left in the database has an expiry", async () => {
  using watched = await watchedKv();
  const clock = new AdvancingClock();
  await using server = await startServer({ MAILBOX_MESSAGES_MAX: "5" }, { kv: watched.kv, clock });
  for (const version of [1, 2] as const) {
    await using alice = await Peer.join(server, { version });
    const bob = await Peer.join(server, { version });
    await alice.sendMany(bob.address, range(3));
    await bob.untilNumbers(range(3));
    await bob.leave();
    await alice.sendMany(bob.address, range(5), { ttlSeconds: 60 }); // his mailbox is full …
    await alice.send(bob.address, 9).catch(() => {}); // … so that one is refused, and counted as lost
    const messageId = newId();
    for (const retry of [false, true]) await alice.send(alice.address, 1, { messageId, retry });
    for (let n = 0; n < 14; n++) await alice.bundles(bob.address.userId, newId()); // more than there are
    const again = await bob.again(server, { version });
    await again.register({ registrationId: 2 }); // a new installation: the old one is left to the janitor
    await alice.send(bob.address, 2);
    await again.ask({ type: "unregister" });
    await again.leave();
    await alice.ask({ type: "unregister" });
  }
  assert.ok((await watched.lasting()).length > 40, "there is something to be cleared away");
  clock.advance(TIMES.trashAgeMs); // beyond what may still be under way
  await eventually(
    "the janitor has been everywhere",
    async () => (await watched.lasting()).length <= 2,
    30_000,
  );
  assert.deepEqual(await watched.lasting(), BASE);
  const kinds = new Set(
    [...watched.expiries].filter(([, ms]) => ms !== undefined).map(([key]) => key.split(" ")[0]),
  );
  for (const kind of ["accepted", "claim", "session"]) {
    assert.ok(kinds.has(kind), `no row ${kind} was written`);
  }
  for (const [key, ms] of watched.expiries) {
    if (ms !== undefined && !key.startsWith("inbox")) assert.ok(ms <= DAY_MS, `${key} is kept for ${ms} ms`);
  }
});
