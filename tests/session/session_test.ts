/**
 * Tests of a session: what it takes, what it answers, and what ends it.
 * @module
 */
import assert from "node:assert/strict";
import { allocateEnvelope, encodeEnvelope, TYPE, v1 } from "../../lib/protocol/mod.ts";
import { createService } from "../../lib/service/mod.ts";
import { newAddress, newBytes, registerDevice } from "../store/open_store.ts";
import { openCore, outgoing, send } from "../service/open_core.ts";
import { eventually } from "../support/eventually.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { FakeDevice, newKeys, pass } from "./fake_device.ts";

/** What a frame is answered with, on a connection of its own. */
async function closeAfter(...frames: (Uint8Array | string)[]) {
  await using core = await openCore();
  using device = new FakeDevice(core, newAddress());
  for (const frame of frames) device.session.receive(frame);
  await eventually("it is closed", () => device.socket.closeCode() !== null);
  return { code: device.socket.closeCode(), answers: device.socket.answersTo(1) };
}

const REGISTER = v1.encodeClientMessage({ type: "register", keys: newKeys() }, 1);
const UNREGISTER = v1.encodeClientMessage({ type: "unregister" }, 1);

const CLOSING: Readonly<Record<string, readonly [code: number, frame: Uint8Array | string]>> = {
  "text": [1003, "hello"],
  "nothing": [1002, new Uint8Array(0)],
  "a header that is cut short": [1002, REGISTER.subarray(0, 9)],
  "a payload that is cut short": [1002, REGISTER.subarray(0, -1)],
  "another version": [1002, Uint8Array.of(2, ...REGISTER.subarray(1))],
  "more bytes than a frame may have": [1009, new Uint8Array(1_024 * 1_024 + 1)],
};

for (const [what, [code, frame]] of Object.entries(CLOSING)) {
  Deno.test(`receive() closes with ${code} after ${what}`, async () => {
    assert.equal((await closeAfter(frame)).code, code);
  });
}

Deno.test("receive() carries out what comes before a broken envelope in one frame", async () => {
  const frame = new Uint8Array([...UNREGISTER, ...REGISTER.subarray(0, 5)]);
  const { code, answers } = await closeAfter(frame);
  assert.deepEqual([code, answers], [1002, ["ack"]]);
});

Deno.test("receive() carries out all envelopes of a frame", async () => {
  await using core = await openCore();
  using device = new FakeDevice(core, newAddress());
  const frames = [1, 2, 3].map((sequence) => v1.encodeClientMessage({ type: "unregister" }, sequence));
  device.session.receive(new Uint8Array(frames.flatMap((frame) => [...frame])));
  await eventually("all are answered", () => device.socket.sent.length === 3);
  assert.deepEqual([1, 2, 3].map((sequence) => device.socket.answersTo(sequence)), [["ack"], ["ack"], [
    "ack",
  ]]);
});

Deno.test("receive() answers what is wrong with a request, and goes on", async () => {
  await using core = await openCore();
  using device = new FakeDevice(core, newAddress());
  const requests: readonly (readonly [answer: number, bytes: Uint8Array])[] = [
    [3, v1.encodeClientMessage({ type: "unregister" }, 0)],
    [3, v1.encodeClientMessage({ type: "unregister" }, 0x8000_0000)],
    [3, encodeEnvelope(1, 5, TYPE.ack, Uint8Array.of(1))],
    [3, encodeEnvelope(1, 6, TYPE.error)],
    [3, encodeEnvelope(1, 7, TYPE.register, Uint8Array.of(0xc1))],
    [103, allocateEnvelope(1, 8, 99, 0)],
    [103, allocateEnvelope(1, 9, TYPE.preKeysLow, 2)],
    [101, v1.encodeClientMessage({ type: "user_message", message: outgoing(newAddress()) }, 10)],
    [
      101,
      v1.encodeClientMessage(
        { type: "request_prekeys", request: { userId: newAddress().userId, knownDeviceIds: [] } },
        11,
      ),
    ],
  ];
  for (const [answer, bytes] of requests) {
    const sequence = new DataView(bytes.buffer).getUint32(1);
    device.session.receive(bytes);
    await eventually("it is answered", () => device.socket.answersTo(sequence).length === 1);
    assert.deepEqual(device.socket.answersTo(sequence), [answer]);
  }
  device.acknowledge(0, 1, 0x8000_0001, 0xffff_ffff);
  device.session.receive(v1.encodeClientMessage({ type: "error", code: 1, description: "no" }, 0x8000_0001));
  assert.deepEqual(await device.answered({ type: "unregister" }), ["ack"]);
  assert.equal(device.socket.sent.length, requests.length + 1, "acknowledgements are not answered");
  assert.equal(core.metrics.counts.messagesRefused, 1);
});

