/**
 * Tests of the janitor: what belonged to installations that are gone goes, a little at a time, and nothing else.
 * @module
 */
import assert from "node:assert/strict";
import type { Address } from "../../lib/address.ts";
import { TIMES } from "../../lib/limits.ts";
import { trashPrefix } from "../../lib/store/keys.ts";
import { ManualClock } from "../support/manual_clock.ts";
import {
  append,
  newAddress,
  newBytes,
  newMessage,
  openStore,
  registerDevice,
  takeOne,
  type TestStore,
} from "./open_store.ts";
import { ScriptedKv } from "./scripted_kv.ts";

/** Rows that count: of the pool, of what waits in one stretch of time, of what was lost. */
const COUNTS = 3;

/** Every row that belongs to an installation. */
async function rowsOf(store: TestStore, address: Address, epoch: string): Promise<string[]> {
  const rows: string[] = [];
  for (const kind of ["prekey", "pool", "used", "inbox", "waiting", "lost"]) {
    for await (const { key } of store.kv.list({ prefix: [kind, address.userId, address.deviceId] })) {
      if (key[3] === epoch) rows.push(key.map(String).join("/"));
    }
  }
  return rows;
}

/** Installs a device with prekeys, one of them used, and messages; it has a row for each, and three for counts. */
async function install(
  store: TestStore,
  address: Address,
  preKeys: number,
  messages: number,
): Promise<string> {
  const { record: { epoch } } = await registerDevice(
    store,
    address,
    Array.from({ length: preKeys }, () => newBytes()),
  );
  await takeOne(store, address);
  store.waiting.addLost(address, epoch, 1);
  await Promise.all(Array.from({ length: messages }, () => append(store, address, epoch, newMessage(store))));
  return epoch;
}

Deno.test("sweep() waits until sends that were judged on the old installation are over", async () => {
  const clock = new ManualClock();
  await using store = await openStore({ clock });
  const address = newAddress();
  const epoch = await install(store, address, 3, 2);
  await registerDevice(store, address);
  clock.advance(TIMES.trashAgeMs - 1);
  assert.equal(await store.trash.sweep(), false);
  assert.equal((await rowsOf(store, address, epoch)).length, 3 + 2 + COUNTS);
  clock.advance(1);
  assert.equal(await store.trash.sweep(), true);
});

Deno.test("sweep() deletes all of an old installation, in portions, and nothing of the new one", async () => {
  const clock = new ManualClock();
  await using scripted = await ScriptedKv.open();
  const store = await openStore({ clock, kv: scripted.kv });
  const address = newAddress();
  const neighbour = { ...address, deviceId: 2 };
  const old = await install(store, address, 5, 450);
  const kept = [[address, await install(store, address, 5, 3)], [
    neighbour,
    await install(store, neighbour, 4, 3),
  ]] as const;
  const before = await Promise.all(kept.map(([owner, epoch]) => rowsOf(store, owner, epoch)));
  assert.deepEqual(before.map(({ length }) => length), [5 + 3 + COUNTS, 4 + 3 + COUNTS]);
  clock.advance(TIMES.trashAgeMs);
  const done = scripted.commits.length;
  let portions = 0;
  while (await store.trash.sweep()) assert.ok(++portions < 20, "it comes to an end");
  assert.deepEqual(await rowsOf(store, address, old), []);
  assert.deepEqual(await Promise.all(kept.map(([owner, epoch]) => rowsOf(store, owner, epoch))), before);
  assert.deepEqual(await store.database.list({ prefix: trashPrefix }, { limit: 10 }), []);
  for (const mutations of scripted.mutations.slice(done)) {
    assert.ok(mutations.length <= 200, "a portion is small");
  }
});

Deno.test("sweep() goes on with the next installation while a young one waits", async () => {
  const clock = new ManualClock();
  await using store = await openStore({ clock });
  const [a, b] = [newAddress(), newAddress()];
  const oldOfA = await install(store, a, 2, 1);
  await registerDevice(store, a);
  clock.advance(TIMES.trashAgeMs);
  const oldOfB = await install(store, b, 2, 1);
  await registerDevice(store, b);
  while (await store.trash.sweep());
  assert.deepEqual(await rowsOf(store, a, oldOfA), []);
  assert.equal((await rowsOf(store, b, oldOfB)).length, 2 + 1 + COUNTS);
});

Deno.test("sweep() is not held up by a clock that was set back", async () => {
  const clock = new ManualClock();
  await using store = await openStore({ clock });
  const address = newAddress();
  const old = await install(store, address, 2, 1);
  await registerDevice(store, address);
  clock.step(-365 * 86_400_000);
  while (await store.trash.sweep());
  assert.deepEqual(await rowsOf(store, address, old), []);
});

Deno.test("sweep() that storage refuses deletes the rest the next time", async () => {
  const clock = new ManualClock();
  await using scripted = await ScriptedKv.open();
  const store = await openStore({ clock, kv: scripted.kv });
  const address = newAddress();
  const old = await install(store, address, 2, 1);
  await registerDevice(store, address);
  clock.advance(TIMES.trashAgeMs);
  scripted.onCommit = () => Promise.reject(new TypeError("reset"));
  await assert.rejects(store.trash.sweep(), { error: "unavailable" });
  scripted.onCommit = (commit) => commit.run();
  while (await store.trash.sweep());
  assert.deepEqual(await rowsOf(store, address, old), []);
});
