/**
 * Tests of the transactions that change which devices a user has: whole or not at all, and one after the other.
 * @module
 */
import assert from "node:assert/strict";
import type { Address } from "../../lib/address.ts";
import { DEFAULTS } from "../../lib/limits.ts";
import { preKeyPrefix, trashPrefix } from "../../lib/store/keys.ts";
import type { Store } from "../../lib/store/mod.ts";
import {
  newAddress,
  newBytes,
  openStore,
  readInstalled,
  registerDevice,
  registrationOf,
} from "./open_store.ts";
import { ScriptedKv } from "./scripted_kv.ts";

async function trashOf(store: Store): Promise<Deno.KvKey[]> {
  return (await store.database.list({ prefix: trashPrefix }, { limit: 100 })).map(({ key }) => key);
}

async function poolOf(store: Store, address: Address, epoch: string): Promise<unknown[]> {
  const rows = await store.database.list({ prefix: preKeyPrefix(address, epoch) }, { limit: 1_000 });
  return rows.map(({ value }) => value);
}

/** Unregisters on what is there now. */
async function unregisterDevice(store: Store, address: Address): Promise<boolean> {
  const { device, list } = await store.devices.readWithList(address);
  assert.ok(device);
  return await store.registrations.unregister(address, { device, list });
}

Deno.test("register() stores record, list entry and prekeys together", async () => {
  await using store = await openStore();
  const address = newAddress();
  const preKeys = [newBytes(), newBytes()];
  const { record, listed } = await registerDevice(store, address, preKeys);
  const { device, list } = await store.devices.readWithList(address);
  assert.deepEqual(device?.record, record);
  assert.deepEqual(list.devices.get(1), listed);
  assert.deepEqual(await poolOf(store, address, record.epoch), preKeys);
  assert.deepEqual(await trashOf(store), []);
});

Deno.test("register() stores as many and as large prekeys as one Register may bring", async () => {
  await using store = await openStore();
  const preKeys = Array.from(
    { length: DEFAULTS.registerPreKeysMax },
    () => newBytes(DEFAULTS.registerBytesMax / DEFAULTS.registerPreKeysMax | 0),
  );
  const { record } = await registerDevice(store, newAddress(), preKeys);
  assert.equal(record.nextPreKey, DEFAULTS.registerPreKeysMax);
});

Deno.test("register() stores a list of as many devices, with as large identity keys, as the limits allow", async () => {
  await using store = await openStore();
  const { userId } = newAddress();
  for (let deviceId = 0xffff_ffff; deviceId > 0xffff_ffff - DEFAULTS.devicesMax; deviceId--) {
    const address = { userId, deviceId };
    const registration = registrationOf(address);
    const listed = { ...registration.listed, identityKey: newBytes(DEFAULTS.identityKeyBytesMax) };
    const judged = await store.devices.readWithList(address);
    assert.equal(await store.registrations.register(address, judged, { ...registration, listed }), true);
  }
  assert.equal((await store.devices.readList(userId)).devices.size, DEFAULTS.devicesMax);
});

Deno.test("register() adds prekeys of the same installation behind those that are there", async () => {
  await using store = await openStore();
  const address = newAddress();
  const preKeys = [newBytes(), newBytes(), newBytes()];
  const { record } = await registerDevice(store, address, preKeys.slice(0, 1));
  const judged = await store.devices.readWithList(address);
  const more = registrationOf(address, preKeys.slice(1), record.epoch);
  const counted = { ...more, record: { ...more.record, nextPreKey: 3 } };
  assert.equal(await store.registrations.register(address, judged, counted), true);
  assert.deepEqual(await poolOf(store, address, record.epoch), preKeys);
});

