/**
 * Tests of a connection's place at its address: what it reads, what it deletes, what it hears.
 * @module
 */
import assert from "node:assert/strict";
import type { Address } from "../../lib/address.ts";
import { DELIVERY, TIMES } from "../../lib/limits.ts";
import { sessionKey } from "../../lib/store/keys.ts";
import { createService, type MailboxEntry, type Receiver } from "../../lib/service/mod.ts";
import { append, newAddress, newBytes, newMessage, registerDevice } from "../store/open_store.ts";
import { Gate, ScriptedKv } from "../store/scripted_kv.ts";
import { eventually } from "../support/eventually.ts";
import { ManualClock } from "../support/manual_clock.ts";
import {
  NotingListener,
  openCore,
  outgoing,
  send,
  type TestCore,
  type TestCoreOptions,
} from "./open_core.ts";

/** A device with a connection, in a core of its own. */
class Place implements AsyncDisposable {
  private constructor(
    readonly core: TestCore,
    readonly address: Address,
    readonly epoch: string,
    readonly listener: NotingListener,
    readonly receiver: Receiver,
  ) {}

  static async open(options: TestCoreOptions = {}): Promise<Place> {
    const core = await openCore(options);
    const address = newAddress();
    const { record } = await registerDevice(core.store, address, [newBytes(), newBytes()]);
    const listener = new NotingListener();
    const receiver = createService(core).receive(address, listener);
    return new Place(core, address, record.epoch, listener, receiver);
  }

  async read(limit = 100): Promise<MailboxEntry[]> {
    const entries: MailboxEntry[] = [];
    await this.receiver.read(this.epoch, limit, () => false, (entry) => entries.push(entry) > 0);
    return entries;
  }

  /** Stores so many messages that expire after so long. */
  async fill(count: number, ttlMs = 60_000): Promise<void> {
    const { store, clock } = this.core;
    for (let i = 0; i < count; i++) {
      await append(store, this.address, this.epoch, newMessage(store, { expiresAt: clock.now() + ttlMs }));
    }
  }

  async rows(): Promise<number> {
    const { store } = this.core;
    const prefix = ["inbox", this.address.userId, this.address.deviceId, this.epoch];
    return (await store.database.list({ prefix }, { limit: 1_000 })).length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.receiver.leave(false);
    await this.core[Symbol.asyncDispose]();
  }
}

Deno.test("read() shows a message up to the millisecond before its expiry, then deletes it", async () => {
  const clock = new ManualClock();
  await using place = await Place.open({ clock });
  await place.fill(1, 5_000);
  await place.fill(1, 60_000);
  clock.advance(4_999);
  assert.equal((await place.read()).length, 2);
  clock.advance(1);
  assert.equal((await place.read()).length, 1);
  await eventually("it is deleted", async () => await place.rows() === 1);
});

Deno.test("acknowledge() deletes the message, and read() does not show it even before that is durable", async () => {
  await using scripted = await ScriptedKv.open();
  await using place = await Place.open({ kv: scripted.kv });
  await place.fill(3);
  const [, second] = await place.read();
  assert.ok(second);
  const gate = new Gate();
  scripted.onCommit = async (commit) => (await gate.passed, await commit.run());
  place.receiver.acknowledge(second, true);
  const shown = await place.read();
  assert.deepEqual([shown.length, shown.includes(second)], [2, false]);
  assert.equal(await place.rows(), 3, "the deletion is not durable yet");
  gate.open();
  await eventually("it is deleted", async () => await place.rows() === 2);
  assert.equal(place.receiver.wasAcknowledged(second), true, "its commit may still be on the way back");
});

