/**
 * Tests of the device lists at hand: how old they may be, and what they must never miss.
 * @module
 */
import assert from "node:assert/strict";
import { QUEUES, TIMES } from "../../lib/limits.ts";
import type { Store } from "../../lib/store/mod.ts";
import { eventually } from "../support/eventually.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { newAddress, openStore, registerDevice } from "./open_store.ts";
import { Gate, ScriptedKv } from "./scripted_kv.ts";

/** The epochs of the list that is at hand. */
const cachedEpochs = (store: Store, userId: string) => {
  const list = store.devices.cachedList(userId);
  return list === null ? null : [...list.devices.values()].map(({ epoch }) => epoch);
};

Deno.test("cachedList() has nothing before a read, and nothing older than five seconds", async () => {
  const clock = new ManualClock();
  await using store = await openStore({ clock });
  const address = newAddress();
  const { record: { epoch } } = await registerDevice(store, address);
  const { devices } = await openStore({ clock, kv: store.kv });
  assert.equal(devices.cachedList(address.userId), null);
  await devices.readList(address.userId);
  clock.advance(TIMES.deviceListMs);
  assert.equal(devices.cachedList(address.userId)?.devices.get(1)?.epoch, epoch);
  clock.advance(1);
  assert.equal(devices.cachedList(address.userId), null);
});

Deno.test("cachedList() remembers that a user has no devices", async () => {
  await using store = await openStore();
  const { userId } = newAddress();
  assert.equal((await store.devices.readList(userId)).versionstamp, null);
  assert.deepEqual(cachedEpochs(store, userId), []);
});

Deno.test("cachedList() has what this process registered and unregistered, without a read", async () => {
  await using store = await openStore();
  const address = newAddress();
  const first = await registerDevice(store, address);
  assert.deepEqual(cachedEpochs(store, address.userId), [first.record.epoch]);
  const second = await registerDevice(store, address);
  assert.deepEqual(cachedEpochs(store, address.userId), [second.record.epoch]);
  const { device, list } = await store.devices.readWithList(address);
  assert.ok(device);
  assert.equal(await store.registrations.unregister(address, { device, list }), true);
  assert.deepEqual(cachedEpochs(store, address.userId), []);
});

/** Begins to read a list and holds the answer up, does `change` meanwhile, then lets the answer come. */
async function readSlowly(store: Store, scripted: ScriptedKv, userId: string, change: () => Promise<void>) {
  const gate = new Gate();
  let isHeld = false;
  scripted.afterRead = () => (isHeld = true, gate.passed);
  const reading = store.devices.readList(userId);
  await eventually("the database has answered", () => isHeld);
  scripted.afterRead = () => Promise.resolve();
  await change();
  gate.open();
  return await reading;
}

Deno.test("readList() that began before a Register does not take its place in the cache", async () => {
  await using scripted = await ScriptedKv.open();
  await using store = await openStore({ kv: scripted.kv });
  const address = newAddress();
  const before = await registerDevice(store, address);
  let after = before;
  const { devices } = await readSlowly(store, scripted, address.userId, async () => {
    after = await registerDevice(store, address);
  });
  assert.equal(devices.get(1)?.epoch, before.record.epoch, "the read saw the old list");
  assert.deepEqual(cachedEpochs(store, address.userId), [after.record.epoch]);
});

Deno.test("readList() that began before an Unregister does not bring the device back", async () => {
  await using scripted = await ScriptedKv.open();
  await using store = await openStore({ kv: scripted.kv });
  const address = newAddress();
  await registerDevice(store, address);
  const { devices } = await readSlowly(store, scripted, address.userId, async () => {
    const { device, list } = await store.devices.readWithList(address);
    assert.ok(device);
    await store.registrations.unregister(address, { device, list });
  });
  assert.equal(devices.size, 1, "the read saw the old list");
  assert.deepEqual(cachedEpochs(store, address.userId), []);
});

