/**
 * Tests of rows that grow: what a batch adds is durable with it, and with no other.
 * @module
 */
import assert from "node:assert/strict";
import type { Address } from "../../lib/address.ts";
import { GROWING, TIMES } from "../../lib/limits.ts";
import { acceptedPrefix } from "../../lib/store/keys.ts";
import { ManualClock, ShiftedClock } from "../support/manual_clock.ts";
import { append, newAddress, newBytes, newMessage, openStore, type TestStore } from "./open_store.ts";
import { Gate, ScriptedKv } from "./scripted_kv.ts";

const FROM = newAddress();
const TO = newAddress(3);
const EPOCH = "an epoch";
const HALF_HOUR_MS = 1_800_000;

/** Stores a message that is remembered as a send. */
async function sendOne(store: TestStore, messageId: Uint8Array, at = 7, to: Address = TO): Promise<void> {
  await append(store, to, EPOCH, newMessage(store), store.accepted.add(FROM, to, messageId, at));
}

async function timeOf(store: TestStore, messageId: Uint8Array, to: Address = TO): Promise<number | null> {
  const send = { from: FROM, toUserId: to.userId, toDeviceId: to.deviceId, messageId };
  return (await store.accepted.find(send)).accepted?.at ?? null;
}

async function countRows({ database }: TestStore): Promise<number> {
  return (await database.list({ prefix: acceptedPrefix }, { limit: 1_000 })).length;
}

const newIds = (count: number) => Array.from({ length: count }, () => newBytes());

Deno.test("sends of one pair share a row until it is full, and each is found with its time", async () => {
  await using store = await openStore();
  const ids = newIds(100);
  for (const [i, id] of ids.entries()) await sendOne(store, id, 2 ** 41 + i);
  for (const [i, id] of ids.entries()) assert.equal(await timeOf(store, id), 2 ** 41 + i);
  assert.equal(await countRows(store), Math.ceil(100 / (GROWING.rowBytesMax / 24)));
  assert.equal(await timeOf(store, newBytes()), null);
});

Deno.test("a batch writes a row once, whatever it adds to it", async () => {
  await using scripted = await ScriptedKv.open();
  await using store = await openStore({ kv: scripted.kv });
  const ids = newIds(20);
  const before = scripted.commits.length;
  await Promise.all(ids.map((id) => sendOne(store, id)));
  const rows = scripted.mutations.slice(before).flat().filter((key) => key.startsWith("accepted/"));
  assert.equal(rows.length, scripted.commits.length - before);
  for (const id of ids) assert.equal(await timeOf(store, id), 7);
});

Deno.test("sends of other pairs, and of the next stretch, have rows of their own", async () => {
  const clock = new ManualClock(1_000 * HALF_HOUR_MS);
  await using store = await openStore({ clock });
  const [id, later] = [newBytes(), newBytes()];
  await sendOne(store, id);
  await sendOne(store, id, 8, { ...TO, deviceId: 4 });
  clock.step(HALF_HOUR_MS);
  await sendOne(store, later, 9);
  assert.equal(await countRows(store), 3);
  assert.equal(await timeOf(store, id), 7);
  assert.equal(await timeOf(store, id, { ...TO, deviceId: 4 }), 8);
  assert.equal(await timeOf(store, later), 9);
  assert.equal(await timeOf(store, later, { ...TO, deviceId: 4 }), null);
  clock.step(2 * HALF_HOUR_MS);
  assert.equal(await timeOf(store, id), null);
  assert.equal(await timeOf(store, later), 9);
});

// Else a repeat of a message that was never stored would be answered with an Ack.
Deno.test("what came with a batch that failed does not become durable with a later one", async () => {
  await using scripted = await ScriptedKv.open();
  await using store = await openStore({ kv: scripted.kv });
  const [before, failed, after] = newIds(3);
  assert.ok(before && failed && after);
  await sendOne(store, before);
  scripted.onCommit = () => Promise.reject(new TypeError("disk I/O error"));
  await assert.rejects(sendOne(store, failed), { error: "unavailable" });
  scripted.onCommit = (commit) => commit.run();
  await sendOne(store, after);
  assert.equal(await timeOf(store, before), 7);
  assert.equal(await timeOf(store, failed), null);
  assert.equal(await timeOf(store, after), 7);
});

Deno.test("a batch that is tried again adds once", async () => {
  await using scripted = await ScriptedKv.open();
  await using store = await openStore({ kv: scripted.kv, clock: new ShiftedClock() });
  let attempts = 0;
  scripted.onCommit = (commit) =>
    ++attempts < 3 ? Promise.reject(new TypeError("database is locked")) : commit.run();
  const id = newBytes();
  await sendOne(store, id);
  const [row] = await store.database.list({ prefix: acceptedPrefix }, { limit: 2 });
  assert.ok(attempts === 3 && row?.value instanceof Uint8Array);
  assert.equal(row.value.length, 24);
  assert.equal(await timeOf(store, id), 7);
});

Deno.test("what was carried out after its deadline is found like the rest, and so is what follows", async () => {
  await using scripted = await ScriptedKv.open();
  const clock = new ManualClock();
  await using store = await openStore({ kv: scripted.kv, clock });
  const gate = new Gate();
  scripted.onCommit = async (commit) => (await gate.passed, await commit.run());
  const [late, next] = newIds(2);
  assert.ok(late && next);
  const sending = assert.rejects(sendOne(store, late), { error: "unavailable" });
  await Promise.resolve();
  clock.advance(TIMES.storageDeadlineMs + 1);
  store.writer.refuseLate(TIMES.storageDeadlineMs);
  await sending;
  const following = sendOne(store, next);
  gate.open();
  await following;
  assert.equal(await timeOf(store, late), 7);
  assert.equal(await timeOf(store, next), 7);
});

Deno.test("a batch of more pairs than one commit holds is split, and all of it is stored", async () => {
  await using store = await openStore();
  const targets = Array.from({ length: 1_500 }, () => newAddress());
  const id = newBytes();
  await Promise.all(targets.map((to) => sendOne(store, id, 7, to)));
  assert.equal(store.metrics.counts.writesFailed, 0);
  for (const to of targets.slice(-3)) assert.equal(await timeOf(store, id, to), 7);
});

Deno.test("one pair that fills a whole batch stays within what a commit holds", async () => {
  await using store = await openStore();
  const ids = newIds(3_000);
  await Promise.all(ids.map((id) => sendOne(store, id)));
  assert.equal(store.metrics.counts.writesFailed, 0);
  for (const id of [ids[0], ids[1_500], ids[2_999]]) assert.ok(id && await timeOf(store, id) === 7);
});
