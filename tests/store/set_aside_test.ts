/**
 * Tests of messages that clients never deal with: counted, moved behind their mailbox in one step, and never at two
 * places or at none.
 * @module
 */
import assert from "node:assert/strict";
import { DELIVERY, TIMES } from "../../lib/limits.ts";
import { asideKey, attemptsKey, inboxKey, trashKey } from "../../lib/store/keys.ts";
import { lookThrough, type MailboxEntry, scanAside } from "../../lib/store/mod.ts";
import { encodeRecord } from "../../lib/store/records.ts";
import { bucketEnd } from "../../lib/store/tally.ts";
import { ManualClock } from "../support/manual_clock.ts";
import {
  append,
  newAddress,
  newBytes,
  newMessage,
  openStore,
  registerDevice,
  type TestStore,
} from "./open_store.ts";
import { ScriptedKv } from "./scripted_kv.ts";

const EPOCH = "an epoch";
const TO = newAddress();
const HOUR_MS = 3_600_000;

/** Stores so many messages that live for a while. */
function fill(store: TestStore, count: number, ttlMs = HOUR_MS, to = TO, epoch = EPOCH) {
  const expiresAt = store.database.clock.now() + ttlMs;
  return Promise.all(
    Array.from({ length: count }, () => append(store, to, epoch, newMessage(store, { expiresAt }))),
  );
}

/** Counts one message so often, and gives the last outcome. */
async function count(store: TestStore, entry: MailboxEntry, times = 1, to = TO): Promise<string> {
  let outcome = "";
  for (let i = 0; i < times; i++) outcome = await store.setAside.count(to, entry);
  return outcome;
}

const move = (store: TestStore, entry: MailboxEntry, to = TO) =>
  count(store, entry, DELIVERY.attemptsMax, to);

/** What is in the mailbox, behind it, and counted as waiting: by ids, and messages. */
async function places(store: TestStore, to = TO, epoch = EPOCH) {
  const queue: string[] = [];
  await store.mailboxes.page(to, epoch, 1_000, ({ id }) => queue.push(id.toHex()) > 0);
  const aside = (await store.setAside.read(to, epoch, 1_000)).map(({ id }) => id.toHex());
  const waiting = (await store.waiting.read(to, epoch)).open.messages;
  return { queue, aside, waiting };
}

const ids = (...entries: MailboxEntry[]) => entries.map(({ id }) => id.toHex());

Deno.test("count() moves a message behind the others the tenth time, and it still counts as waiting", async () => {
  await using store = await openStore();
  const [first, second] = await fill(store, 2);
  assert.ok(first && second);
  assert.equal(await count(store, first, 9), "counted");
  assert.deepEqual(await places(store), { queue: ids(first, second), aside: [], waiting: 2 });
  assert.equal(await count(store, first), "moved");
  assert.deepEqual(await places(store), { queue: ids(second), aside: ids(first), waiting: 2 });
  assert.equal(await store.database.get(attemptsKey(TO, EPOCH)), null, "nothing is counted any more");
  const [aside] = await store.setAside.read(TO, EPOCH, 10);
  assert.deepEqual(aside, { ...first, isAside: true }, "it is what it was");
  assert.equal(await count(store, first), "gone");
  assert.ok(aside);
  assert.equal(await count(store, aside), "gone", "what was moved is not counted");
});

/** What a connection is told of the first message once it is counted. */
async function counted(store: TestStore): Promise<MailboxEntry> {
  const told: MailboxEntry[] = [];
  await store.mailboxes.page(TO, EPOCH, 10, (entry) => told.push(entry) === 0);
  const [entry] = told;
  assert.ok(entry?.isCounted);
  return entry;
}

for (const isMoved of [false, true]) {
  const where = isMoved ? "is moved after it was read" : "is counted";
  Deno.test(`an Ack of a message that ${where} is durable before all that came after it`, async () => {
    await using store = await openStore();
    const [first, second] = await fill(store, 2);
    assert.ok(first && second);
    await count(store, first, DELIVERY.attemptsMax - 1);
    const entry = await counted(store);
    if (isMoved) assert.equal(await count(store, first), "moved");
    store.mailboxes.remove(TO, entry, (error) => assert.equal(error, null));
    await store.writer.flushed(TO.userId);
    assert.deepEqual(await places(store), { queue: ids(second), aside: [], waiting: 1 });
    assert.equal(await store.database.get(attemptsKey(TO, EPOCH)), null);
  });
}