Deno.test("readList() takes the place of an older list of another process", async () => {
  const clock = new ManualClock();
  await using store = await openStore({ clock });
  const other = await openStore({ clock, kv: store.kv });
  const address = newAddress();
  await registerDevice(store, address);
  const { record: { epoch } } = await registerDevice(other, address);
  await store.devices.readList(address.userId);
  assert.deepEqual(cachedEpochs(store, address.userId), [epoch]);
});

/** Like KV Connect at its worst: the commit is carried out, sent again, and then fails its own checks. */
async function replay(commit: { run(): Promise<unknown> }): Promise<Deno.KvCommitError> {
  await commit.run();
  return { ok: false };
}

Deno.test("cachedList() has nothing from before a Register whose commit was replayed", async () => {
  await using scripted = await ScriptedKv.open();
  await using store = await openStore({ kv: scripted.kv });
  const address = newAddress();
  await registerDevice(store, address);
  let epoch = "";
  const allowed = () => [null, epoch];
  await readSlowly(store, scripted, address.userId, async () => {
    scripted.onCommit = replay;
    epoch = (await registerDevice(store, address)).record.epoch;
    assert.ok(allowed().includes(cachedEpochs(store, address.userId)?.[0] ?? null), "at once");
  });
  assert.ok(allowed().includes(cachedEpochs(store, address.userId)?.[0] ?? null), "after a slow read");
});

Deno.test("cachedList() has nothing from before an Unregister whose commit was replayed", async () => {
  await using scripted = await ScriptedKv.open();
  await using store = await openStore({ kv: scripted.kv });
  const address = newAddress();
  await registerDevice(store, address);
  const count = () => cachedEpochs(store, address.userId)?.length ?? 0;
  await readSlowly(store, scripted, address.userId, async () => {
    scripted.onCommit = replay;
    const { device, list } = await store.devices.readWithList(address);
    assert.ok(device);
    await store.registrations.unregister(address, { device, list });
    assert.equal((await store.devices.readWithList(address)).device, null, "it was carried out");
    assert.equal(count(), 0, "at once");
  });
  assert.equal(count(), 0, "after a slow read");
});

Deno.test("remember() keeps a bounded number of lists, the newest", async () => {
  await using store = await openStore();
  const list = { devices: new Map(), versionstamp: null };
  const now = store.database.clock.monotonic();
  for (let i = 0; i <= QUEUES.deviceListsMax; i++) store.devices.remember(`user ${i}`, list, "", now);
  assert.equal(store.devices.cachedList("user 0"), null);
  assert.equal(store.devices.cachedList("user 1"), list);
  assert.equal(store.devices.cachedList(`user ${QUEUES.deviceListsMax}`), list);
});

Deno.test("page() reads all devices in the order of their keys, some at a time", async () => {
  await using store = await openStore();
  const users = [newAddress(), newAddress(), newAddress()];
  const addresses = users.flatMap(({ userId }) => [0, 2, 10].map((deviceId) => ({ userId, deviceId })));
  for (const address of addresses) await registerDevice(store, address);
  addresses.sort((a, b) => a.userId < b.userId ? -1 : a.userId > b.userId ? 1 : a.deviceId - b.deviceId);
  const found = [];
  for (let after = null;;) {
    const page = await store.devices.page(after, 4);
    found.push(...page.map(({ address }) => address));
    if (page.length < 4) break;
    after = page.at(-1)?.address ?? null;
  }
  assert.deepEqual(found, addresses);
});

Deno.test("readWithList() reads a record and its list as they were written", async () => {
  await using store = await openStore();
  const address = newAddress(0xffff_ffff);
  const { record, listed } = await registerDevice(store, address);
  const { device, list } = await store.devices.readWithList(address);
  assert.deepEqual(device?.record, record);
  assert.deepEqual([...list.devices.values()], [listed]);
  assert.equal(listed.deviceId, 0xffff_ffff);
});
