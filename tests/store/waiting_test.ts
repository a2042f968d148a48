/**
 * Tests of how much waits and how much was lost: counted with each message, and by stretches of expiry.
 * @module
 */
import assert from "node:assert/strict";
import { lostKey, waitingKey } from "../../lib/store/keys.ts";
import type { MailboxEntry } from "../../lib/store/mod.ts";
import { eventually } from "../support/eventually.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { append, newAddress, newBytes, newMessage, openStore, type TestStore } from "./open_store.ts";
import { ScriptedKv } from "./scripted_kv.ts";

const STRETCH_MS = 6 * 3_600_000;
const EPOCH = "an epoch";
const TO = newAddress();

/** A store whose clock stands at the beginning of a stretch. */
async function openStill(kv?: Deno.Kv) {
  const clock = new ManualClock(1_000 * STRETCH_MS);
  return { clock, store: await openStore({ clock, ...(kv && { kv }) }) };
}

/** Stores a message of so many bytes that expires in so many milliseconds. */
function send(store: TestStore, bytes: number, ttlMs: number, transient = false): Promise<MailboxEntry> {
  const expiresAt = store.database.clock.now() + ttlMs;
  return append(store, TO, EPOCH, newMessage(store, { ciphertext: newBytes(bytes), expiresAt, transient }));
}

const written = (store: TestStore) => eventually("all is written", () => store.writer.isIdle);

const read = async (store: TestStore) => (await written(store), await store.waiting.read(TO, EPOCH));

Deno.test("read() tells what waits by stretches, from the commits that store and delete it", async () => {
  const { store } = await openStill();
  await using _ = store;
  const [first] = await Promise.all([
    send(store, 100, 1_000),
    send(store, 10, STRETCH_MS - 1),
    send(store, 0, STRETCH_MS),
    send(store, 50, 1_000, true),
  ]);
  const { open, byBucket, lost, report } = await read(store);
  assert.deepEqual(open, { messages: 3, bytes: 110 }, "a transient one is not counted");
  assert.deepEqual([...byBucket], [[1_000, { messages: 2, bytes: 110 }], [1_001, { messages: 1, bytes: 0 }]]);
  assert.deepEqual([lost, report], [0, { counted: 0, closed: [] }]);
  store.mailboxes.discard(TO, EPOCH, first.id, () => {});
  assert.deepEqual((await read(store)).open, { messages: 3, bytes: 110 });
  store.mailboxes.remove(TO, first, () => {});
  assert.deepEqual((await read(store)).open, { messages: 2, bytes: 10 });
});

Deno.test("read() tells of one mailbox: not another device's, and not another installation's", async () => {
  const { store } = await openStill();
  await using _ = store;
  for (const to of [{ ...TO, deviceId: 10 }, newAddress()]) await append(store, to, EPOCH, newMessage(store));
  for (const epoch of ["an epoch 2", "an epoc"]) {
    await append(store, TO, epoch, newMessage(store));
    store.waiting.addLost(TO, epoch, 1);
  }
  const { open, lost } = await read(store);
  assert.deepEqual([open, lost], [{ messages: 0, bytes: 0 }, 0]);
});

Deno.test("read() takes what is counted in a stretch for lost as soon as that is over, no sooner", async () => {
  const { clock, store } = await openStill();
  await using _ = store;
  await Promise.all([send(store, 5, 1), send(store, 6, 2), send(store, 7, STRETCH_MS)]);
  clock.step(STRETCH_MS - 1);
  assert.deepEqual((await read(store)).open, { messages: 3, bytes: 18 });
  clock.step(1);
  const { open, lost, report, byBucket } = await read(store);
  assert.deepEqual([open, lost], [{ messages: 1, bytes: 7 }, 2]);
  assert.deepEqual([...byBucket.keys()], [1_001]);
  assert.deepEqual(report, { counted: 0, closed: [1_000] });
});

Deno.test("clear() forgets what was told, and nothing that was lost since", async () => {
  const { clock, store } = await openStill();
  await using _ = store;
  await Promise.all([send(store, 5, 1), send(store, 6, STRETCH_MS), send(store, 7, 2 * STRETCH_MS)]);
  store.waiting.addLost(TO, EPOCH, 3);
  clock.step(STRETCH_MS);
  const told = await read(store);
  assert.deepEqual([told.lost, told.report.counted], [4, 3]);
  store.waiting.addLost(TO, EPOCH, 2);
  clock.step(STRETCH_MS);
  store.waiting.clear(TO, EPOCH, told.report);
  const after = await read(store);
  assert.deepEqual([after.lost, after.report.counted], [3, 2]);
  assert.deepEqual(after.open, { messages: 1, bytes: 7 });
  store.waiting.clear(TO, EPOCH, after.report);
  const { lost, report } = await read(store);
  assert.deepEqual([lost, report], [0, { counted: 0, closed: [] }]);
  assert.equal(await store.database.get(waitingKey(TO, EPOCH, 1_000)), null);
});

