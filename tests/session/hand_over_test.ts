/**
 * Tests of messages that are handed over while storage is being read: each is delivered once, in its place.
 * @module
 */
import assert from "node:assert/strict";
import { QUEUES, TIMES } from "../../lib/limits.ts";
import { Gate } from "../store/scripted_kv.ts";
import { outgoing, send } from "../service/open_core.ts";
import { eventually } from "../support/eventually.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { numbered, numbersOf, Setting, upTo } from "./delivery_setting.ts";
import { pass } from "./fake_device.ts";

/** Sends messages of these sizes while a read of the mailbox is held up, then lets it go on. */
async function sendWhileReading(setting: Setting, sizes: readonly number[], isWoken: boolean) {
  const device = setting.connect();
  await pass();
  const sendNumber = (n: number, bytes = 2) =>
    send(setting.core, outgoing(setting.address, { ciphertext: numbered(n, bytes) }));
  await sendNumber(0);
  const gate = new Gate();
  let isHeld = false;
  setting.scripted.beforeRow = () => isHeld ? Promise.resolve() : (isHeld = true, gate.passed);
  device.session.woken();
  await eventually("the mailbox is being read", () => isHeld);
  for (const [i, bytes] of sizes.entries()) {
    if (isWoken && i === sizes.length >> 1) device.session.woken();
    await sendNumber(i + 1, bytes);
  }
  gate.open();
  return numbersOf(await device.delivered(sizes.length + 1));
}

const SIZES: Readonly<Record<string, readonly number[]>> = {
  "a few": [2, 2, 2],
  "more than are kept in memory": upTo(100).map(() => 2),
  "more bytes than are kept in memory": [60_000, 60_000, 60_000, 60_000],
  "one too large to be kept, then small ones": [60_000, 60_000, 60_000, 2, 2, 2],
};

for (const [what, sizes] of Object.entries(SIZES)) {
  for (const isWoken of [false, true]) {
    const when = isWoken ? "a read, in which the bell rings" : "a read";
    Deno.test(`messages sent during ${when} are delivered in their order: ${what}`, async () => {
      await using setting = await Setting.open();
      assert.deepEqual(await sendWhileReading(setting, sizes, isWoken), upTo(sizes.length + 1));
    });
  }
}

// Protocol §5: an acknowledged message is not delivered again. A message may be read from storage before the commit
// that stored it is known here; it is then handed over after its acknowledgement.
Deno.test("what was acknowledged before it was handed over is not delivered to a peer that reads again later", async () => {
  const clock = new ManualClock();
  await using setting = await Setting.open(clock);
  const { core, scripted, address } = setting;
  const device = setting.connect();
  await pass();
  const gate = new Gate();
  scripted.onCommit = async (commit) => {
    const result = await commit.run();
    await gate.passed;
    return result;
  };
  const sent = send(core, outgoing(address));
  await eventually("it is stored", async () => await setting.waiting() === 1);
  device.session.woken();
  await device.delivered(1);
  device.acknowledge(...device.socket.deliveredSequences);
  device.socket.bufferedAmount = QUEUES.outboxBytesMax + 1;
  gate.open();
  await sent;
  await eventually("it is deleted", async () => await setting.waiting() === 0);
  await eventually("every write is over", () => core.store.writer.isIdle);
  clock.advance(TIMES.acknowledgedMs + 1);
  core.doorbell.sweep();
  device.socket.bufferedAmount = 0;
  device.session.tick(clock.monotonic());
  await pass();
  assert.equal(device.socket.delivered.length, 1);
});
