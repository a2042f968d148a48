/**
 * Tests of sends on conditions: all copies in one commit, or none.
 * @module
 */
import assert from "node:assert/strict";
import type { Address } from "../../lib/address.ts";
import { KV } from "../../lib/limits.ts";
import type { MailboxEntry, Posting, Store } from "../../lib/store/mod.ts";
import {
  append,
  newAddress,
  newBytes,
  newMessage,
  openStore,
  registerDevice,
  type TestStore,
} from "./open_store.ts";
import { Gate, ScriptedKv } from "./scripted_kv.ts";

/** Registers devices 1, 2, … of a new user, and makes a send to all of them, of 100 bytes each. */
async function newPosting(
  store: TestStore,
  devices: number,
  fields: Partial<Posting> = {},
): Promise<Posting> {
  const { userId } = newAddress();
  const copies: Posting["copies"][number][] = [];
  for (let deviceId = 1; deviceId <= devices; deviceId++) {
    const to = { userId, deviceId };
    const { record: { epoch } } = await registerDevice(store, to);
    copies.push({ to, epoch, message: newMessage(store, { ciphertext: newBytes(100) }) });
  }
  const identity = { from: newAddress(), toUserId: userId, toDeviceId: null, messageId: newBytes() };
  const accepted = { at: store.database.clock.now(), fullDeviceIds: [] };
  const list = await store.devices.readList(userId);
  return { userId, copies, identity, accepted, mustBeNew: true, list, ...fields };
}

async function mailboxOf(store: Store, to: Address, epoch: string): Promise<MailboxEntry[]> {
  const entries: MailboxEntry[] = [];
  await store.mailboxes.scan(to, epoch, (entry) => void entries.push(entry));
  return entries;
}

/** How many copies of a send are stored, and how many are counted. */
async function storedOf(store: Store, { copies }: Posting): Promise<{ rows: number; counted: number }> {
  let [rows, counted] = [0, 0];
  for (const { to, epoch } of copies) {
    rows += (await mailboxOf(store, to, epoch)).length;
    counted += (await store.waiting.read(to, epoch)).open.messages;
  }
  return { rows, counted };
}

Deno.test("post() stores every copy, counts it, and remembers the send", async () => {
  await using scripted = await ScriptedKv.open();
  await using store = await openStore({ kv: scripted.kv });
  const posting = await newPosting(store, 3);
  const before = scripted.commits.length;
  const entries = await store.postings.post(posting);
  assert.equal(scripted.commits.length, before + 1);
  for (const [i, { to, epoch, message }] of posting.copies.entries()) {
    assert.deepEqual(await mailboxOf(store, to, epoch), [entries?.[i]]);
    assert.deepEqual(entries?.[i]?.id, message.id);
    assert.deepEqual((await store.waiting.read(to, epoch)).open, { messages: 1, bytes: 100 });
  }
  assert.deepEqual((await store.accepted.find(posting.identity)).accepted, posting.accepted);
});

Deno.test("post() makes one check for the list, four for what must be new, and never more than storage takes", async () => {
  await using scripted = await ScriptedKv.open();
  await using store = await openStore({ kv: scripted.kv });
  for (
    const [mustBeNew, hasList, checks] of [[true, true, 5], [true, false, 4], [false, true, 1], [
      false,
      false,
      0,
    ]] as const
  ) {
    const posting = await newPosting(store, 50, { mustBeNew, ...(hasList ? {} : { list: null }) });
    assert.ok(await store.postings.post(posting));
    const steps = scripted.commits.at(-1)?.steps ?? [];
    assert.equal(steps.filter(({ what }) => what === "check").length, checks);
    assert.ok(checks <= KV.checksMax);
    assert.deepEqual(await storedOf(store, posting), { rows: 50, counted: 50 });
  }
});

Deno.test("post() that must be new stores nothing if the send was accepted before, whoever stored it", async () => {
  await using store = await openStore();
  const other = await openStore({ kv: store.kv });
  const posting = await newPosting(store, 2);
  assert.ok(await other.postings.post({ ...posting, mustBeNew: false }));
  assert.equal(await store.postings.post(posting), null);
  assert.deepEqual(await storedOf(store, posting), { rows: 2, counted: 2 });
});