Deno.test("count() begins anew with another message, and where its row is damaged", async () => {
  await using store = await openStore();
  const [first, second] = await fill(store, 2);
  assert.ok(first && second);
  await count(store, first, 9);
  assert.equal(await count(store, second, 9), "counted");
  assert.equal(await count(store, first, 9), "counted", "one row a mailbox: it was forgotten");
  for (const value of [Uint8Array.of(1), encodeRecord({ id: new Uint8Array(), attempts: 9 })]) {
    await store.kv.set(attemptsKey(TO, EPOCH), value);
    assert.deepEqual((await places(store)).queue, ids(first, second), "it keeps nobody from reading");
    assert.equal(await count(store, first, 9), "counted");
  }
});

Deno.test("count() leaves a message alone that is gone, expires soon, or is of use for seconds only", async () => {
  const clock = new ManualClock();
  await using scripted = await ScriptedKv.open();
  await using store = await openStore({ kv: scripted.kv, clock });
  const [gone] = await fill(store, 1);
  const [soon] = await fill(store, 1, 59_999);
  const transient = await append(
    store,
    TO,
    EPOCH,
    newMessage(store, { transient: true, expiresAt: clock.now() + HOUR_MS }),
  );
  assert.ok(gone && soon);
  await store.setAside.remove(TO, gone, false);
  const before = scripted.commits.length;
  for (const entry of [gone, soon, transient]) assert.equal(await count(store, entry, 20), "gone");
  assert.equal(scripted.commits.length, before, "nothing is written");
});

Deno.test("count() is a commit that checks the message and its row, and lives as long as the message", async () => {
  await using scripted = await ScriptedKv.open();
  await using store = await openStore({ kv: scripted.kv, clock: new ManualClock() });
  const [entry] = await fill(store, 1);
  assert.ok(entry);
  const name = (key: Deno.KvKey) =>
    key.length === 6 ? "aside" : key[4] instanceof Uint8Array && key[4].length > 0 ? "inbox" : "attempts";
  const expireInMs = bucketEnd(entry.expiresAt) - entry.timestamp + TIMES.expirySlackMs;
  const steps = () =>
    scripted.commits.at(-1)?.steps.map(({ what, key, expireInMs }) => [what, name(key), expireInMs]);
  const checks = [["check", "inbox", undefined], ["check", "attempts", undefined]];
  await count(store, entry);
  assert.deepEqual(steps(), [...checks, ["set", "attempts", expireInMs]]);
  await count(store, entry, 9);
  const gone = [["delete", "inbox", undefined], ["delete", "attempts", undefined]];
  assert.deepEqual(steps(), [...checks, ...gone, ["set", "aside", expireInMs]]);
});

for (const isMoved of [false, true]) {
  Deno.test(`remove() deletes a message once, ${isMoved ? "where it was moved" : "in its place"}, and what counted it`, async () => {
    await using store = await openStore();
    const [first, second] = await fill(store, 2);
    assert.ok(first && second);
    await count(store, first, isMoved ? 10 : 9);
    for (let times = 0; times < 3; times++) {
      await store.setAside.remove(TO, first, false);
      assert.deepEqual(await places(store), { queue: ids(second), aside: [], waiting: 1 });
    }
    assert.equal(await store.database.get(attemptsKey(TO, EPOCH)), null);
    await count(store, second, 3);
    await store.setAside.remove(TO, first, false);
    assert.notEqual(await store.database.get(attemptsKey(TO, EPOCH)), null, "that of another one stays");
  });
}

/** Has something happen just before the next commit is carried out. */
function beforeNextCommit(scripted: ScriptedKv, work: () => Promise<unknown>): void {
  scripted.onCommit = async (commit) => {
    scripted.onCommit = (next) => next.run();
    await work();
    return await commit.run();
  };
}

Deno.test("a message that is moved while it is being deleted is deleted, and counted once", async () => {
  await using scripted = await ScriptedKv.open();
  await using store = await openStore({ kv: scripted.kv });
  await using other = await openStore({ kv: scripted.kv });
  const [first] = await fill(store, 1);
  assert.ok(first);
  await count(store, first, 9);
  beforeNextCommit(scripted, () => other.setAside.count(TO, first));
  await store.setAside.remove(TO, first, false);
  assert.deepEqual(await places(store), { queue: [], aside: [], waiting: 0 });
});

Deno.test("a message that is deleted while it is being moved stays deleted", async () => {
  await using scripted = await ScriptedKv.open();
  await using store = await openStore({ kv: scripted.kv });
  await using other = await openStore({ kv: scripted.kv });
  const [first] = await fill(store, 1);
  assert.ok(first);
  await count(store, first, 9);
  beforeNextCommit(scripted, () => other.setAside.remove(TO, first, false));
  assert.equal(await count(store, first), "gone");
  assert.deepEqual(await places(store), { queue: [], aside: [], waiting: 0 });
});

