/**
 * Tests of who has an address, and of its bells.
 * @module
 */
import assert from "node:assert/strict";
import type { Address } from "../../lib/address.ts";
import { sessionKey, wakeKey } from "../../lib/store/keys.ts";
import type { Store } from "../../lib/store/mod.ts";
import { eventually } from "../support/eventually.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { newAddress, newBytes, newMessage, openStore, write } from "./open_store.ts";
import { listen, Listening, settle } from "./listening.ts";
import { Gate, ScriptedKv } from "./scripted_kv.ts";

/** How many messages there are to be read. */
async function countRows(store: Store, address: Address): Promise<number> {
  let count = 0;
  await store.mailboxes.scan(address, "epoch", () => void count++);
  return count;
}

Deno.test("claim() writes the connection's id, and tells the version of the record", async () => {
  await using store = await openStore({ isShared: true });
  const address = newAddress();
  const id = newBytes();
  const version = await store.sessions.claim(address, id);
  const entry = await store.database.get(sessionKey(address));
  assert.deepEqual([entry?.value, entry?.versionstamp], [id, version]);
});

Deno.test("claim() rejects when storage does not answer", async () => {
  await using scripted = await ScriptedKv.open();
  await using store = await openStore({ isShared: true, kv: scripted.kv });
  scripted.onCommit = () => Promise.reject(new TypeError("reset"));
  await assert.rejects(store.sessions.claim(newAddress(), newBytes()), { error: "unavailable" });
});

Deno.test("claim() of a connection that is gone while it waits does not take the address from a newer one", async () => {
  await using scripted = await ScriptedKv.open();
  await using store = await openStore({ isShared: true, kv: scripted.kv });
  const address = newAddress();
  const newer = newBytes();
  const gate = new Gate();
  scripted.onCommit = async (commit) => {
    await gate.passed;
    return await commit.run();
  };
  const busy = write(store, address.userId, { key: ["busy"], change: newBytes() });
  await Promise.resolve(); // the lane has a commit under way: what comes now waits
  const gone = new AbortController();
  const late = store.sessions.claim(address, newBytes(), gone.signal);
  await scripted.real.set(sessionKey(address), newer); // at another process
  gone.abort();
  gate.open();
  await Promise.all([busy, late]);
  assert.deepEqual((await scripted.real.get(sessionKey(address))).value, newer);
});

Deno.test("watch() hears a wake that was rung while nobody listened, and every later one", async () => {
  await using store = await openStore({ isShared: true });
  const address = newAddress();
  store.sessions.ring(address, "wake");
  await using listening = await listen(store, address);
  await eventually("the first ring", () => listening.heard.woken === 1);
  store.sessions.ring(address, "wake");
  await eventually("the second ring", () => listening.heard.woken === 2);
  assert.deepEqual(listening.heard, { woken: 2, low: 0, replaced: 0, unregistered: 0 });
});

Deno.test("watch() hears of low prekeys once they are rung for, not of a ring from before", async () => {
  await using store = await openStore({ isShared: true });
  const address = newAddress();
  store.sessions.ring(address, "low");
  await using listening = await listen(store, address);
  await settle(store, address, listening);
  assert.equal(listening.heard.low, 0);
  store.sessions.ring(address, "low");
  await eventually("the ring", () => listening.heard.low === 1);
});

Deno.test("watch() hears only the bells of its own address", async () => {
  await using store = await openStore({ isShared: true });
  const address = newAddress(1);
  await using listening = await listen(store, address);
  for (const neighbour of [{ ...address, deviceId: 2 }, newAddress(1)]) {
    store.sessions.ring(neighbour, "low");
    await store.sessions.claim(neighbour, newBytes());
  }
  await settle(store, address, listening);
  assert.deepEqual([listening.heard.low, listening.heard.replaced], [0, 0]);
});

Deno.test("watch() is replaced by a newer connection, not by its own renewal or an older one", async () => {
  await using store = await openStore({ isShared: true });
  const address = newAddress();
  const older = newBytes();
  await store.sessions.claim(address, older);
  const id = newBytes();
  const version = await store.sessions.claim(address, id);
  await using listening = new Listening().begin(store, address, id, version);
  await settle(store, address, listening);
  await store.sessions.claim(address, id);
  await settle(store, address, listening);
  assert.equal(listening.heard.replaced, 0, "its own");
  await store.sessions.claim(address, newBytes());
  await eventually("it is replaced", () => listening.heard.replaced > 0);
});

Deno.test("watch() that begins after it was replaced learns so at once, and only then", async () => {
  await using store = await openStore({ isShared: true });
  const address = newAddress();
  const [first, second] = [newBytes(), newBytes()];
  const firstVersion = await store.sessions.claim(address, first);
  const secondVersion = await store.sessions.claim(address, second);
  await using winner = new Listening().begin(store, address, second, secondVersion);
  await using loser = new Listening().begin(store, address, first, firstVersion);
  await eventually("the first is replaced", () => loser.heard.replaced > 0);
  await settle(store, address, winner);
  assert.equal(winner.heard.replaced, 0);
  // Somebody whose claim was older than ours, whatever id it has, does not count.
  await using newest = new Listening().begin(store, address, newBytes(), secondVersion);
  await settle(store, address, newest);
  assert.equal(newest.heard.replaced, 0);
});

