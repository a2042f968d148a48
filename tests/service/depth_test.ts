/**
 * Tests of how full mailboxes are: a full one refuses, and one that has room again takes more.
 * @module
 */
import assert from "node:assert/strict";
import { Depths } from "../../lib/service/depth.ts";
import { createService } from "../../lib/service/mod.ts";
import { append, newAddress, newBytes, newMessage, openStore, registerDevice } from "../store/open_store.ts";
import { Gate, ScriptedKv } from "../store/scripted_kv.ts";
import { eventually } from "../support/eventually.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { newEntry, NotingListener, openCore, outgoing, send } from "./open_core.ts";

const EPOCH = "an epoch";
const FULL = { name: "RequestError", error: "mailbox_full" };
const TO = newAddress();

type FakedStore = ConstructorParameters<typeof Depths>[1];

/** A mailbox of which one sees how often it is counted, and looked through. */
class Faked {
  readonly clock = new ManualClock();
  readonly depths: Depths;
  counted = 0;
  looked = 0;
  /** How counting fails; `null` if it does not. */
  fault: Error | null = null;
  #entries: ReturnType<typeof newEntry>[];

  /** @param ttlsMs of what is stored: one message each, of so many bytes. */
  constructor(
    ttlsMs: readonly number[],
    bytes: number,
    max: [messages: number, bytes: number],
    isShared = false,
  ) {
    const ciphertext = newBytes(bytes);
    this.#entries = ttlsMs.map((ttlMs) =>
      newEntry(EPOCH, { expiresAt: this.clock.now() + ttlMs, ciphertext })
    );
    const config = { mailboxMessagesMax: max[0], mailboxBytesMax: max[1] };
    this.depths = new Depths(config, this.#store(isShared), this.clock);
  }

  /** Lets time pass until the work is over: storage never has what is under way here. */
  async untilOver(work: Promise<unknown>): Promise<void> {
    let isOver = false;
    void work.then(() => isOver = true);
    for (let i = 0; i < 1_000 && !isOver; i++) {
      await new Promise((resolve) => setTimeout(resolve));
      this.clock.advance(1);
    }
  }

  /** Whether a message of so many bytes gets in. */
  async reserve(bytes: number, epoch = EPOCH, transient = false): Promise<boolean> {
    return await this.depths.reserve(TO, epoch, { bytes, transient, expiresAt: this.clock.now() + 60_000 });
  }

  /** Whether each of so many messages, one after the other and each stored before the next, gets in. */
  async reserveEach(count: number, transient = false): Promise<boolean[]> {
    const taken: boolean[] = [];
    for (let n = 0; n < count; n++) {
      const isTaken = await this.reserve(1, EPOCH, transient);
      if (isTaken) this.depths.settled(TO, EPOCH, { bytes: 1, transient });
      taken.push(isTaken);
    }
    return taken;
  }

  #store(isShared: boolean): FakedStore {
    const waiting = {
      read: () => {
        this.counted++;
        const bytes = this.#entries.reduce((sum, { ciphertext }) => sum + ciphertext.length, 0);
        const open = { messages: this.#entries.length, bytes };
        if (this.fault !== null) return Promise.reject(this.fault);
        return Promise.resolve({
          open,
          byBucket: new Map(),
          stretch: { from: 0, until: Infinity },
          lost: 0,
          report: { counted: 0, closed: [] },
        });
      },
      correct: () => ({ messages: 0, bytes: 0 }),
    };
    const mailboxes = {
      scan: (_address: unknown, _epoch: unknown, look: (entry: ReturnType<typeof newEntry>) => void) => {
        this.looked++;
        this.#entries.forEach(look);
        return Promise.resolve();
      },
      expire: (_address: unknown, { idKey }: ReturnType<typeof newEntry>) => {
        this.#entries = this.#entries.filter((entry) => entry.idKey !== idKey);
      },
    };
    return { waiting, mailboxes, database: { isShared } } as unknown as FakedStore;
  }
}

/** So many messages that expire after a minute. */
const minutes = (count: number) => Array.from({ length: count }, () => 60_000);

