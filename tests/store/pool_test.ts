/**
 * Tests of the pool's count: it is how many prekeys there are, whatever takes and Registers do at once.
 * @module
 */
import assert from "node:assert/strict";
import type { Address } from "../../lib/address.ts";
import { preKeyPrefix } from "../../lib/store/keys.ts";
import { eventually } from "../support/eventually.ts";
import {
  newAddress,
  newBytes,
  openStore,
  readInstalled,
  registerDevice,
  takeOne,
  type TestStore,
} from "./open_store.ts";
import { ScriptedKv } from "./scripted_kv.ts";

const fresh = (count: number) => Array.from({ length: count }, () => newBytes());

/** What is in the pool, oldest first; its count must say as many. */
async function poolOf(store: TestStore, address: Address): Promise<string[]> {
  await eventually("all is written", () => store.writer.isIdle);
  const { device: { record: { epoch } } } = await readInstalled(store, address);
  const rows = await store.database.list({ prefix: preKeyPrefix(address, epoch) }, { limit: 1_000 });
  assert.equal(await store.preKeys.count(address, epoch), rows.length, "the count is exact");
  return rows.map(({ value }) => value instanceof Uint8Array ? value.toHex() : "");
}

const hexOf = (preKeys: readonly Uint8Array[]) => preKeys.map((preKey) => preKey.toHex());

/** Registers again, as the same installation; `false` if something changed between. */
async function upload(
  store: TestStore,
  address: Address,
  preKeys: readonly Uint8Array[],
  replace: boolean,
  meanwhile: () => Promise<unknown> = () => Promise.resolve(),
): Promise<boolean> {
  const judged = await store.devices.readWithList(address);
  const { device: { record }, listed } = await readInstalled(store, address);
  const { change, size } = await store.preKeys.judge(address, record.epoch, preKeys, replace);
  await meanwhile();
  const nextPreKey = record.nextPreKey + change.fresh.length;
  const next = { ...record, revision: crypto.randomUUID(), nextPreKey };
  const isDone = await store.registrations.register(address, judged, { listed, record: next, pool: change });
  if (isDone && replace) assert.ok(size <= preKeys.length);
  return isDone;
}

async function persist(store: TestStore, address: Address, preKeys: readonly Uint8Array[], replace: boolean) {
  for (let attempts = 0; attempts < 1_000; attempts++) {
    if (await upload(store, address, preKeys, replace)) return;
  }
  assert.fail("never came through");
}

Deno.test("the count follows Registers that add, takes, and a new installation", async () => {
  await using store = await openStore();
  const address = newAddress();
  const [a, b] = [fresh(3), fresh(2)];
  await registerDevice(store, address, a);
  assert.deepEqual(await poolOf(store, address), hexOf(a));
  await persist(store, address, [...a, ...b], false);
  assert.deepEqual(await poolOf(store, address), hexOf([...a, ...b]));
  for (let left = 4; left >= 0; left--) {
    assert.equal((await takeOne(store, address)).remaining, left);
    assert.equal((await poolOf(store, address)).length, left);
  }
  assert.deepEqual(await takeOne(store, address), { preKey: null, remaining: 0 });
  assert.deepEqual(await poolOf(store, address), []);
  await registerDevice(store, address, b);
  assert.deepEqual(await poolOf(store, address), hexOf(b));
});

Deno.test("Replace keeps what is uploaded again, adds what is new, and removes the rest", async () => {
  await using store = await openStore();
  const address = newAddress();
  const [used, old, kept, added] = [newBytes(), newBytes(), newBytes(), newBytes()];
  const { record: { epoch } } = await registerDevice(store, address, [used, old, kept]);
  assert.deepEqual((await takeOne(store, address)).preKey, used);
  const judged = await store.preKeys.judge(address, epoch, [added, used, kept, added], true);
  assert.deepEqual(judged.change.fresh, [added]);
  assert.deepEqual([judged.change.replaced?.keys.length, judged.change.replaced?.kept, judged.size], [
    1,
    1,
    2,
  ]);
  await persist(store, address, [added, used, kept, added], true);
  assert.deepEqual(await poolOf(store, address), hexOf([kept, added]));
  await persist(store, address, [], true);
  assert.deepEqual(await poolOf(store, address), []);
  await persist(store, address, [newBytes()], true);
  assert.equal((await poolOf(store, address)).length, 1);
});

for (const replace of [true, false]) {
  const what = replace ? "Replace is judged again" : "a Register that adds need not be judged again";
  Deno.test(`${what} if a prekey was taken meanwhile, and the count is exact`, async () => {
    await using store = await openStore();
    const other = await openStore({ kv: store.kv });
    const address = newAddress();
    const [a, b, c] = [newBytes(), newBytes(), newBytes()];
    await registerDevice(store, address, [a, b]);
    const isDone = await upload(store, address, [a, b, c], replace, () => takeOne(other, address));
    assert.equal(isDone, !replace);
    assert.deepEqual(await poolOf(store, address), hexOf(replace ? [b] : [b, c]));
    await persist(store, address, [a, b, c], replace);
    assert.deepEqual(await poolOf(store, address), hexOf([b, c]), "what was taken does not come back");
  });
}

for (const moment of ["beforeRow", "afterRead"] as const) {
  Deno.test(`Replace does not bring a prekey back that is taken while it looks, ${moment}`, async () => {
    await using scripted = await ScriptedKv.open();
    await using store = await openStore({ kv: scripted.kv });
    const other = await openStore({ kv: scripted.real });
    const address = newAddress();
    const preKeys = fresh(3);
    const { record: { epoch } } = await registerDevice(store, address, preKeys);
    const judgedOn = await store.devices.readWithList(address);
    const { device: { record }, listed } = await readInstalled(store, address);
    let taken: Uint8Array | null = null;
    scripted[moment] = async () => {
      scripted[moment] = () => Promise.resolve();
      taken = (await takeOne(other, address)).preKey;
    };
    const { change } = await store.preKeys.judge(address, epoch, preKeys, true);
    assert.deepEqual(taken, preKeys[0]);
    assert.deepEqual(change.fresh, []);
    const next = { ...record, revision: crypto.randomUUID() };
    const registration = { listed, record: next, pool: change };
    assert.equal(await store.registrations.register(address, judgedOn, registration), false);
    assert.deepEqual(await poolOf(store, address), hexOf(preKeys.slice(1)));
  });
}

Deno.test("the count is exact after takes and Replaces at once, by two processes", async () => {
  await using store = await openStore();
  const other = await openStore({ kv: store.kv });
  const address = newAddress();
  const uploads = Array.from({ length: 6 }, () => fresh(15));
  await registerDevice(store, address, uploads[0]);
  const given: string[] = [];
  const take = async (one: TestStore) => {
    const { preKey } = await takeOne(one, address);
    if (preKey !== null) given.push(preKey.toHex());
  };
  await Promise.all([
    ...uploads.slice(1).map((preKeys, i) =>
      persist(i % 2 === 0 ? store : other, address, preKeys, i % 3 !== 2)
    ),
    ...Array.from({ length: 60 }, (_, i) => take(i % 2 === 0 ? store : other)),
  ]);
  const left = await poolOf(store, address);
  assert.equal(new Set(given).size, given.length, "none is given twice");
  assert.ok(left.every((preKey) => !given.includes(preKey)), "and none of these is left");
  const last = [...given, ...left];
  assert.ok(last.every((preKey) => uploads.flatMap(hexOf).includes(preKey)));
  await persist(other, address, uploads.flat().slice(0, 40), true);
  await poolOf(store, address);
});
