/**
 * Tests of commits that answer after those who waited have given up: the recipient gets what they stored all the same,
 * in its order, and its sender may have been told that the outcome is not known.
 * @module
 */
import assert from "node:assert/strict";
import { QUEUES, TIMES } from "../../lib/limits.ts";
import { sendMessages } from "../../lib/service/send_messages.ts";
import { Gate } from "../store/scripted_kv.ts";
import { outgoing, send } from "../service/open_core.ts";
import { eventually } from "../support/eventually.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { numbered, numbersOf, Setting, upTo } from "./delivery_setting.ts";
import { pass } from "./fake_device.ts";

/** The ways to send a numbered message to the device. */
const WAYS = {
  "UserMessage": ({ core, address }: Setting, n: number) =>
    send(core, outgoing(address, { ciphertext: numbered(n) })),
  "UserMessage that is a retry": ({ core, address }: Setting, n: number) =>
    send(
      core,
      outgoing(address, { ciphertext: numbered(n), retry: true, messageId: new Uint8Array(16).fill(n) }),
    ),
  "UserMessages": async ({ core, address: { userId, deviceId } }: Setting, n: number) => {
    const devices = [{ deviceId, registrationId: 7, ciphertext: numbered(n) }];
    const message = { userId, devices, listedOnly: false, messageId: new Uint8Array(16).fill(n) };
    await sendMessages(core, { userId: crypto.randomUUID(), deviceId: 9 }, {
      ...message,
      transient: false,
      retry: false,
      ttlSeconds: 0,
    });
  },
} as const;

for (const [way, sendNumber] of Object.entries(WAYS)) {
  for (
    const when of [
      "and more comes at once",
      "while the mailbox is being read",
      "while the peer does not read",
    ]
  ) {
    Deno.test(`a ${way} whose commit answers too late is delivered in its place, ${when}`, async () => {
      const clock = new ManualClock();
      await using setting = await Setting.open(clock);
      const { core, scripted } = setting;
      const device = setting.connect();
      await pass();
      await sendNumber(setting, 0);
      const late = new Gate();
      scripted.onCommit = async (commit) => {
        const result = await commit.run();
        await late.passed;
        return result;
      };
      const outcome = sendNumber(setting, 1).then(() => "accepted", ({ error }) => error);
      await eventually("it is stored", async () => await setting.waiting() === 2);
      clock.advance(TIMES.storageDeadlineMs + 1);
      core.store.writer.refuseLate(TIMES.storageDeadlineMs);
      assert.equal(await outcome, "unavailable");
      assert.equal(device.socket.delivered.length, 1);
      // What is sent now is in the next commit, which lands when the recipient has been woken for this one.
      const next = sendNumber(setting, 2);
      await pass();
      const reading = new Gate();
      if (when.includes("mailbox")) scripted.beforeRow = () => reading.passed;
      if (when.includes("peer")) device.socket.bufferedAmount = QUEUES.outboxBytesMax + 1;
      late.open();
      await next;
      await pass();
      reading.open();
      device.socket.bufferedAmount = 0;
      device.session.tick(clock.monotonic());
      await device.delivered(3);
      await sendNumber(setting, 3);
      await device.delivered(4);
      assert.deepEqual(numbersOf(device.socket.delivered), upTo(4));
    });
  }
}