Deno.test("receive() answers a fault of the server with the number of an incident", async () => {
  await using core = await openCore();
  const service = {
    ...createService(core),
    unregister: () => Promise.reject(new TypeError("secret inside")),
  };
  using device = new FakeDevice(core, newAddress(), { service });
  const sequence = device.request({ type: "unregister" });
  await eventually("it is answered", () => device.socket.answersTo(sequence).length === 1);
  const [sent] = device.socket.sent;
  assert.ok(sent?.message.type === "error");
  assert.equal(sent.message.code, 1);
  assert.match(sent.message.description, /^incident [0-9a-f-]{36}$/);
  assert.equal(device.socket.closeCode(), null);
});

Deno.test("a session delivers what waited for its device, and what is sent from then on", async () => {
  await using core = await openCore();
  const address = newAddress();
  await registerDevice(core.store, address, [newBytes()]);
  await send(core, outgoing(address, { ciphertext: Uint8Array.of(1) }));
  using device = new FakeDevice(core, address);
  await device.delivered(1);
  await send(core, outgoing(address, { ciphertext: Uint8Array.of(2) }));
  assert.deepEqual(await device.delivered(2), [Uint8Array.of(1), Uint8Array.of(2)]);
  assert.deepEqual(device.socket.deliveredSequences, [0x8000_0001, 0x8000_0002]);
});

Deno.test("a session delivers from the Register on it, and nothing after an Unregister", async () => {
  await using core = await openCore();
  const address = newAddress();
  using device = new FakeDevice(core, address);
  await assert.rejects(send(core, outgoing(address)), { error: "unknown_user" });
  await device.register();
  await send(core, outgoing(address));
  await device.delivered(1);
  assert.deepEqual(await device.answered({ type: "unregister" }), ["ack"]);
  await assert.rejects(send(core, outgoing(address)), { error: "unknown_user" });
  await device.register();
  await send(core, outgoing(address, { ciphertext: Uint8Array.of(9) }));
  assert.deepEqual((await device.delivered(2))[1], Uint8Array.of(9), "the old mailbox is gone");
});

Deno.test("an Ack deletes exactly the message that it names", async () => {
  await using core = await openCore();
  const address = newAddress();
  const { record: { epoch } } = await registerDevice(core.store, address, [newBytes()]);
  using device = new FakeDevice(core, address);
  for (const n of [1, 2, 3]) await send(core, outgoing(address, { ciphertext: Uint8Array.of(n) }));
  await device.delivered(3);
  device.acknowledge(device.socket.deliveredSequences[1] ?? 0);
  device.acknowledge(device.socket.deliveredSequences[1] ?? 0);
  await eventually(
    "it is deleted",
    async () => (await core.store.waiting.read(address, epoch)).open.messages === 2,
  );
  using next = new FakeDevice(core, address);
  assert.deepEqual(await next.delivered(2), [Uint8Array.of(1), Uint8Array.of(3)]);
  await eventually("it is closed", () => device.socket.closeCode() === 4409);
});

Deno.test("closed() leaves the address: what comes then waits for the next connection", async () => {
  await using core = await openCore();
  const address = newAddress();
  await registerDevice(core.store, address, [newBytes()]);
  const device = new FakeDevice(core, address);
  await pass();
  device.session.closed(1006);
  device.session.closed(1000);
  assert.deepEqual([...core.metrics.closes], [[1006, 1]]);
  await send(core, outgoing(address));
  assert.deepEqual(device.socket.sent, []);
  using next = new FakeDevice(core, address);
  await next.delivered(1);
});

Deno.test("tick() closes with 4401 in the moment in which the token ends", async () => {
  const clock = new ManualClock();
  await using core = await openCore({ clock });
  using device = new FakeDevice(core, newAddress(), { expiresAt: clock.now() + 60_000 });
  clock.advance(59_999);
  device.session.tick(clock.monotonic());
  assert.equal(device.socket.closeCode(), null);
  clock.advance(1);
  device.session.tick(clock.monotonic());
  assert.equal(device.socket.closeCode(), 4401);
});

Deno.test("tick() closes with 4408 a peer that has not read for half a minute", async () => {
  const clock = new ManualClock();
  await using core = await openCore({ clock });
  using device = new FakeDevice(core, newAddress());
  device.socket.bufferedAmount = 4 * 1_024 * 1_024 + 1;
  const tick = (ms: number) => (clock.advance(ms), device.session.tick(clock.monotonic()));
  tick(0);
  tick(30_000);
  assert.equal(device.socket.closeCode(), null);
  tick(1);
  clock.advance(1_000); // nothing leaves the process any more: closed all the same
  assert.equal(device.socket.closeCode(), 4408);
});
