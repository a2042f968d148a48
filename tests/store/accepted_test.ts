/**
 * Tests of what is remembered of accepted sends: for an hour, of exactly that send, and not much longer.
 * @module
 */
import assert from "node:assert/strict";
import { acceptedKey, acceptedPrefix } from "../../lib/store/keys.ts";
import type { SendIdentity } from "../../lib/store/mod.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { newAddress, newBytes, openStore, type TestStore, write } from "./open_store.ts";
import { ScriptedKv } from "./scripted_kv.ts";

const STRETCH_MS = 1_800_000;
const HOUR_MS = 3_600_000;

const newSend = (toDeviceId: number | null = 1): SendIdentity => ({
  from: newAddress(),
  toUserId: crypto.randomUUID(),
  toDeviceId,
  messageId: newBytes(),
});

const ACCEPTED = { at: 2 ** 41 + 5, fullDeviceIds: [0, 7, 0xffff_ffff] };

const remember = (store: TestStore, send: SendIdentity, accepted = ACCEPTED) =>
  write(store, send.toUserId, store.accepted.remember(send, accepted));

/** Whether a commit that requires the send to be new comes through. */
async function isNew(store: TestStore, send: SendIdentity): Promise<boolean> {
  const { ok } = await store.writer.commit(send.toUserId, (atomic) => {
    store.accepted.requireNew(atomic, send);
    return atomic.set(["stored"], newBytes());
  });
  return ok;
}

Deno.test("find() finds a send as it was remembered, and nothing before", async () => {
  await using store = await openStore();
  for (const send of [newSend(), newSend(null), newSend(0)]) {
    assert.equal((await store.accepted.find(send)).accepted, null);
    assert.equal(await isNew(store, send), true);
    await remember(store, send);
    assert.deepEqual((await store.accepted.find(send)).accepted, ACCEPTED);
    assert.equal(await isNew(store, send), false);
  }
  const send = newSend(null);
  await remember(store, send, { at: 0, fullDeviceIds: [] });
  assert.deepEqual((await store.accepted.find(send)).accepted, { at: 0, fullDeviceIds: [] });
});

Deno.test("find() takes no other send for it: sender, recipient or message ID differ", async () => {
  await using store = await openStore();
  const send = newSend(1);
  await remember(store, send);
  const others = [
    { ...send, from: { ...send.from, deviceId: 2 } },
    { ...send, from: newAddress(send.from.deviceId) },
    { ...send, toUserId: crypto.randomUUID() },
    { ...send, toDeviceId: 2 },
    { ...send, toDeviceId: null },
    { ...send, messageId: newBytes() },
  ];
  for (const other of others) {
    assert.equal((await store.accepted.find(other)).accepted, null);
    assert.equal(await isNew(store, other), true);
  }
});

for (const offsetMs of [0, 1, STRETCH_MS / 2, STRETCH_MS - 1]) {
  Deno.test(`a send accepted ${offsetMs} ms into a stretch is known for an hour, and no longer than 90 minutes`, async () => {
    const clock = new ManualClock(1_000 * STRETCH_MS + offsetMs);
    await using store = await openStore({ clock });
    const send = newSend();
    await remember(store, send);
    for (const ms of [STRETCH_MS - 1, 1, STRETCH_MS - 1, 1]) {
      clock.step(ms);
      assert.deepEqual((await store.accepted.find(send)).accepted, ACCEPTED);
      assert.equal(await isNew(store, send), false);
    }
    assert.equal(clock.now(), 1_000 * STRETCH_MS + offsetMs + HOUR_MS);
    clock.step(STRETCH_MS);
    assert.equal((await store.accepted.find(send)).accepted, null);
    assert.equal(await isNew(store, send), true);
  });
}

