/**
 * Tests of messages that a client refuses or never deals with: others don't wait for them.
 * @module
 */
import assert from "node:assert/strict";
import { DELIVERY, QUEUES } from "../../lib/limits.ts";
import { append, newMessage } from "../store/open_store.ts";
import { Gate } from "../store/scripted_kv.ts";
import { outgoing, send } from "../service/open_core.ts";
import { eventually } from "../support/eventually.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { numbered, numbersOf, Setting, upTo } from "./delivery_setting.ts";
import { pass } from "./fake_device.ts";

/** Moves messages behind the mailbox, as so many connections would have it. */
async function setAside(setting: Setting, numbers: readonly number[], bytes = 2): Promise<void> {
  const { store, clock } = setting.core;
  for (const n of numbers) {
    const message = newMessage(store, {
      ciphertext: numbered(n, bytes),
      expiresAt: clock.now() + 86_400_000,
    });
    const entry = await append(store, setting.address, setting.epoch, message);
    for (let i = 0; i < DELIVERY.attemptsMax; i++) await store.setAside.count(setting.address, entry);
  }
}

Deno.test("any number of refused messages up to the bound keep no other from coming", async () => {
  await using setting = await Setting.open();
  const total = DELIVERY.refusedMessagesMax + QUEUES.windowMessagesMax + 10;
  await setting.fill(total);
  const device = setting.connect();
  let refused = 0;
  while (refused < DELIVERY.refusedMessagesMax) {
    const next = device.socket.deliveredSequences.slice(refused, DELIVERY.refusedMessagesMax);
    device.refuse(...next);
    refused += next.length;
    await device.delivered(Math.min(total - 10, refused + 1));
  }
  // With more than half of the window taken, the rest of it is filled by the next tick.
  await eventually("the window is full", () => {
    device.session.tick(setting.core.clock.monotonic());
    return device.socket.delivered.length >= total - 10;
  });
  await pass();
  const sequences = device.socket.deliveredSequences;
  assert.equal(sequences.length, total - 10, "beyond it, they keep their places");
  device.refuse(...sequences);
  await pass();
  assert.equal(device.socket.delivered.length, total - 10);
  device.acknowledge(...sequences.slice(-QUEUES.windowMessagesMax));
  await device.delivered(total);
  assert.deepEqual(numbersOf(device.socket.delivered), upTo(total), "each once, and in order");
  assert.equal(setting.core.metrics.counts.messagesRefused, refused + sequences.length);
});

Deno.test("a refused message is not delivered again on its connection, can be acknowledged, and comes on the next", async () => {
  await using setting = await Setting.open();
  await setting.fill(3);
  const device = setting.connect();
  await device.delivered(3);
  device.refuse(...device.socket.deliveredSequences.slice(0, 2));
  device.session.woken();
  await send(setting.core, outgoing(setting.address, { ciphertext: numbered(3) }));
  await device.delivered(4);
  await pass();
  assert.deepEqual(numbersOf(device.socket.delivered), upTo(4));
  device.acknowledge(device.socket.deliveredSequences[1] ?? 0);
  await eventually("it is deleted", async () => await setting.waiting() === 3);
  const next = setting.connect();
  await next.delivered(3);
  assert.deepEqual(numbersOf(next.socket.delivered), [0, 2, 3]);
});

Deno.test("what was moved behind comes after everything else, without taking room from it, and can be acknowledged", async () => {
  await using setting = await Setting.open();
  await setAside(setting, [1_000]);
  await setting.fill(QUEUES.windowMessagesMax + 200);
  const device = setting.connect();
  await device.delivered(QUEUES.windowMessagesMax);
  await pass();
  assert.equal(device.socket.delivered.length, QUEUES.windowMessagesMax, "it has to wait");
  device.acknowledge(...device.socket.deliveredSequences);
  await device.delivered(QUEUES.windowMessagesMax + 201);
  for (let n = 0; n < 56; n++) {
    await send(setting.core, outgoing(setting.address, { ciphertext: numbered(2_000 + n) }));
  }
  await device.delivered(QUEUES.windowMessagesMax + 257);
  const numbers = [...upTo(QUEUES.windowMessagesMax + 200), 1_000, ...upTo(56).map((n) => 2_000 + n)];
  assert.deepEqual(numbersOf(device.socket.delivered), numbers, "256 are under way besides it");
  device.acknowledge(...device.socket.deliveredSequences);
  await eventually("all are deleted", async () => await setting.waiting() === 0);
  const next = setting.connect();
  await pass();
  assert.equal(next.socket.delivered.length, 0);
});