Deno.test("two connections that count at once count once, and move once", async () => {
  await using scripted = await ScriptedKv.open();
  await using store = await openStore({ kv: scripted.kv });
  await using other = await openStore({ kv: scripted.kv });
  const [first] = await fill(store, 1);
  assert.ok(first);
  for (const [before, expected] of [[8, "counted"], [0, "moved"]] as const) {
    await count(store, first, before);
    let outcome = "";
    beforeNextCommit(scripted, async () => outcome = await other.setAside.count(TO, first));
    assert.deepEqual([await count(store, first), outcome], ["gone", expected]);
  }
  assert.deepEqual(await places(store), { queue: [], aside: ids(first), waiting: 1 });
});

for (const isCarriedOut of [false, true]) {
  const what = isCarriedOut ? "was carried out though it seemed to fail" : "failed";
  Deno.test(`a move that ${what} leaves the message at one place`, async () => {
    await using scripted = await ScriptedKv.open();
    await using store = await openStore({ kv: scripted.kv });
    const [first] = await fill(store, 1);
    assert.ok(first);
    await count(store, first, 9);
    scripted.onCommit = async (commit) => {
      if (isCarriedOut) await commit.run();
      throw new TypeError("reset");
    };
    await assert.rejects(count(store, first), { error: "unavailable" });
    scripted.onCommit = (commit) => commit.run();
    const [queue, aside] = isCarriedOut ? [[], ids(first)] : [ids(first), []];
    assert.deepEqual(await places(store), { queue, aside, waiting: 1 });
    assert.equal(await count(store, first), isCarriedOut ? "gone" : "moved", "the next connection's");
    assert.deepEqual(await places(store), { queue: [], aside: ids(first), waiting: 1 });
  });

  Deno.test(`a deletion that ${what} is repeated, and counted once`, async () => {
    await using scripted = await ScriptedKv.open();
    await using store = await openStore({ kv: scripted.kv });
    const [first, second] = await fill(store, 2);
    assert.ok(first && second);
    scripted.onCommit = async (commit) => {
      if (isCarriedOut) await commit.run();
      throw new TypeError("reset");
    };
    const removed = Promise.withResolvers<void>();
    store.mailboxes.remove(TO, first, (error) => error === null ? removed.resolve() : removed.reject(error));
    await assert.rejects(removed.promise, { error: "unavailable" });
    if (!isCarriedOut) {
      await assert.rejects(store.setAside.remove(TO, first, false), { error: "unavailable" });
    }
    scripted.onCommit = (commit) => commit.run();
    for (let times = 0; times < 2; times++) {
      await store.setAside.remove(TO, first, false);
      assert.deepEqual(await places(store), { queue: ids(second), aside: [], waiting: 1 });
    }
  });
}

/** How far a read came, without where. */
async function pageOf(
  store: TestStore,
  limit: number,
  wants: (entry: MailboxEntry) => boolean,
  looksForAside?: boolean,
): Promise<{ isAtEnd: boolean; hasAside: boolean }> {
  const { isAtEnd, hasAside } = await store.mailboxes.page(TO, EPOCH, limit, wants, looksForAside);
  return { isAtEnd, hasAside };
}

Deno.test("page() goes on from a message, that one included, and tells which one it looked at last", async () => {
  await using store = await openStore();
  const entries = await fill(store, 5);
  const seen: string[] = [];
  const look = (limit: number, from: Uint8Array | null) => {
    seen.length = 0;
    return store.mailboxes.page(TO, EPOCH, limit, ({ id }) => seen.push(id.toHex()) > 0, false, from);
  };
  const first = await look(3, null);
  assert.deepEqual([first.isAtEnd, first.lastId], [false, entries[2]?.id]);
  const second = await look(9, first.lastId);
  assert.deepEqual(seen, ids(...entries.slice(2)));
  assert.deepEqual([second.isAtEnd, second.lastId], [true, entries[4]?.id]);
  assert.equal((await look(9, second.lastId)).isAtEnd, true);
});

