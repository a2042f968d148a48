/**
 * Tests of mailboxes: what goes in comes out, in its order, up to the millisecond of its expiry.
 * @module
 */
import assert from "node:assert/strict";
import type { StoredMessage } from "../../lib/domain.ts";
import { TIMES } from "../../lib/limits.ts";
import { inboxKey } from "../../lib/store/keys.ts";
import type { MailboxEntry, Store } from "../../lib/store/mod.ts";
import { bucketEnd } from "../../lib/store/tally.ts";
import type { Write } from "../../lib/store/writer.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { append, newAddress, newBytes, newMessage, openStore, type TestStore } from "./open_store.ts";
import { ScriptedKv } from "./scripted_kv.ts";

const EPOCH = "an epoch";
const TO = newAddress();

/** What a page holds, and whether it reached the end. */
async function readPage(store: Store, limit: number, want = Infinity, address = TO, epoch = EPOCH) {
  const entries: MailboxEntry[] = [];
  const { isAtEnd } = await store.mailboxes.page(address, epoch, limit, (entry) => {
    entries.push(entry);
    return entries.length < want;
  });
  return { entries, isAtEnd };
}

async function appendSome(store: Store, count: number): Promise<MailboxEntry[]> {
  const messages = Array.from({ length: count }, () => newMessage(store));
  return await Promise.all(messages.map((message) => append(store, TO, EPOCH, message)));
}

const idsOf = (entries: readonly Pick<StoredMessage, "id">[]) => entries.map(({ id }) => id.toHex());

/** What an entry holds of its message. */
function toMessage({ idKey: _, epoch: __, ...message }: MailboxEntry): StoredMessage {
  return message;
}

Deno.test("append() stores a message that page() reads back, as the entry that it returned", async () => {
  await using store = await openStore();
  const message = newMessage(store, { transient: true });
  const { promise, resolve } = Promise.withResolvers<void>();
  const entry = store.mailboxes.append(TO, EPOCH, message, { addition: null, ring: null }, () => resolve());
  assert.deepEqual((await readPage(store, 10)).entries, [], "it is not durable yet");
  await promise;
  const { entries, isAtEnd } = await readPage(store, 10);
  assert.deepEqual(entries, [entry]);
  assert.deepEqual(toMessage(entry), message);
  assert.equal(isAtEnd, true);
});

Deno.test("append() keeps a copy: the frame that the message came in may be reused", async () => {
  await using store = await openStore();
  const message = newMessage(store, { ciphertext: Uint8Array.of(1, 2, 3) });
  const stored = append(store, TO, EPOCH, message);
  message.ciphertext.fill(0);
  await stored;
  assert.deepEqual((await readPage(store, 1)).entries[0]?.ciphertext, Uint8Array.of(1, 2, 3));
});

Deno.test("page() reads from the head, no further than the limit or what is wanted", async () => {
  await using store = await openStore();
  const ids = idsOf(await appendSome(store, 150));
  const cases = [[1_000, Infinity, 150, true], [150, Infinity, 150, false], [10, Infinity, 10, false], [
    1_000,
    70,
    70,
    false,
  ]] as const;
  for (const [limit, want, count, atEnd] of cases) {
    const { entries, isAtEnd } = await readPage(store, limit, want);
    assert.deepEqual(idsOf(entries), ids.slice(0, count));
    assert.equal(isAtEnd, atEnd, `limit ${limit}, want ${want}`);
  }
});

Deno.test("page() shows one mailbox: not another device's, and not another installation's", async () => {
  await using store = await openStore();
  const ids = idsOf(await appendSome(store, 1));
  const neighbours = [{ ...TO, deviceId: 10 }, { ...TO, deviceId: 0 }, newAddress()];
  for (const neighbour of neighbours) await append(store, neighbour, EPOCH, newMessage(store));
  for (const epoch of ["an epoch 2", "an epoc"]) await append(store, TO, epoch, newMessage(store));
  assert.deepEqual(idsOf((await readPage(store, 10)).entries), ids);
});

Deno.test("page() passes over a row that is no entry", async () => {
  await using store = await openStore();
  await store.kv.set(inboxKey(TO, EPOCH, new Uint8Array(16)), Uint8Array.of(1, 2, 3));
  const ids = idsOf(await appendSome(store, 2));
  const { entries, isAtEnd } = await readPage(store, 10);
  assert.deepEqual(idsOf(entries), ids);
  assert.equal(isAtEnd, true);
});

