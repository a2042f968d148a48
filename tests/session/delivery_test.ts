/**
 * Tests of delivery to one connection: the window, a peer that does not read, and storage that fails.
 * @module
 */
import assert from "node:assert/strict";
import { QUEUES, TIMES } from "../../lib/limits.ts";
import { outgoing, send } from "../service/open_core.ts";
import { eventually } from "../support/eventually.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { numbered, numbersOf, Setting, upTo } from "./delivery_setting.ts";
import { pass } from "./fake_device.ts";

Deno.test("a window holds 256 messages; more come when half of it is free", async () => {
  await using setting = await Setting.open();
  await setting.fill(600);
  const device = setting.connect();
  await device.delivered(QUEUES.windowMessagesMax);
  await pass();
  const sequences = device.socket.deliveredSequences;
  assert.equal(sequences.length, QUEUES.windowMessagesMax);
  device.acknowledge(...sequences.slice(0, 127));
  await pass();
  assert.equal(
    device.socket.delivered.length,
    QUEUES.windowMessagesMax,
    "a page for less is not worth its cost",
  );
  device.acknowledge(sequences[127] ?? 0);
  await device.delivered(QUEUES.windowMessagesMax + 128);
  for (let acknowledged = 128; acknowledged < 600;) {
    const next = device.socket.deliveredSequences.slice(acknowledged);
    assert.ok(next.length <= QUEUES.windowMessagesMax, `${next.length} under way`);
    device.acknowledge(...next);
    acknowledged += next.length;
    await device.delivered(Math.min(600, acknowledged + 1));
  }
  assert.deepEqual(numbersOf(device.socket.delivered), upTo(600));
  await eventually("all are deleted", async () => await setting.waiting() === 0);
});

Deno.test("a window holds 1 MiB, and no more than the message that fills it", async () => {
  await using setting = await Setting.open();
  const bytes = 60_000;
  await setting.fill(50, bytes);
  const device = setting.connect();
  const full = Math.ceil(QUEUES.windowBytesMax / bytes);
  await device.delivered(full);
  await pass();
  assert.equal(device.socket.delivered.length, full);
  device.acknowledge(...device.socket.deliveredSequences);
  await device.delivered(2 * full);
  await pass();
  assert.equal(device.socket.delivered.length, 2 * full);
});

Deno.test("what is handed over beyond the window is kept or read later, in its order", async () => {
  await using setting = await Setting.open();
  const device = setting.connect();
  await pass();
  for (const n of upTo(500)) {
    await send(setting.core, outgoing(setting.address, { ciphertext: numbered(n) }));
  }
  assert.equal(device.socket.delivered.length, QUEUES.windowMessagesMax);
  for (let acknowledged = 0; acknowledged < 500;) {
    const next = device.socket.deliveredSequences.slice(acknowledged);
    assert.ok(next.length <= QUEUES.windowMessagesMax);
    device.acknowledge(...next);
    acknowledged += next.length;
    await device.delivered(Math.min(500, acknowledged + 1));
  }
  assert.deepEqual(numbersOf(device.socket.delivered), upTo(500));
});

Deno.test("nothing is delivered to a peer that does not read, and all of it once it reads", async () => {
  await using setting = await Setting.open();
  const device = setting.connect();
  await pass();
  device.socket.bufferedAmount = QUEUES.outboxBytesMax + 1;
  for (let n = 0; n < 100; n++) {
    await send(setting.core, outgoing(setting.address, { ciphertext: numbered(n) }));
  }
  await pass();
  assert.equal(device.socket.delivered.length, 0);
  device.socket.bufferedAmount = 0;
  device.session.tick(setting.core.clock.monotonic());
  assert.deepEqual(numbersOf(await device.delivered(100)), upTo(100));
});

Deno.test("what expires while it waits for room is not delivered", async () => {
  const clock = new ManualClock();
  await using setting = await Setting.open(clock);
  const device = setting.connect();
  await pass();
  device.socket.bufferedAmount = QUEUES.outboxBytesMax + 1;
  await send(setting.core, outgoing(setting.address, { ttlSeconds: 10 }));
  await send(setting.core, outgoing(setting.address, { ttlSeconds: 20, ciphertext: numbered(2) }));
  clock.advance(10_000);
  device.socket.bufferedAmount = 0;
  device.session.tick(clock.monotonic());
  await device.delivered(1);
  await pass();
  assert.deepEqual(numbersOf(device.socket.delivered), [2]);
});

Deno.test("a read that storage refused is tried again", async () => {
  const clock = new ManualClock();
  await using setting = await Setting.open(clock);
  await setting.fill(2);
  let failures = 3;
  setting.scripted.beforeRow = () =>
    failures-- > 0 ? Promise.reject(new TypeError("reset")) : Promise.resolve();
  const device = setting.connect();
  await eventually("both are delivered", () => (clock.advance(1_500), device.socket.delivered.length === 2));
  assert.ok(failures < 0);
});

Deno.test("a session with an empty window looks into storage once a minute, whether or not it was told to", async () => {
  const clock = new ManualClock();
  await using setting = await Setting.open(clock);
  const device = setting.connect();
  await pass();
  await setting.fill(1); // nobody hands it over, and no bell rings
  device.session.tick(clock.monotonic());
  await pass();
  assert.equal(device.socket.delivered.length, 0);
  clock.advance(TIMES.mailboxLookMs * 1.25);
  device.session.tick(clock.monotonic());
  await device.delivered(1);
});

Deno.test("a session that is woken delivers what another process stored", async () => {
  await using setting = await Setting.open();
  const device = setting.connect();
  await pass();
  await setting.fill(3);
  setting.core.doorbell.wake(setting.address);
  assert.deepEqual(numbersOf(await device.delivered(3)), upTo(3));
});