Deno.test("page() ends where the mailbox does, says that something is behind, and marks what is counted", async () => {
  await using store = await openStore();
  const [first, second, third] = await fill(store, 3);
  assert.ok(first && second && third);
  await move(store, first);
  await count(store, second, 3);
  const seen: MailboxEntry[] = [];
  const look = (limit: number, looksForAside?: boolean) => {
    seen.length = 0;
    return pageOf(store, limit, (entry) => seen.push(entry) > 0, looksForAside);
  };
  assert.deepEqual(await look(100, true), { isAtEnd: true, hasAside: true });
  assert.deepEqual(seen, [{ ...second, isCounted: true }, third]);
  assert.deepEqual(await look(100), { isAtEnd: true, hasAside: false });
  assert.deepEqual(
    await look(4, true),
    { isAtEnd: true, hasAside: true },
    "the row that counts, two, and one behind",
  );
  assert.deepEqual(await look(3, true), { isAtEnd: false, hasAside: false });
  assert.deepEqual(await pageOf(store, 100, () => false, true), {
    isAtEnd: false,
    hasAside: false,
  });
});

Deno.test("read() shows no more than it may, and each of very many in the end", async () => {
  await using store = await openStore();
  const entries = await fill(store, 60);
  // As many moves as a test has time for: what the last count does.
  for (const entry of entries) {
    const row = await store.database.get(inboxKey(TO, EPOCH, entry.id));
    await store.kv.atomic().delete(inboxKey(TO, EPOCH, entry.id)).set(
      asideKey(TO, EPOCH, entry.id),
      row?.value,
    )
      .commit();
  }
  const seen = new Set<string>();
  for (let connection = 0; connection < 200; connection++) {
    const some = await store.setAside.read(TO, EPOCH, DELIVERY.asideMessagesMax);
    assert.equal(new Set(ids(...some)).size, DELIVERY.asideMessagesMax, "none comes twice");
    for (const id of ids(...some)) seen.add(id);
  }
  assert.deepEqual([...seen].sort(), ids(...entries).sort());
});

Deno.test("what was moved expires as any other does: found by who looks through, deleted, counted as lost", async () => {
  const clock = new ManualClock(Date.UTC(2030, 0, 1));
  await using store = await openStore({ clock });
  const [first, second] = await fill(store, 2);
  assert.ok(first && second);
  await move(store, first);
  clock.advance(HOUR_MS);
  const seen = await lookThrough(store, TO, EPOCH, clock.now(), () => {});
  assert.deepEqual(ids(...seen.expired.map(({ entry }) => entry)).sort(), ids(first, second).sort());
  assert.deepEqual(seen.found, seen.counted);
  for (const { entry, bytes } of seen.expired) store.mailboxes.expire(TO, entry, bytes);
  await store.writer.flushed(TO.userId);
  assert.deepEqual(await places(store), { queue: [], aside: [], waiting: 0 });
  assert.equal((await store.waiting.read(TO, EPOCH)).lost, 2);
});

Deno.test("what was moved, and nobody looked at, is lost when its stretch of time is over", async () => {
  const clock = new ManualClock(Date.UTC(2030, 0, 1));
  await using store = await openStore({ clock });
  const [first] = await fill(store, 1);
  assert.ok(first);
  await move(store, first);
  clock.advance(7 * HOUR_MS);
  assert.equal((await store.waiting.read(TO, EPOCH)).lost, 1);
});

Deno.test("what was moved, and what counts, goes with its installation", async () => {
  const clock = new ManualClock();
  await using store = await openStore({ clock });
  const address = newAddress();
  const { record: { epoch } } = await registerDevice(store, address, [newBytes()]);
  const [first, second] = await fill(store, 2, HOUR_MS, address, epoch);
  assert.ok(first && second);
  await move(store, first, address);
  await count(store, second, 3, address);
  await store.kv.set(trashKey(address, epoch), encodeRecord({ at: clock.now() - TIMES.trashAgeMs }));
  while (await store.trash.sweep());
  for await (const { key } of store.kv.list({ prefix: ["inbox", address.userId] })) {
    assert.fail(key.join("/"));
  }
});

Deno.test("scanAside() shows what was moved at every device that is registered", async () => {
  await using store = await openStore();
  const expected: string[] = [];
  for (let n = 0; n < 5; n++) {
    const address = newAddress(n);
    const { record: { epoch } } = await registerDevice(store, address);
    const [first] = await fill(store, 2, HOUR_MS, address, epoch);
    if (first === undefined || n === 2) continue;
    await move(store, first, address);
    expected.push(`${address.userId} ${n} ${first.id.toHex()}`);
  }
  const seen: string[] = [];
  await scanAside(store.database, ({ userId, deviceId }, { id }) => {
    seen.push(`${userId} ${deviceId} ${id.toHex()}`);
  });
  assert.deepEqual(seen.sort(), expected.sort());
});