Deno.test("remove() deletes the message that it names, and no other", async () => {
  await using store = await openStore();
  const messages = await appendSome(store, 3);
  await remove(store, messages[1]);
  assert.deepEqual(
    idsOf((await readPage(store, 10)).entries),
    idsOf([messages[0], messages[2]].flatMap((m) => m ?? [])),
  );
  await remove(store, messages[1]);
  assert.equal((await readPage(store, 10)).entries.length, 2);
});

Deno.test("discard() deletes the message that it names, and does no harm where there is none", async () => {
  await using store = await openStore();
  const [first, second] = await appendSome(store, 2);
  assert.ok(first && second);
  for (const _ of ["there", "gone"]) {
    await settled((settle) => store.mailboxes.discard(TO, EPOCH, first.id, settle));
    assert.deepEqual((await readPage(store, 10)).entries, [second]);
  }
});

/** Waits until a write is durable. */
function settled(begin: (settle: Write["settle"]) => void): Promise<void> {
  return new Promise((resolve, reject) => begin((error) => error === null ? resolve() : reject(error)));
}

async function remove(store: TestStore, entry: MailboxEntry | undefined): Promise<void> {
  assert.ok(entry);
  await settled((settle) => store.mailboxes.remove(TO, entry, settle));
}

/** What waits by the expiry of each message, as a scan finds it. */
async function measure(store: TestStore): Promise<{ messages: number; bytes: number }> {
  const found = { messages: 0, bytes: 0 };
  await store.mailboxes.scan(TO, EPOCH, ({ expiresAt, ciphertext }) => {
    if (expiresAt <= store.database.clock.now()) return;
    found.messages++;
    found.bytes += ciphertext.length;
  });
  return found;
}

Deno.test("scan() shows what waits, up to the millisecond of its expiry, and what has expired", async () => {
  const clock = new ManualClock();
  await using store = await openStore({ clock });
  const sized = (bytes: number, ttlMs: number) =>
    append(
      store,
      TO,
      EPOCH,
      newMessage(store, { ciphertext: newBytes(bytes), expiresAt: clock.now() + ttlMs }),
    );
  await Promise.all([sized(100, 1_000), sized(10, 2_000), sized(0, 2_000)]);
  assert.deepEqual(await measure(store), { messages: 3, bytes: 110 });
  clock.advance(999);
  assert.deepEqual(await measure(store), { messages: 3, bytes: 110 });
  clock.advance(1);
  assert.deepEqual(await measure(store), { messages: 2, bytes: 10 });
  assert.equal((await readPage(store, 10)).entries.length, 3, "an expired row is still there");
});

Deno.test("scan() looks at more than one batch, in order, and passes over what is no entry", async () => {
  await using store = await openStore();
  await store.kv.set(inboxKey(TO, EPOCH, new Uint8Array(16)), Uint8Array.of(1, 2, 3));
  const entries = await appendSome(store, 150);
  const seen: MailboxEntry[] = [];
  await store.mailboxes.scan(TO, EPOCH, (entry) => void seen.push(entry));
  assert.deepEqual(seen, entries);
});

for (const transient of [false, true]) {
  const what = transient ? "a transient message" : "a message";
  Deno.test(`append() lets the database collect ${what} a while after its expiry, no sooner`, async () => {
    await using scripted = await ScriptedKv.open();
    await using store = await openStore({ kv: scripted.kv, clock: new ManualClock() });
    const message = newMessage(store, { transient });
    const expiresAt = message.timestamp + 5_000;
    await append(store, TO, EPOCH, { ...message, expiresAt });
    const expireIn = scripted.commits.at(-1)?.steps[0]?.expireInMs ?? 0;
    // An expired row stays until its stretch of time is over: whoever reads it counts it as lost.
    const livesMs = transient ? 5_000 : bucketEnd(expiresAt) - message.timestamp;
    assert.equal(expireIn, livesMs + TIMES.expirySlackMs);
    assert.ok(livesMs >= 5_000);
  });
}

Deno.test("append() writes its companions in the same commit", async () => {
  await using scripted = await ScriptedKv.open();
  await using store = await openStore({ kv: scripted.kv });
  const message = newMessage(store);
  const addition = {
    group: "any",
    byteLength: 1,
    write: (bytes: Uint8Array, offset: number) => bytes.fill(1, offset, offset + 1),
    newKey: () => ["grows"],
  };
  const ring = { key: ["rings"], change: Uint8Array.of(2) };
  await settled((settle) => store.mailboxes.append(TO, EPOCH, message, { addition, ring }, settle));
  const [mutations] = scripted.mutations.slice(-1);
  assert.deepEqual(mutations?.map((key) => key.split("/")[0]), ["inbox", "rings", "waiting", "grows"]);
  assert.deepEqual((await store.database.get(["grows"]))?.value, Uint8Array.of(1));
});