// Clocks of servers on one database differ by milliseconds, and each of them may step back.
Deno.test("a send is known to a process whose clock is in the stretch before", async () => {
  const [clock, behind] = [new ManualClock(1_000 * STRETCH_MS), new ManualClock(1_000 * STRETCH_MS - 1)];
  await using store = await openStore({ clock });
  const other = await openStore({ clock: behind, kv: store.kv });
  const send = newSend();
  await remember(store, send);
  assert.deepEqual((await other.accepted.find(send)).accepted, ACCEPTED);
  assert.equal(await isNew(other, send), false);
});

Deno.test("requireNew() makes four checks, and of two who require it at once one comes through", async () => {
  await using scripted = await ScriptedKv.open();
  await using store = await openStore({ kv: scripted.kv });
  const other = await openStore({ kv: scripted.real });
  const send = newSend(null);
  const accept = async ({ writer, accepted }: TestStore) => {
    const { key, change } = accepted.remember(send, ACCEPTED);
    assert.ok(change);
    return (await writer.commit(send.toUserId, (atomic) => {
      accepted.requireNew(atomic, send);
      return atomic.set(key, change);
    })).ok;
  };
  const outcomes = await Promise.all([store, other, store, other].map(accept));
  assert.deepEqual(outcomes.filter((ok) => ok), [true]);
  assert.equal(scripted.commits.at(-1)?.steps.filter(({ what }) => what === "check").length, 4);
});

Deno.test("find() passes over a value that it can't read", async () => {
  const clock = new ManualClock(1_000 * STRETCH_MS);
  await using store = await openStore({ clock });
  const send = newSend();
  const { key, change } = store.accepted.remember(send, ACCEPTED);
  for (const bad of [Uint8Array.of(2, ...(change ?? []).slice(1)), change?.slice(0, 8), new Uint8Array(0)]) {
    await store.kv.set(key, bad);
    assert.equal((await store.accepted.find(send)).accepted, null);
  }
  clock.step(STRETCH_MS);
  await remember(store, send);
  assert.deepEqual((await store.accepted.find(send)).accepted, ACCEPTED, "a later one counts");
});

Deno.test("sweep() deletes by stretches what nobody finds any more, in portions, and nothing else", async () => {
  const clock = new ManualClock(1_000 * STRETCH_MS);
  await using store = await openStore({ clock });
  const rows = async () => {
    const entries = await store.database.list({ prefix: acceptedPrefix }, { limit: 2_000 });
    return entries.map(({ key }) => Number(key[1]) - 1_000);
  };
  const fill = (count: number) =>
    Promise.all(Array.from({ length: count }, () => remember(store, newSend())));
  await fill(1_100);
  clock.step(STRETCH_MS);
  await fill(2);
  clock.step(2 * STRETCH_MS - 1);
  assert.equal(await store.accepted.sweep(), false);
  assert.equal((await rows()).length, 1_102, "they may still be found");
  clock.step(1);
  const portions = [1_102, 852, 602, 352, 102];
  for (const left of portions.slice(1)) {
    assert.equal(await store.accepted.sweep(), true);
    assert.equal((await rows()).length, left);
  }
  assert.equal(await store.accepted.sweep(), false);
  assert.deepEqual(await rows(), [1, 1]);
  assert.equal(await store.accepted.sweep(), false);
  clock.step(STRETCH_MS);
  await store.accepted.sweep();
  assert.deepEqual(await rows(), []);
});

Deno.test("sweep() leaves the neighbours of its keys alone", async () => {
  const clock = new ManualClock(1_000 * STRETCH_MS);
  await using store = await openStore({ clock });
  await store.kv.set(["accept"], newBytes());
  await store.kv.set(["acceptee", 1], newBytes());
  await store.kv.set(acceptedKey(997, newBytes()), newBytes());
  await store.kv.set(acceptedKey(998, newBytes()), newBytes());
  await store.accepted.sweep();
  const left = await store.database.list({ prefix: acceptedPrefix }, { limit: 10 });
  assert.deepEqual(left.map(({ key }) => key[1]), [998]);
  assert.ok(await store.database.get(["accept"]));
  assert.ok(await store.database.get(["acceptee", 1]));
});