Deno.test("clear() with nothing to clear writes nothing", async () => {
  await using scripted = await ScriptedKv.open();
  const { store } = await openStill(scripted.kv);
  const { report } = await read(store);
  const before = scripted.commits.length;
  store.waiting.clear(TO, EPOCH, report);
  await written(store);
  assert.equal(scripted.commits.length, before);
});

Deno.test("addLost() adds up", async () => {
  const { store } = await openStill();
  await using _ = store;
  for (const messages of [1, 2, 3]) store.waiting.addLost(TO, EPOCH, messages);
  assert.equal((await read(store)).lost, 6);
  store.waiting.addLost(TO, EPOCH, 4);
  assert.equal((await read(store)).lost, 10);
  assert.ok((await store.database.get(lostKey(TO, EPOCH)))?.value instanceof Deno.KvU64);
});

Deno.test("correct() makes the counts what was found, and keeps what was counted since", async () => {
  const { store } = await openStill();
  await using _ = store;
  await Promise.all([
    send(store, 5, 1),
    send(store, 6, 1),
    send(store, 7, STRETCH_MS),
    send(store, 8, 2 * STRETCH_MS),
  ]);
  const { byBucket: counted } = await read(store);
  const closed = [999, { messages: 9, bytes: 9 }] as const;
  const found = new Map([closed, [1_000, { messages: 1, bytes: 6 }], [1_002, { messages: 4, bytes: 40 }]]);
  await send(store, 100, 1);
  assert.deepEqual(store.waiting.correct(TO, EPOCH, counted, found), { messages: 1, bytes: 20 });
  const { open, byBucket, lost } = await read(store);
  assert.deepEqual(byBucket.get(1_000), { messages: 2, bytes: 106 });
  assert.deepEqual(byBucket.get(1_001), { messages: 0, bytes: 0 });
  assert.deepEqual(byBucket.get(1_002), { messages: 4, bytes: 40 });
  assert.deepEqual(open, { messages: 6, bytes: 146 });
  assert.equal(lost, 0, "what is not counted any more is left alone");
});

Deno.test("expire() deletes a message, and moves it from what waits to what was lost, in one commit", async () => {
  await using scripted = await ScriptedKv.open();
  const { store } = await openStill(scripted.kv);
  const [entry, transient] = await Promise.all([
    send(store, 5, 1),
    send(store, 9, 1, true),
    send(store, 6, 1),
  ]);
  const before = scripted.commits.length;
  const empty = { ...entry, ciphertext: new Uint8Array(0) };
  store.mailboxes.expire(TO, empty, 5);
  store.mailboxes.expire(TO, transient, 9);
  const { open, lost } = await read(store);
  assert.deepEqual([open, lost], [{ messages: 1, bytes: 6 }, 1], "a transient one is not counted");
  assert.equal(scripted.commits.length, before + 1);
  const left: number[] = [];
  await store.mailboxes.scan(TO, EPOCH, ({ ciphertext }) => void left.push(ciphertext.length));
  assert.deepEqual(left, [6]);
});

Deno.test("read() deletes the count of a stretch that is over, and in which nothing was lost", async () => {
  const { clock, store } = await openStill();
  await using _ = store;
  const [entry] = await Promise.all([send(store, 5, 1), send(store, 6, STRETCH_MS)]);
  store.mailboxes.remove(TO, entry, () => {});
  await read(store);
  assert.ok(await store.database.get(waitingKey(TO, EPOCH, 1_000)), "while it is not over, it stays");
  clock.step(STRETCH_MS);
  const { lost, report } = await read(store);
  assert.deepEqual([lost, report], [0, { counted: 0, closed: [] }]);
  await written(store);
  assert.equal(await store.database.get(waitingKey(TO, EPOCH, 1_000)), null);
  assert.deepEqual((await read(store)).open, { messages: 1, bytes: 6 });
});

Deno.test("correct() of counts that are right writes nothing", async () => {
  await using scripted = await ScriptedKv.open();
  const { store } = await openStill(scripted.kv);
  await send(store, 5, 1);
  const { byBucket: counted } = await read(store);
  const before = scripted.commits.length;
  const found = new Map([[1_000, { messages: 1, bytes: 5 }]]);
  assert.deepEqual(store.waiting.correct(TO, EPOCH, counted, found), { messages: 0, bytes: 0 });
  await written(store);
  assert.equal(scripted.commits.length, before);
});

Deno.test("read() takes a count below zero for zero, and it does not eat up other stretches", async () => {
  const { store } = await openStill();
  await using _ = store;
  const [entry] = await Promise.all([send(store, 5, 1), send(store, 6, STRETCH_MS)]);
  for (let times = 0; times < 3; times++) store.mailboxes.remove(TO, entry, () => {});
  assert.deepEqual((await read(store)).open, { messages: 1, bytes: 6 });
});