// Found by killing the server a hundred times: whoever had an answer to something sent after the Ack got it again.
for (const isMoved of [false, true]) {
  const what = isMoved ? "was moved behind the others" : "is counted as not dealt with";
  Deno.test(`acknowledge() of a message that ${what} is durable before all that comes after it`, async () => {
    await using place = await Place.open();
    await place.fill(2, 3_600_000);
    const [unread] = await place.read();
    assert.ok(unread);
    const { store } = place.core;
    const counts = isMoved ? DELIVERY.attemptsMax : 1;
    for (let i = 0; i < counts; i++) await store.setAside.count(place.address, unread);
    const [entry] = isMoved ? await place.receiver.readAside(place.epoch) : await place.read();
    assert.equal(entry?.idKey, unread.idKey);
    assert.equal(entry?.isAside ?? entry?.isCounted, true);
    place.receiver.acknowledge(entry ?? unread, true);
    await store.writer.flushed(place.address.userId);
    assert.equal(await place.rows(), 1);
    assert.equal((await store.waiting.read(place.address, place.epoch)).open.messages, 1);
  });
}

Deno.test("read() that began before a deletion does not bring the message again", async () => {
  await using scripted = await ScriptedKv.open();
  await using place = await Place.open({ kv: scripted.kv });
  await place.fill(2);
  const [first] = await place.read();
  assert.ok(first);
  const gate = new Gate();
  let isHeld = false;
  scripted.beforeRow = () => (isHeld = true, gate.passed);
  const reading = place.read();
  await eventually("the read is under way", () => isHeld);
  // Old enough not to be handed over any more: nothing but the read itself keeps it in memory.
  place.receiver.acknowledge({ ...first, timestamp: first.timestamp - TIMES.acknowledgedMs }, true);
  await eventually("it is deleted", () => place.core.store.writer.isIdle);
  gate.open();
  assert.equal((await reading).length, 1);
});

Deno.test("read() looks at more rows while many of them are being deleted", async () => {
  await using scripted = await ScriptedKv.open();
  await using place = await Place.open({ kv: scripted.kv });
  await place.fill(6);
  const entries = await place.read();
  const gate = new Gate();
  scripted.onCommit = async (commit) => (await gate.passed, await commit.run());
  for (const entry of entries.slice(0, 3)) place.receiver.acknowledge(entry, true);
  assert.equal((await place.read(3)).length, 3);
  gate.open();
});

Deno.test("acknowledge() deletes again what storage did not take, and shows it to nobody meanwhile", async () => {
  const clock = new ManualClock();
  await using scripted = await ScriptedKv.open();
  await using place = await Place.open({ kv: scripted.kv, clock });
  await place.fill(1);
  const [entry] = await place.read();
  assert.ok(entry);
  scripted.onCommit = () => Promise.reject(new TypeError("reset"));
  place.receiver.acknowledge(entry, true);
  for (let i = 0; i < 5; i++) {
    await eventually("it failed", () => place.core.store.writer.isIdle);
    assert.deepEqual(await place.read(), []);
    clock.advance(1_500);
  }
  scripted.onCommit = (commit) => commit.run();
  await eventually("it is deleted", async () => (clock.advance(1_500), await place.rows() === 0));
});

Deno.test("read() counts as lost what has expired, once, though storage does not take it at first", async () => {
  const clock = new ManualClock();
  await using scripted = await ScriptedKv.open();
  await using place = await Place.open({ kv: scripted.kv, clock });
  await place.fill(2);
  clock.advance(60_000);
  scripted.onCommit = () => Promise.reject(new TypeError("reset"));
  assert.deepEqual(await place.read(), []);
  await eventually("it failed", () => place.core.store.writer.isIdle);
  scripted.onCommit = (commit) => commit.run();
  await eventually("they are deleted", async () => (clock.advance(1_500), await place.rows() === 0));
  const { lost } = await place.receiver.readLost(place.epoch);
  assert.equal(lost, 2);
});

Deno.test("a message that was sent is handed over once it is durable, with what it will be read as", async () => {
  await using place = await Place.open();
  await send(place.core, outgoing(place.address));
  await eventually("it is handed over", () => place.listener.handedOver.length === 1);
  assert.deepEqual(await place.read(), place.listener.handedOver);
});

Deno.test("leave() ends what the connection hears", async () => {
  await using place = await Place.open();
  place.receiver.leave(false);
  place.receiver.leave(false);
  assert.equal(place.receiver.hasLeft, true);
  await send(place.core, outgoing(place.address));
  assert.deepEqual(place.listener.heard, []);
});