Deno.test("reserve() counts a mailbox once, then counts along", async () => {
  const mailbox = new Faked(minutes(2), 0, [5, 1_000]);
  const taken = await Promise.all(Array.from({ length: 3 }, () => mailbox.reserve(1)));
  assert.deepEqual(taken, [true, true, true]);
  assert.deepEqual([mailbox.counted, mailbox.looked], [1, 0]);
});

Deno.test("reserve() takes no more than there is room for, though what it took is not stored yet", async () => {
  const mailbox = new Faked(minutes(2), 0, [5, 1_000]);
  const reserving = Promise.all(Array.from({ length: 5 }, () => mailbox.reserve(1)));
  await mailbox.untilOver(reserving);
  assert.deepEqual(await reserving, [true, true, true, false, false]);
  assert.equal(await mailbox.reserve(1), false);
});

Deno.test("reserve() counts bytes, and takes exactly as many as there is room for", async () => {
  const mailbox = new Faked(minutes(1), 400, [100, 1_000]);
  assert.equal(await mailbox.reserve(601), false);
  assert.equal(await mailbox.reserve(600), true);
  assert.equal(await mailbox.reserve(1), false);
  assert.equal(await mailbox.reserve(0), true);
});

Deno.test("left() makes room for one more", async () => {
  const mailbox = new Faked(minutes(1), 10, [1, 10]);
  assert.equal(await mailbox.reserve(10), false);
  mailbox.depths.left(TO, EPOCH, { bytes: 10, transient: false });
  assert.equal(await mailbox.reserve(10), true);
  assert.equal(await mailbox.reserve(0), false);
});

Deno.test("reserve() looks through a mailbox that looks full before it refuses, once something expired", async () => {
  const mailbox = new Faked([5_000, 5_000, 60_000], 0, [3, 100]);
  assert.deepEqual(await mailbox.reserveEach(2), [false, false]);
  mailbox.clock.advance(4_999);
  assert.deepEqual(await mailbox.reserveEach(1), [false]);
  assert.equal(mailbox.looked, 1);
  mailbox.clock.advance(1);
  assert.deepEqual(await mailbox.reserveEach(3), [true, true, false]);
  assert.equal(mailbox.looked, 2);
});

Deno.test("reserve() looks through a mailbox no more than once a second", async () => {
  const mailbox = new Faked([10, 20, 60_000], 0, [3, 100]);
  assert.equal(await mailbox.reserve(1), false);
  mailbox.clock.advance(999);
  assert.equal(await mailbox.reserve(1), false);
  assert.equal(mailbox.looked, 1);
  mailbox.clock.advance(1);
  assert.deepEqual(await mailbox.reserveEach(3), [true, true, false]);
  assert.equal(mailbox.looked, 2);
});

Deno.test("reserve() counts again after a quarter of the room, or a tenth of a second, where others fill it too", async () => {
  const mailbox = new Faked([], 0, [8, 100], true);
  await mailbox.reserveEach(2);
  assert.equal(mailbox.counted, 1);
  await mailbox.reserveEach(1);
  assert.equal(mailbox.counted, 2);
  mailbox.clock.advance(100);
  await mailbox.reserveEach(1);
  assert.equal(mailbox.counted, 3);
});

Deno.test("reserve() takes 1,000 transient messages a minute, which take no room from others", async () => {
  const mailbox = new Faked([], 0, [1, 100]);
  assert.ok((await mailbox.reserveEach(1_000, true)).every((isTaken) => isTaken));
  assert.deepEqual(await mailbox.reserveEach(1, true), [false]);
  assert.equal(await mailbox.reserve(1), true);
});

Deno.test("reserve() counts each installation's mailbox for itself", async () => {
  const mailbox = new Faked([], 0, [1, 100]);
  assert.equal(await mailbox.reserve(1), true);
  assert.equal(await mailbox.reserve(1, "another epoch"), true);
});

Deno.test("reserve() that can't count refuses nobody for good", async () => {
  const mailbox = new Faked([], 0, [1, 1]);
  mailbox.fault = new Error("reset");
  await assert.rejects(mailbox.reserve(1), /reset/);
  mailbox.fault = null;
  assert.equal(await mailbox.reserve(1), true);
});