Deno.test("register() stores one of two that were judged on the same state", async () => {
  await using store = await openStore();
  const address = newAddress();
  for (const round of ["new", "again"]) {
    const judged = await store.devices.readWithList(address);
    const both = [registrationOf(address, [newBytes()]), registrationOf(address, [newBytes()])];
    const stored = await Promise.all(both.map((one) => store.registrations.register(address, judged, one)));
    assert.deepEqual(stored, [true, false], round);
    const { device, list } = await store.devices.readWithList(address);
    assert.equal(device?.record.epoch, both[0]?.record.epoch);
    assert.equal(list.devices.get(1)?.epoch, both[0]?.record.epoch);
    assert.deepEqual(await poolOf(store, address, both[1]?.record.epoch ?? ""), []);
  }
});

Deno.test("register() of two devices of a user by two processes loses neither", async () => {
  await using store = await openStore();
  const other = await openStore({ kv: store.kv });
  const { userId } = newAddress();
  const persist = async (process: Store, deviceId: number) => {
    const address = { userId, deviceId };
    for (let attempts = 0; attempts < 1_000; attempts++) {
      const judged = await process.devices.readWithList(address);
      if (await process.registrations.register(address, judged, registrationOf(address))) return;
    }
    assert.fail("never came through");
  };
  await Promise.all(
    Array.from({ length: 20 }, (_, deviceId) => persist(deviceId % 2 === 0 ? store : other, deviceId)),
  );
  const { devices } = await store.devices.readList(userId);
  assert.deepEqual([...devices.keys()].sort((a, b) => a - b), Array.from({ length: 20 }, (_, i) => i));
});

Deno.test("register() of a new installation leaves the old one to the janitor, and other devices alone", async () => {
  await using store = await openStore();
  const address = newAddress(1);
  const neighbour = await registerDevice(store, { ...address, deviceId: 2 });
  const before = await registerDevice(store, address);
  const after = await registerDevice(store, address);
  const { list } = await store.devices.readWithList(address);
  assert.deepEqual([...list.devices.values()], [neighbour.listed, after.listed]);
  assert.deepEqual(await trashOf(store), [["trash", address.userId, 1, before.record.epoch]]);
});

Deno.test("register() knows its own commit though it was replayed", async () => {
  await using scripted = await ScriptedKv.open();
  await using store = await openStore({ kv: scripted.kv });
  const address = newAddress();
  scripted.onCommit = async (commit) => (await commit.run(), { ok: false });
  const { record } = await registerDevice(store, address);
  assert.deepEqual((await store.devices.readWithList(address)).device?.record, record);
});

Deno.test("unregister() removes the device, and the list with the last one", async () => {
  await using store = await openStore();
  const address = newAddress(1);
  const neighbour = await registerDevice(store, { ...address, deviceId: 2 });
  const { record } = await registerDevice(store, address);
  assert.equal(await unregisterDevice(store, address), true);
  const { device, list } = await store.devices.readWithList(address);
  assert.equal(device, null);
  assert.deepEqual([...list.devices.values()], [neighbour.listed]);
  assert.deepEqual(await trashOf(store), [["trash", address.userId, 1, record.epoch]]);
  assert.equal(await unregisterDevice(store, { ...address, deviceId: 2 }), true);
  assert.equal((await store.kv.get(["devices", address.userId])).versionstamp, null);
});

Deno.test("unregister() that was judged before a Register does nothing", async () => {
  await using store = await openStore();
  const address = newAddress();
  await registerDevice(store, address);
  const { device, list } = await store.devices.readWithList(address);
  assert.ok(device);
  const { record } = await registerDevice(store, address);
  assert.equal(await store.registrations.unregister(address, { device, list }), false);
  assert.deepEqual((await store.devices.readWithList(address)).device?.record, record);
});

Deno.test("seen() writes the time down, but not over a Register that came before", async () => {
  await using store = await openStore();
  const address = newAddress();
  const { record } = await registerDevice(store, address);
  const { device } = await readInstalled(store, address);
  await store.registrations.seen(address, device, 77);
  assert.deepEqual((await store.devices.readWithList(address)).device?.record, { ...record, seenAt: 77 });
  await store.registrations.seen(address, device, 99);
  assert.equal((await store.devices.readWithList(address)).device?.record.seenAt, 77);
});