Deno.test("watch() learns that its device was unregistered by another one, then or before", async () => {
  await using store = await openStore({ isShared: true });
  const address = newAddress();
  const id = newBytes();
  const version = await store.sessions.claim(address, id);
  await using before = new Listening().begin(store, address, id, version);
  await settle(store, address, before);
  assert.equal(before.heard.unregistered, 0);
  await store.sessions.end(address);
  await eventually("it is told", () => before.heard.unregistered > 0);
  await using after = new Listening().begin(store, address, id, version);
  await eventually("who begins later is told too", () => after.heard.unregistered > 0);
  assert.deepEqual([before.heard.replaced, after.heard.replaced], [0, 0]);
  await using next = await listen(store, address);
  await settle(store, address, next);
  assert.deepEqual(
    [next.heard.unregistered, next.heard.replaced],
    [0, 0],
    "a later connection is left alone",
  );
});

Deno.test("watch() that breaks is begun again, and misses nothing", async () => {
  await using scripted = await ScriptedKv.open();
  const clock = new ManualClock();
  await using store = await openStore({ isShared: true, kv: scripted.kv, clock });
  const address = newAddress();
  scripted.brokenWatches = 3;
  await using listening = await listen(store, address);
  store.sessions.ring(address, "wake");
  await eventually("the bell is heard", () => (clock.advance(1_000), listening.heard.woken === 1));
  assert.equal(scripted.brokenWatches, 0);
});

Deno.test("ring() writes once what is rung many times before it is written", async () => {
  await using scripted = await ScriptedKv.open();
  await using store = await openStore({ isShared: true, kv: scripted.kv });
  const address = newAddress();
  const gate = new Gate();
  scripted.onCommit = async (commit) => (await gate.passed, await commit.run());
  const first = write(store, address.userId, { key: ["first"], change: newBytes() });
  await Promise.resolve();
  for (let i = 0; i < 100; i++) store.sessions.ring(address, "wake");
  store.sessions.ring(address, "low");
  gate.open();
  await first;
  await eventually("all is written", () => store.writer.isIdle);
  const wake = wakeKey(address).join("/");
  const mutations = () => scripted.mutations.map((keys) => keys.filter((key) => !key.startsWith("lane/")));
  assert.deepEqual(mutations().slice(-2), [["first"], [wake, `low/${address.userId}/1`]]);
  store.sessions.ring(address, "wake");
  await eventually("all is written", () => store.writer.isIdle);
  assert.deepEqual(mutations().at(-1), [wake], "the next ring is written again");
});

Deno.test("ring() rings again after a ring that storage did not take", async () => {
  await using scripted = await ScriptedKv.open();
  await using store = await openStore({ isShared: true, kv: scripted.kv });
  const address = newAddress();
  scripted.onCommit = () => Promise.reject(new TypeError("reset"));
  store.sessions.ring(address, "wake");
  await eventually("it failed", () => store.writer.isIdle);
  scripted.onCommit = (commit) => commit.run();
  store.sessions.ring(address, "wake");
  await eventually("it is written", async () => (await store.database.get(wakeKey(address))) !== null);
});

Deno.test("ring() after each message leaves none that its listener does not find", async () => {
  await using scripted = await ScriptedKv.open();
  await using store = await openStore({ isShared: true, kv: scripted.kv });
  const other = await openStore({ isShared: true, kv: scripted.real });
  const address = newAddress();
  scripted.onCommit = async (commit) => {
    const result = await commit.run();
    if (Math.random() < 0.3) await new Promise((resolve) => setTimeout(resolve, 0));
    return result;
  };
  let found = 0;
  let looking = Promise.resolve();
  // Another process: it looks only when it is woken.
  let isOver = false;
  const look = async () => {
    if (!isOver) found = await countRows(other, address);
  };
  await using _listening = new Listening(() => void (looking = looking.then(look)))
    .begin(other, address, newBytes(), await other.sessions.claim(address, newBytes()));
  const sends = Array.from({ length: 300 }, async (_, i) => {
    for (let turns = i % 40; turns > 0; turns--) await Promise.resolve();
    if (i % 7 === 0) await new Promise((resolve) => setTimeout(resolve, i / 10));
    await new Promise<void>((resolve) => {
      store.mailboxes.append(address, "epoch", newMessage(store), { addition: null, ring: null }, () => {
        store.sessions.ring(address, "wake");
        resolve();
      });
    });
  });
  await Promise.all(sends);
  await eventually("the last look found all", () => found === 300);
  isOver = true; // a bell that is heard later is for nobody
  await looking;
});