Deno.test("post() that must be new is stored once, of many attempts by two processes at once", async () => {
  await using store = await openStore();
  const other = await openStore({ kv: store.kv });
  const posting = await newPosting(store, 2);
  const attempt = (one: TestStore) => {
    const copies = posting.copies.map((copy) => ({ ...copy, message: newMessage(one) }));
    return one.postings.post({ ...posting, copies });
  };
  const outcomes = await Promise.all([store, other, store, other, store, other].map(attempt));
  assert.equal(outcomes.filter((entries) => entries !== null).length, 1);
  assert.deepEqual(await storedOf(store, posting), { rows: 2, counted: 2 });
});

Deno.test("post() that must be new knows a send that is on its way to storage", async () => {
  await using store = await openStore();
  const posting = await newPosting(store, 1);
  const [copy] = posting.copies;
  assert.ok(copy);
  const gone = Promise.withResolvers<void>();
  const mutations = [store.accepted.remember(posting.identity, posting.accepted)];
  store.writer.write(posting.userId, { mutations, settle: () => gone.resolve() });
  // Not awaited: within a lane nothing overtakes.
  const outcome = await store.postings.post(posting);
  await gone.promise;
  assert.equal(outcome, null);
  assert.deepEqual(await storedOf(store, posting), { rows: 0, counted: 0 });
});

for (const change of ["registered", "reinstalled", "unregistered"] as const) {
  Deno.test(`post() stores nothing if a device was ${change} since the list was read`, async () => {
    await using store = await openStore();
    const posting = await newPosting(store, 2);
    const address = { userId: posting.userId, deviceId: change === "registered" ? 3 : 2 };
    if (change === "unregistered") {
      const { device, list } = await store.devices.readWithList(address);
      assert.ok(device && await store.registrations.unregister(address, { device, list }));
    } else await registerDevice(store, address);
    assert.equal(await store.postings.post(posting), null);
    assert.deepEqual(await storedOf(store, posting), { rows: 0, counted: 0 });
    assert.equal((await store.accepted.find(posting.identity)).accepted, null, "it is not remembered either");
    assert.ok(await store.postings.post({ ...posting, list: null }), "unless the list need not be current");
  });
}

Deno.test("post() that was judged before a user had devices stores nothing once it has", async () => {
  await using store = await openStore();
  const { userId } = newAddress();
  const list = await store.devices.readList(userId);
  const posting = { ...await newPosting(store, 0), userId, list };
  assert.deepEqual(await store.postings.post(posting), []);
  await registerDevice(store, { userId, deviceId: 1 });
  assert.equal(await store.postings.post({ ...posting, mustBeNew: false }), null);
});

Deno.test("post() that storage refuses stores none of its copies", async () => {
  await using store = await openStore();
  const posting = await newPosting(store, 2);
  const [first, second] = posting.copies;
  assert.ok(first && second);
  const large = { ...second, message: newMessage(store, { ciphertext: new Uint8Array(KV.valueBytesMax) }) };
  await assert.rejects(store.postings.post({ ...posting, copies: [first, large] }), { error: "unavailable" });
  assert.deepEqual(await storedOf(store, posting), { rows: 0, counted: 0 });
  assert.equal((await store.accepted.find(posting.identity)).accepted, null);
});

Deno.test("post() does not count a transient message", async () => {
  await using store = await openStore();
  const posting = await newPosting(store, 2);
  const copies = posting.copies.map((copy) => ({ ...copy, message: { ...copy.message, transient: true } }));
  assert.ok(await store.postings.post({ ...posting, copies }));
  assert.deepEqual(await storedOf(store, posting), { rows: 2, counted: 0 });
});

Deno.test("post() keeps its place among the messages of its lane", async () => {
  await using scripted = await ScriptedKv.open();
  await using store = await openStore({ kv: scripted.kv });
  const posting = await newPosting(store, 1);
  const [copy] = posting.copies;
  assert.ok(copy);
  const gate = new Gate();
  scripted.onCommit = async (commit) => (await gate.passed, await commit.run());
  const before = append(store, copy.to, copy.epoch, newMessage(store));
  const posted = store.postings.post(posting);
  const after = append(store, copy.to, copy.epoch, newMessage(store));
  const order = scripted.commits.length;
  gate.open();
  await Promise.all([before, posted, after]);
  const sizes = scripted.mutations.slice(order).map(({ length }) => length);
  assert.deepEqual(sizes, [2, 3, 2], "the message before, the posting, the message after");
});