Deno.test("readOwnDevice() tells the installation and its prekeys, and notes once a day that it was seen", async () => {
  const clock = new ManualClock();
  await using place = await Place.open({ clock });
  const { store } = place.core;
  const seenAt = async () => (await store.devices.readWithList(place.address)).device?.record.seenAt;
  const known = { epoch: place.epoch, registrationId: 7, preKeys: 2 };
  assert.deepEqual(await place.receiver.readOwnDevice(), known);
  await eventually("it is written down", async () => await seenAt() === clock.now());
  const first = clock.now();
  clock.advance(TIMES.seenMs);
  await place.receiver.readOwnDevice();
  await eventually("nothing is being written", () => store.writer.isIdle);
  assert.equal(await seenAt(), first, "not again within a day");
});

Deno.test("readOwnDevice() counts the prekeys even where the owner is never asked for more", async () => {
  await using place = await Place.open({ settings: { PREKEYS_LOW: "0" } });
  assert.equal((await place.receiver.readOwnDevice())?.preKeys, 2);
});

Deno.test("readOwnDevice() rejects while storage is away, and awaitOwnDevice() tries until it answers", async () => {
  const clock = new ManualClock();
  await using scripted = await ScriptedKv.open();
  await using place = await Place.open({ kv: scripted.kv, clock });
  scripted.afterRead = () => Promise.reject(new TypeError("reset"));
  await assert.rejects(place.receiver.readOwnDevice(), { error: "unavailable" });
  let device: unknown;
  void place.receiver.awaitOwnDevice().then((found) => device = found);
  for (let i = 0; i < 3; i++) {
    await new Promise((resolve) => setTimeout(resolve, 0));
    clock.advance(1_500);
  }
  assert.equal(device, undefined);
  scripted.afterRead = () => Promise.resolve();
  await eventually("it is read", () => (clock.advance(1_500), device !== undefined));
  assert.deepEqual(device, { epoch: place.epoch, registrationId: 7, preKeys: 2 });
});

Deno.test("receive() that can't claim the address tries again, and its listener looks then", async () => {
  const clock = new ManualClock();
  await using scripted = await ScriptedKv.open();
  await using core = await openCore({ kv: scripted.kv, clock, isShared: true });
  const address = newAddress();
  scripted.onCommit = () => Promise.reject(new TypeError("reset"));
  const listener = new NotingListener();
  const receiver = createService(core).receive(address, listener);
  await eventually("it failed", () => core.store.writer.isIdle && scripted.commits.length > 1);
  scripted.onCommit = (commit) => commit.run();
  await eventually("it is woken", () => (clock.advance(1_500), listener.heard.includes("woken")));
  assert.equal((await core.store.database.get(sessionKey(address))) !== null, true);
  receiver.leave(false);
});

Deno.test("receive() of a connection that has left meanwhile claims nothing", async () => {
  await using core = await openCore({ isShared: true });
  const address = newAddress();
  createService(core).receive(address, new NotingListener()).leave(false);
  await eventually("all is written", () => core.store.writer.isIdle);
  assert.equal(await core.store.database.get(sessionKey(address)), null);
});

Deno.test("receive() where no other process can be writes no record", async () => {
  await using scripted = await ScriptedKv.open();
  await using core = await openCore({ kv: scripted.kv });
  const commits = scripted.commits.length;
  const receiver = createService(core).receive(newAddress(), new NotingListener());
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(scripted.commits.length, commits);
  receiver.leave(false);
});

Deno.test("renewIfDue() writes the record again before it expires", async () => {
  const clock = new ManualClock();
  await using core = await openCore({ clock, isShared: true });
  const address = newAddress();
  const receiver = createService(core).receive(address, new NotingListener());
  const version = async () => (await core.store.database.get(sessionKey(address)))?.versionstamp;
  await eventually("it is claimed", async () => await version() !== undefined);
  const before = await version();
  clock.advance(TIMES.sessionRenewMs - 1);
  receiver.renewIfDue(clock.monotonic());
  clock.advance(1);
  assert.equal(await version(), before);
  receiver.renewIfDue(clock.monotonic());
  await eventually("it is renewed", async () => await version() !== before);
  receiver.leave(false);
});