for (const [what, bytes, most] of [["messages", 2, 16], ["bytes", 60_000, 5]] as const) {
  Deno.test(`no more ${what} of what was moved behind than a few are delivered, and once a connection`, async () => {
    await using setting = await Setting.open();
    await setAside(setting, upTo(20), bytes);
    const seen = new Set<number>();
    const device = setting.connect();
    await device.delivered(most);
    for (let i = 0; i < 3; i++) {
      device.acknowledge(...device.socket.deliveredSequences.slice(0, 1));
      device.session.woken();
      await send(setting.core, outgoing(setting.address, { ciphertext: numbered(100 + i) }));
      await device.delivered(most + 1 + i);
    }
    assert.deepEqual(numbersOf(device.socket.delivered).slice(most), [100, 101, 102]);
    for (const n of numbersOf(device.socket.delivered)) seen.add(n);
    assert.equal(seen.size, most + 3, "none twice");
  });
}

Deno.test("what was moved behind is read again if storage refused", async () => {
  const clock = new ManualClock();
  await using setting = await Setting.open(clock);
  await setAside(setting, [7]);
  let reads = 0;
  setting.scripted.beforeRow = () =>
    ++reads === 2 ? Promise.reject(new TypeError("reset")) : Promise.resolve();
  const device = setting.connect();
  await eventually("it is delivered", () => (clock.advance(1_000), device.socket.delivered.length === 1));
  assert.ok(reads > 2);
});

Deno.test("a message that is moved while the next connection has it is delivered once there, and deleted by its Ack", async () => {
  await using setting = await Setting.open();
  const { core, address, epoch } = setting;
  await setting.fill(2);
  const first = setting.connect();
  await first.delivered(2);
  const [entry] = await entries(setting);
  assert.ok(entry);
  for (let i = 1; i < DELIVERY.attemptsMax; i++) await core.store.setAside.count(address, entry);
  const next = setting.connect();
  await next.delivered(2);
  assert.equal(
    await core.store.setAside.count(address, entry),
    "moved",
    "what the end of the first one does",
  );
  next.session.woken();
  await send(core, outgoing(address, { ciphertext: numbered(2) }));
  await next.delivered(3);
  await pass();
  assert.deepEqual(numbersOf(next.socket.delivered), upTo(3));
  next.acknowledge(...next.socket.deliveredSequences);
  await eventually("all are deleted", async () => await setting.waiting() === 0);
  assert.deepEqual(await core.store.setAside.read(address, epoch, 10), []);
});

Deno.test("an Ack that comes before a read is over deletes what the read found to be counted, wherever it is", async () => {
  await using setting = await Setting.open();
  const { core, address, epoch, scripted } = setting;
  await setting.fill(2);
  const [entry] = await entries(setting);
  assert.ok(entry);
  for (let i = 1; i < DELIVERY.attemptsMax; i++) await core.store.setAside.count(address, entry);
  const gate = new Gate();
  let rows = 0;
  scripted.beforeRow = () => ++rows === 3 ? gate.passed : Promise.resolve(); // what counts, the first, then the second
  const device = setting.connect();
  await device.delivered(1);
  assert.equal(await core.store.setAside.count(address, entry), "moved");
  device.acknowledge(...device.socket.deliveredSequences);
  gate.open();
  await device.delivered(2);
  await eventually("it is deleted", async () => await setting.waiting() === 1);
  assert.deepEqual(await core.store.setAside.read(address, epoch, 10), []);
});

Deno.test("the end of a connection counts, ten of them move, and the operator sees it", async () => {
  await using setting = await Setting.open();
  const { core, address, epoch } = setting;
  await setting.fill(12);
  for (let connection = 0; connection < DELIVERY.attemptsMax; connection++) {
    assert.equal(core.metrics.counts.messagesSetAside, 0);
    const device = setting.connect();
    await device.delivered(12 - connection);
    device.acknowledge(device.socket.deliveredSequences[1] ?? 0);
    device[Symbol.dispose]();
    await pass();
    await eventually("nothing is being written", () => core.store.writer.isIdle);
  }
  await eventually("it is moved", () => core.metrics.counts.messagesSetAside === 1);
  assert.match(await core.metrics.text(), /^messaging_messages_set_aside_total 1$/m);
  assert.equal((await core.store.setAside.read(address, epoch, 10)).length, 1);
  const last = setting.connect();
  await last.delivered(2);
  assert.deepEqual(numbersOf(last.socket.delivered), [11, 0]);
});

/** What is in the mailbox. */
async function entries({ core, address, epoch }: Setting) {
  const found: Awaited<ReturnType<typeof append>>[] = [];
  await core.store.mailboxes.page(address, epoch, 100, (entry) => found.push(entry) > 0);
  return found;
}
