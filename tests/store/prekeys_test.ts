/**
 * Tests of one-time prekeys: each leaves the pool at most once, and never gets back into it.
 * @module
 */
import assert from "node:assert/strict";
import { newAddress, newBytes, openStore, readInstalled, registerDevice, takeOne } from "./open_store.ts";
import { ScriptedKv } from "./scripted_kv.ts";

const numbered = (count: number) => Array.from({ length: count }, (_, i) => Uint8Array.of(i >> 8, i & 0xff));

for (const order of ["fifo", "lifo"] as const) {
  Deno.test(`take() hands out every prekey once, ${order}, and counts what is left`, async () => {
    await using store = await openStore();
    const address = newAddress();
    const preKeys = numbered(12);
    await registerDevice(store, address, preKeys);
    const expected = order === "fifo" ? preKeys : preKeys.toReversed();
    for (const [i, preKey] of expected.entries()) {
      const remaining = 11 - i;
      assert.deepEqual(await takeOne(store, address, order), { preKey, remaining });
    }
    assert.deepEqual(await takeOne(store, address, order), { preKey: null, remaining: 0 });
  });
}

Deno.test("take() never gives a prekey twice to 200 who ask two processes at once", async () => {
  await using store = await openStore();
  const other = await openStore({ kv: store.kv });
  const address = newAddress();
  const preKeys = numbered(150);
  await registerDevice(store, address, preKeys);
  const taken = await Promise.all(
    Array.from({ length: 200 }, (_, i) => takeOne(i % 2 === 0 ? store : other, address)),
  );
  const given = taken.flatMap(({ preKey }) => preKey === null ? [] : [preKey.toHex()]);
  assert.deepEqual(given.sort(), preKeys.map((preKey) => preKey.toHex()), "each of them, once");
});

Deno.test("take() takes nothing if the device was registered anew since it was read", async () => {
  await using store = await openStore();
  const address = newAddress();
  const { record: { epoch } } = await registerDevice(store, address, numbered(1));
  const installed = await readInstalled(store, address);
  await registerDevice(store, address);
  assert.equal(await store.preKeys.take(address, installed, "fifo", null), null);
  assert.equal(await store.preKeys.count(address, epoch), 1);
});

Deno.test("take() takes nothing if another process took the same prekey", async () => {
  await using scripted = await ScriptedKv.open();
  await using store = await openStore({ kv: scripted.kv });
  const other = await openStore({ kv: scripted.real });
  const address = newAddress();
  await registerDevice(store, address, numbered(2));
  const installed = await readInstalled(store, address);
  scripted.onCommit = async (commit) => (await takeOne(other, address), await commit.run());
  assert.equal(await store.preKeys.take(address, installed, "fifo", null), null);
  scripted.onCommit = (commit) => commit.run();
  assert.deepEqual((await takeOne(store, address)).preKey, numbered(2)[1]);
});

Deno.test("take() knows its own commit though it was replayed", async () => {
  await using scripted = await ScriptedKv.open();
  await using store = await openStore({ kv: scripted.kv });
  const address = newAddress();
  await registerDevice(store, address, numbered(1));
  const installed = await readInstalled(store, address);
  scripted.onCommit = async (commit) => (await commit.run(), { ok: false });
  const taken = await store.preKeys.take(address, installed, "fifo", null);
  const { registrationId, identityKey } = installed.listed;
  const { signedPreKey } = installed.device.record;
  const bundle = { registrationId, identityKey, signedPreKey, preKey: numbered(1)[0] };
  assert.deepEqual(taken, { bundle, remaining: 0 });
});

Deno.test("take() that storage does not answer fails rather than promise a prekey", async () => {
  await using scripted = await ScriptedKv.open();
  await using store = await openStore({ kv: scripted.kv });
  const address = newAddress();
  await registerDevice(store, address, numbered(1));
  const installed = await readInstalled(store, address);
  scripted.onCommit = async (commit) => (await commit.run(), await Promise.reject(new TypeError("reset")));
  await assert.rejects(store.preKeys.take(address, installed, "fifo", null), { error: "unavailable" });
  scripted.onCommit = (commit) => commit.run();
  assert.equal((await takeOne(store, address)).preKey, null, "what may have been given is not given again");
});

Deno.test("judge() leaves out what is in the pool, what was handed out, and what comes twice", async () => {
  await using store = await openStore();
  const address = newAddress();
  const [a, b, c, d] = [newBytes(), newBytes(), newBytes(), newBytes()];
  const { record: { epoch } } = await registerDevice(store, address, [a, b]);
  assert.deepEqual((await takeOne(store, address)).preKey, a);
  const judged = await store.preKeys.judge(address, epoch, [d, a, b, c, d, c], false);
  assert.deepEqual(judged, { change: { fresh: [d, c], replaced: null }, size: 3 });
});

for (const moment of ["beforeRow", "afterRead"] as const) {
  Deno.test(`judge() knows a prekey that is taken while it looks, ${moment}`, async () => {
    await using scripted = await ScriptedKv.open();
    await using store = await openStore({ kv: scripted.kv });
    const other = await openStore({ kv: scripted.real });
    const address = newAddress();
    const preKey = newBytes();
    const { record: { epoch } } = await registerDevice(store, address, [preKey]);
    let taken: unknown;
    scripted[moment] = async () => {
      scripted[moment] = () => Promise.resolve();
      taken = (await takeOne(other, address)).preKey;
    };
    const { change: { fresh } } = await store.preKeys.judge(address, epoch, [preKey], false);
    assert.deepEqual(taken, preKey, "it was taken meanwhile");
    assert.deepEqual(fresh, []);
  });
}

Deno.test("judge() of another installation knows nothing of this one", async () => {
  await using store = await openStore();
  const address = newAddress();
  const preKey = newBytes();
  await registerDevice(store, address, [preKey]);
  const { record: { epoch } } = await registerDevice(store, address);
  const judged = await store.preKeys.judge(address, epoch, [preKey], false);
  assert.deepEqual(judged, { change: { fresh: [preKey], replaced: null }, size: 1 });
});

Deno.test("judge() looks at more prekeys than one snapshot of the database holds", async () => {
  await using store = await openStore();
  const address = newAddress();
  const preKeys = numbered(200);
  const { record: { epoch } } = await registerDevice(store, address, preKeys.slice(0, 30));
  for (let i = 0; i < 15; i++) await takeOne(store, address);
  const { change, size } = await store.preKeys.judge(address, epoch, preKeys, false);
  assert.deepEqual(change.fresh, preKeys.slice(30));
  assert.equal(size - change.fresh.length, 15);
});

Deno.test("count() counts all of one installation alone", async () => {
  await using store = await openStore();
  const address = newAddress();
  const { record: { epoch } } = await registerDevice(store, address, numbered(5));
  assert.equal(await store.preKeys.count(address, epoch), 5);
  assert.equal(await store.preKeys.count(address, `${epoch}0`), 0);
  assert.equal(await store.preKeys.count({ ...address, deviceId: 2 }, epoch), 0);
});