Deno.test("reserve() counts what is in storage", async () => {
  await using store = await openStore();
  await append(store, TO, EPOCH, newMessage(store, { ciphertext: newBytes(70) }));
  const config = { mailboxMessagesMax: 100, mailboxBytesMax: 100 };
  const depths = new Depths(config, store, store.database.clock);
  assert.equal(await depths.reserve(TO, EPOCH, { bytes: 31, transient: false, expiresAt: Infinity }), false);
  assert.equal(await depths.reserve(TO, EPOCH, { bytes: 30, transient: false, expiresAt: Infinity }), true);
});

Deno.test("sendMessage() takes no more than the limit while storage is slow", async () => {
  await using scripted = await ScriptedKv.open();
  await using core = await openCore({ kv: scripted.kv, settings: { MAILBOX_MESSAGES_MAX: "3" } });
  const to = newAddress();
  const { record: { epoch } } = await registerDevice(core.store, to);
  const gate = new Gate();
  scripted.onCommit = async (commit) => (await gate.passed, await commit.run());
  const sent = Array.from(
    { length: 5 },
    () => send(core, outgoing(to)).then(() => "taken", ({ error }) => error),
  );
  await new Promise((resolve) => setTimeout(resolve, 50)); // all are judged
  gate.open();
  assert.deepEqual(await Promise.all(sent), ["taken", "taken", "taken", "mailbox_full", "mailbox_full"]);
  await eventually("all is written", () => core.store.writer.isIdle);
  assert.equal((await core.store.waiting.read(to, epoch)).open.messages, 3);
});

Deno.test("sendMessage() that looks through a mailbox while messages are being stored keeps the counts right", async () => {
  await using scripted = await ScriptedKv.open();
  await using core = await openCore({ kv: scripted.kv, settings: { MAILBOX_MESSAGES_MAX: "3" } });
  const to = newAddress();
  const { record: { epoch } } = await registerDevice(core.store, to);
  const [stored, looked] = [new Gate(), new Gate()];
  scripted.onCommit = async (commit) => (await stored.passed, await commit.run());
  const first = [1, 2, 3].map(() => send(core, outgoing(to)));
  await new Promise((resolve) => setTimeout(resolve, 50)); // all are judged, and being stored
  scripted.afterRead = () => looked.passed; // the counts have been read, and are not known yet
  const fourth = send(core, outgoing(to)).then(() => "taken", ({ error }) => error);
  await new Promise((resolve) => setTimeout(resolve, 20));
  stored.open();
  await Promise.all(first);
  looked.open();
  assert.equal(await fourth, "mailbox_full");
  await eventually("all is written", () => core.store.writer.isIdle);
  assert.equal((await core.store.waiting.read(to, epoch)).open.messages, 3);
});

Deno.test("sendMessage() takes no more than the limit though messages that expired are cleared away", async () => {
  const clock = new ManualClock();
  await using core = await openCore({ clock, settings: { MAILBOX_MESSAGES_MAX: "3" } });
  const to = newAddress();
  const { record: { epoch } } = await registerDevice(core.store, to);
  for (let i = 0; i < 2; i++) {
    await append(core.store, to, epoch, newMessage(core.store, { expiresAt: clock.now() + 1_000 }));
  }
  clock.advance(1_000);
  for (let i = 0; i < 3; i++) await send(core, outgoing(to));
  const receiver = createService(core).receive(to, new NotingListener());
  await receiver.read(epoch, 100, () => false, () => true);
  await eventually("the expired ones are gone", () => core.store.writer.isIdle);
  receiver.leave(false);
  const { open } = await core.store.waiting.read(to, epoch);
  assert.equal(open.messages, 3);
  await assert.rejects(send(core, outgoing(to)), FULL);
});

Deno.test("reserve() of several at once waits for the same look, and refuses none that it made room for", async () => {
  const mailbox = new Faked([5_000, 5_000, 60_000], 0, [3, 100]);
  mailbox.clock.advance(6_000);
  assert.deepEqual(await Promise.all([1, 1, 1].map((bytes) => mailbox.reserve(bytes))), [true, true, false]);
});
