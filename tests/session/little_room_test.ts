/**
 * Tests of a window with little room: it is filled now and then, not all the time, and it is filled.
 * @module
 */
import assert from "node:assert/strict";
import { QUEUES } from "../../lib/limits.ts";
import { append, newMessage } from "../store/open_store.ts";
import { Gate } from "../store/scripted_kv.ts";
import { outgoing, send } from "../service/open_core.ts";
import { eventually } from "../support/eventually.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { numbered, numbersOf, Setting, upTo } from "./delivery_setting.ts";
import { type FakeDevice, pass } from "./fake_device.ts";

/** How often the mailbox has been read since this began. */
function countReads({ scripted: { lists } }: Setting): () => number {
  const before = lists.get("inbox") ?? 0;
  return () => (lists.get("inbox") ?? 0) - before;
}

async function tick(setting: Setting, device: FakeDevice): Promise<void> {
  device.session.tick(setting.core.clock.monotonic());
  await pass();
}

Deno.test("a window with room for little gets it at the next tick, for one read each, and none while it is full", async () => {
  await using setting = await Setting.open();
  const bytes = 60_000;
  await setting.fill(60, bytes);
  const full = Math.ceil(QUEUES.windowBytesMax / bytes);
  const device = setting.connect();
  await device.delivered(full);
  await pass();
  const reads = countReads(setting);
  for (let i = 0; i < 5; i++) await tick(setting, device);
  assert.equal(reads(), 0, "it is full");
  for (let n = 0; n < 10; n++) {
    device.acknowledge(device.socket.deliveredSequences[n] ?? 0);
    await pass();
    assert.equal(reads(), n, "room for one is not worth a read at once");
    await tick(setting, device);
    await device.delivered(full + n + 1);
    await tick(setting, device);
    assert.deepEqual([device.socket.delivered.length, reads()], [full + n + 1, n + 1]);
  }
  assert.deepEqual(numbersOf(device.socket.delivered), upTo(full + 10));
});

Deno.test("a window with room for little, of which storage has no more, is not read for again", async () => {
  await using setting = await Setting.open();
  await setting.fill(200);
  const device = setting.connect();
  await device.delivered(200);
  await pass();
  const reads = countReads(setting);
  for (let i = 0; i < 5; i++) await tick(setting, device);
  assert.equal(reads(), 0);
  await send(setting.core, outgoing(setting.address, { ciphertext: numbered(200) }));
  await device.delivered(201);
  await tick(setting, device);
  assert.equal(reads(), 0, "it came from memory");
});

Deno.test("messages that are being deleted, however many, hold up none that come after them", async () => {
  const clock = new ManualClock();
  await using setting = await Setting.open(clock);
  const { windowMessagesMax } = QUEUES;
  await setting.fill(4 * windowMessagesMax);
  const gate = new Gate();
  const device = setting.connect();
  await device.delivered(windowMessagesMax);
  setting.scripted.onCommit = async (commit) => (await gate.passed, await commit.run());
  let acknowledged = 0;
  for (let quiet = 0; quiet < 5; await pass()) {
    const next = device.socket.deliveredSequences.slice(acknowledged);
    device.acknowledge(...next);
    acknowledged += next.length;
    quiet = next.length > 0 ? 0 : quiet + 1;
  }
  assert.equal(acknowledged, 4 * windowMessagesMax, "none of them is deleted yet");
  const reads = countReads(setting);
  await pass(200);
  assert.equal(reads(), 0, "then it is not read again and again");
  gate.open();
  assert.deepEqual(numbersOf(device.socket.delivered), upTo(4 * windowMessagesMax));
  await eventually("all is deleted", async () => await setting.waiting() === 0);
});

Deno.test("a long mailbox is read on from where the window was full, and what came late before that is found", async () => {
  await using setting = await Setting.open();
  const { store } = setting.core;
  const { windowMessagesMax } = QUEUES;
  // The ids of two that another process stores only when what comes after them has been read.
  const late = [
    newMessage(store, { ciphertext: numbered(9_000) }),
    newMessage(store, { ciphertext: numbered(9_001) }),
  ];
  await setting.fill(3 * windowMessagesMax);
  const device = setting.connect();
  await device.delivered(windowMessagesMax);
  for (const message of late) await append(store, setting.address, setting.epoch, message);
  const reads = countReads(setting);
  for (let acknowledged = 0; acknowledged < 3 * windowMessagesMax + late.length;) {
    const next = device.socket.deliveredSequences.slice(acknowledged);
    device.acknowledge(...next);
    acknowledged += next.length;
    await pass();
  }
  assert.deepEqual(numbersOf(device.socket.delivered), [...upTo(3 * windowMessagesMax), 9_000, 9_001]);
  assert.ok(reads() <= 8, `${reads()} reads for two windows and the late ones`);
});
