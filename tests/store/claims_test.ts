/**
 * Tests of claims: the same request gets the same keys for ten minutes, as long as it is the same installation.
 * @module
 */
import assert from "node:assert/strict";
import type { Address } from "../../lib/address.ts";
import { claimKey } from "../../lib/store/keys.ts";
import type { ClaimOf } from "../../lib/store/mod.ts";
import { ManualClock } from "../support/manual_clock.ts";
import {
  newAddress,
  newBytes,
  openStore,
  readInstalled,
  registerDevice,
  registrationOf,
  takeOne,
  type TestStore,
} from "./open_store.ts";
import { ScriptedKv } from "./scripted_kv.ts";

const CLAIM_MS = 600_000;

const newClaim = (): ClaimOf => ({ requester: newAddress(), claimId: newBytes() });

const numbered = (count: number) => Array.from({ length: count }, (_, i) => Uint8Array.of(i));

/** Whether the claim was answered before, on the installation that is there now. */
async function isClaimed(store: TestStore, claim: ClaimOf, address: Address): Promise<boolean> {
  const { device } = await readInstalled(store, address);
  const [bundle] = await store.preKeys.claimed(claim, [[address, device.record.epoch]]);
  return bundle !== null && bundle !== undefined;
}

Deno.test("take() gives the same claim the same prekey for ten minutes, and takes no other", async () => {
  const clock = new ManualClock();
  await using store = await openStore({ clock });
  const address = newAddress();
  const { record: { epoch } } = await registerDevice(store, address, numbered(3));
  const claim = newClaim();
  assert.equal(await isClaimed(store, claim, address), false);
  assert.deepEqual(await takeOne(store, address, "fifo", claim), { preKey: Uint8Array.of(0), remaining: 2 });
  clock.advance(CLAIM_MS - 1);
  assert.equal(await isClaimed(store, claim, address), true);
  assert.deepEqual(await takeOne(store, address, "lifo", claim), { preKey: Uint8Array.of(0), remaining: 2 });
  assert.equal(await store.preKeys.count(address, epoch), 2);
  clock.advance(1);
  assert.equal(await isClaimed(store, claim, address), false);
  assert.deepEqual(await takeOne(store, address, "fifo", claim), { preKey: Uint8Array.of(1), remaining: 1 });
  assert.equal(await isClaimed(store, claim, address), true, "and that for ten minutes again");
});

Deno.test("take() gives another claim another prekey: its ID, requester or device differs", async () => {
  await using store = await openStore();
  const address = newAddress(1);
  await registerDevice(store, address, numbered(5));
  const neighbour = { ...address, deviceId: 2 };
  await registerDevice(store, neighbour, numbered(5));
  const claim = newClaim();
  await takeOne(store, address, "fifo", claim);
  const others: ClaimOf[] = [
    { ...claim, claimId: newBytes() },
    { ...claim, requester: newAddress(claim.requester.deviceId) },
    { ...claim, requester: { ...claim.requester, deviceId: 9 } },
  ];
  for (const [i, other] of others.entries()) {
    assert.equal(await isClaimed(store, other, address), false);
    assert.deepEqual((await takeOne(store, address, "fifo", other)).preKey, Uint8Array.of(i + 1));
  }
  assert.equal(await isClaimed(store, claim, neighbour), false);
});

Deno.test("take() for a claim takes a prekey of the new installation after a Register", async () => {
  await using store = await openStore();
  const address = newAddress();
  await registerDevice(store, address, numbered(2));
  const claim = newClaim();
  assert.deepEqual((await takeOne(store, address, "fifo", claim)).preKey, Uint8Array.of(0));
  const next = await registerDevice(store, address, [Uint8Array.of(77)]);
  assert.equal(await isClaimed(store, claim, address), false);
  const taken = await store.preKeys.take(address, await readInstalled(store, address), "fifo", claim);
  assert.deepEqual(taken?.bundle.preKey, Uint8Array.of(77));
  assert.deepEqual(taken?.bundle.identityKey, next.listed.identityKey);
  assert.equal(await isClaimed(store, claim, address), true);
  assert.deepEqual(
    await store.preKeys.claimed(claim, [[address, undefined]]),
    [null],
    "a device that is gone",
  );
});

Deno.test("take() gives a claim the bundle as it was, though the signed prekey was rotated since", async () => {
  await using store = await openStore();
  const address = newAddress();
  const { record } = await registerDevice(store, address, numbered(2));
  const claim = newClaim();
  const first = await store.preKeys.take(address, await readInstalled(store, address), "fifo", claim);
  const judged = await store.devices.readWithList(address);
  const rotated = registrationOf(address, [], record.epoch);
  const kept = { ...rotated.record, nextPreKey: 2 };
  assert.ok(await store.registrations.register(address, judged, { ...rotated, record: kept }));
  const again = await store.preKeys.take(address, await readInstalled(store, address), "fifo", claim);
  assert.deepEqual(again, first);
});

