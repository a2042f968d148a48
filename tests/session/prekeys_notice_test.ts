/**
 * Tests of PreKeysLow (protocol §3.3): at once when the pool falls, then once in five minutes while it stays low.
 * @module
 */
import assert from "node:assert/strict";
import { TIMES } from "../../lib/limits.ts";
import { Metrics } from "../../lib/metrics.ts";
import { v1 } from "../../lib/protocol/mod.ts";
import { Outbox } from "../../lib/session/outbox.ts";
import { PreKeysNotice } from "../../lib/session/prekeys_notice.ts";
import { newAddress, newBytes, registerDevice } from "../store/open_store.ts";
import { openCore } from "../service/open_core.ts";
import { eventually } from "../support/eventually.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { FakeDevice, newKeys, pass } from "./fake_device.ts";
import { FakeSocket } from "./fake_socket.ts";

function openNotice() {
  const clock = new ManualClock();
  const socket = new FakeSocket();
  const outbox = new Outbox(socket, v1, clock, new Metrics());
  const notice = new PreKeysNotice({ preKeysLow: 10, preKeysRequested: 25 }, outbox, clock);
  return {
    clock,
    socket,
    notice,
    counted: (preKeys: number) => notice.counted({ epoch: "", registrationId: 1, preKeys }),
  };
}

Deno.test("low() asks for the number of prekeys that is set, once", () => {
  const { notice, socket, clock } = openNotice();
  notice.low();
  notice.low();
  clock.advance(TIMES.preKeysLowRepeatMs - 1);
  notice.low();
  assert.deepEqual(socket.sent, [{ sequence: 0x8000_0001, message: { type: "prekeys_low", wanted: 25 } }]);
  assert.equal(notice.isOpen, true);
});

Deno.test("low() asks again after five minutes", () => {
  const { notice, socket, clock } = openNotice();
  assert.equal(notice.isDue, false);
  notice.low();
  clock.advance(TIMES.preKeysLowRepeatMs - 1);
  assert.equal(notice.isDue, false);
  clock.advance(1);
  assert.equal(notice.isDue, true);
  notice.low();
  assert.equal(socket.sent.length, 2);
  assert.equal(notice.isDue, false);
});

Deno.test("counted() asks below the limit, not at it", () => {
  const { counted, socket } = openNotice();
  counted(10);
  assert.deepEqual(socket.sent, []);
  counted(9);
  assert.equal(socket.sent.length, 1);
});

Deno.test("counted() of a pool that was filled has the next fall told at once", () => {
  const { notice, counted, socket } = openNotice();
  notice.low();
  counted(9);
  notice.low();
  assert.equal(socket.sent.length, 1, "it was not filled");
  counted(10);
  assert.equal(notice.isOpen, false);
  notice.low();
  assert.equal(socket.sent.length, 2);
});

/** A device with so many prekeys, on a server that asks below 3. */
async function connected(preKeys: number) {
  const clock = new ManualClock();
  const core = await openCore({ clock, settings: { PREKEYS_LOW: "3" } });
  const address = newAddress();
  await registerDevice(core.store, address, Array.from({ length: preKeys }, () => newBytes()));
  const device = new FakeDevice(core, address);
  await pass();
  const other = new FakeDevice(core, newAddress());
  const take = () =>
    other.answered({ type: "request_prekeys", request: { userId: address.userId, knownDeviceIds: [] } });
  const notices = () => device.socket.sent.filter(({ message }) => message.type === "prekeys_low").length;
  const tick = async (
    ms: number,
  ) => (clock.advance(ms), device.session.tick(clock.monotonic()), await pass());
  const close = () => (device[Symbol.dispose](), other[Symbol.dispose](), core[Symbol.asyncDispose]());
  return { device, take, notices, tick, [Symbol.asyncDispose]: close };
}

Deno.test("a session asks at once when it begins with too few prekeys", async () => {
  await using low = await connected(2);
  await using enough = await connected(3);
  assert.deepEqual([low.notices(), enough.notices()], [1, 0]);
});

Deno.test("a session asks when a request takes the pool below the limit, and not for each one after", async () => {
  await using owner = await connected(5);
  for (const expected of [0, 0, 1, 1, 1, 1]) {
    assert.deepEqual(await owner.take(), ["prekey"]);
    assert.equal(owner.notices(), expected);
  }
});

Deno.test("a session asks again for a pool that was filled and fell again, without a wait", async () => {
  await using owner = await connected(3);
  await owner.take();
  await eventually("it is told", () => owner.notices() === 1);
  const keys = newKeys([newBytes(), newBytes(), newBytes(), newBytes()]);
  await owner.device.register(keys);
  await pass();
  await owner.take();
  await owner.take();
  await eventually("it is told again", () => owner.notices() === 2);
});

Deno.test("a session asks again after five minutes if the pool is still low, and not if it is not", async () => {
  await using still = await connected(1);
  await using filled = await connected(1);
  await filled.device.register(newKeys([newBytes(), newBytes(), newBytes()]));
  for (const one of [still, filled]) {
    await one.tick(TIMES.preKeysLowRepeatMs - 1);
    assert.equal(one.notices(), 1);
    await one.tick(2 * TIMES.mailboxLookMs);
  }
  assert.deepEqual([still.notices(), filled.notices()], [2, 1]);
});