Deno.test("take() that found the pool empty is remembered for its claim too", async () => {
  await using store = await openStore();
  const address = newAddress();
  const { record, listed } = await registerDevice(store, address);
  const claim = newClaim();
  assert.deepEqual(await takeOne(store, address, "fifo", claim), { preKey: null, remaining: 0 });
  assert.equal(await isClaimed(store, claim, address), true);
  const judged = await store.devices.readWithList(address);
  const pool = { fresh: [Uint8Array.of(1)], replaced: null };
  const more = { record: { ...record, revision: crypto.randomUUID(), nextPreKey: 1 }, listed, pool };
  assert.ok(await store.registrations.register(address, judged, more));
  assert.deepEqual(await takeOne(store, address, "fifo", claim), { preKey: null, remaining: 1 });
});

Deno.test("take() takes one prekey for a claim that two processes are asked at once", async () => {
  await using store = await openStore();
  const other = await openStore({ kv: store.kv });
  const address = newAddress();
  const { record: { epoch } } = await registerDevice(store, address, numbered(30));
  const claims = [newClaim(), newClaim(), newClaim()];
  const asked = claims.flatMap((claim) => [store, other, store, other].map((one) => [claim, one] as const));
  const taken = await Promise.all(asked.map(([claim, one]) => takeOne(one, address, "fifo", claim)));
  const given = new Map<ClaimOf, Set<string>>(claims.map((claim) => [claim, new Set()]));
  taken.forEach(({ preKey }, i) => given.get(asked[i]?.[0] ?? newClaim())?.add(preKey?.toHex() ?? "none"));
  for (const keys of given.values()) assert.equal(keys.size, 1, "the same claim, the same prekey");
  assert.equal(new Set([...given.values()].flatMap((keys) => [...keys])).size, 3);
  assert.equal(await store.preKeys.count(address, epoch), 27);
});

Deno.test("take() for a claim that another process answers meanwhile takes no second prekey", async () => {
  await using scripted = await ScriptedKv.open();
  await using store = await openStore({ kv: scripted.kv });
  const other = await openStore({ kv: scripted.real });
  for (const preKeys of [numbered(3), []]) {
    const address = newAddress();
    const { record: { epoch } } = await registerDevice(store, address, preKeys);
    const claim = newClaim();
    const installed = await readInstalled(store, address);
    // From the other end of the pool: only the claim itself is in the way.
    scripted.onCommit = async (commit) => (await takeOne(other, address, "lifo", claim), await commit.run());
    assert.equal(await store.preKeys.take(address, installed, "fifo", claim), null);
    scripted.onCommit = (commit) => commit.run();
    const preKey = preKeys[2] ?? null;
    const remaining = Math.max(0, preKeys.length - 1);
    assert.deepEqual(await takeOne(store, address, "fifo", claim), { preKey, remaining });
    assert.equal(await store.preKeys.count(address, epoch), remaining);
  }
});

Deno.test("take() that storage does not answer gives its claim the prekey that was taken", async () => {
  await using scripted = await ScriptedKv.open();
  await using store = await openStore({ kv: scripted.kv });
  const address = newAddress();
  await registerDevice(store, address, numbered(2));
  const claim = newClaim();
  const installed = await readInstalled(store, address);
  scripted.onCommit = async (commit) => (await commit.run(), await Promise.reject(new TypeError("reset")));
  await assert.rejects(store.preKeys.take(address, installed, "fifo", claim), { error: "unavailable" });
  scripted.onCommit = (commit) => commit.run();
  assert.deepEqual(await takeOne(store, address, "fifo", claim), { preKey: Uint8Array.of(0), remaining: 1 });
});

Deno.test("take() keeps a claim for ten minutes, and lets the database collect it a minute later", async () => {
  await using scripted = await ScriptedKv.open();
  await using store = await openStore({ kv: scripted.kv });
  const address = newAddress();
  await registerDevice(store, address, numbered(1));
  const claim = newClaim();
  await takeOne(store, address, "fifo", claim);
  const name = claimKey(claim.requester, claim.claimId, address).join("/");
  const step = scripted.commits.at(-1)?.steps.find(({ what, key }) =>
    what === "set" && key.join("/") === name
  );
  assert.equal(step?.expireInMs, CLAIM_MS + 60_000);
});
