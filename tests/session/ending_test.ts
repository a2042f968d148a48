/**
 * Tests of how a session ends: replaced, drained or closed, and what is still taken and sent until then.
 * @module
 */
import assert from "node:assert/strict";
import { QUEUES, TIMES } from "../../lib/limits.ts";
import { newAddress, newBytes, registerDevice } from "../store/open_store.ts";
import { Gate, ScriptedKv } from "../store/scripted_kv.ts";
import { openCore, outgoing, send, type TestCore } from "../service/open_core.ts";
import { eventually } from "../support/eventually.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { FakeDevice, pass } from "./fake_device.ts";

/** A registered device that has been sent so many messages and has acknowledged none. */
async function deviceWith(core: TestCore, messages: number) {
  const address = newAddress();
  const { record: { epoch } } = await registerDevice(core.store, address, [newBytes()]);
  const device = new FakeDevice(core, address);
  for (let n = 0; n < messages; n++) await send(core, outgoing(address, { ciphertext: Uint8Array.of(n) }));
  await device.delivered(messages);
  const waiting = async () => (await core.store.waiting.read(address, epoch)).open.messages;
  return { address, device, waiting };
}

Deno.test("replaced() closes a connection that has nothing to send with 4409", async () => {
  await using core = await openCore();
  const { address, device } = await deviceWith(core, 1);
  using next = new FakeDevice(core, address);
  assert.equal(device.socket.closeCode(), 4409);
  assert.equal(core.metrics.counts.connectionsReplaced, 1);
  await next.delivered(1);
  assert.equal(next.socket.closeCode(), null);
});

Deno.test("replaced() waits for what is queued, takes Acks meanwhile, and nothing else", async () => {
  const clock = new ManualClock();
  await using core = await openCore({ clock });
  const { address, device, waiting } = await deviceWith(core, 2);
  device.socket.bufferedAmount = 10;
  using next = new FakeDevice(core, address);
  await next.delivered(2);
  const unregister = device.request({ type: "unregister" });
  device.acknowledge(...device.socket.deliveredSequences);
  await eventually("the messages are deleted", async () => await waiting() === 0);
  await send(core, outgoing(address));
  await next.delivered(3);
  assert.deepEqual(device.socket.answersTo(unregister), []);
  assert.equal(device.socket.delivered.length, 2, "the new messages go to the new connection");
  clock.advance(100);
  assert.equal(device.socket.closeCode(), null);
  device.socket.bufferedAmount = 0;
  clock.advance(10);
  assert.equal(device.socket.closeCode(), 4409);
});

Deno.test("replaced() does not wait longer than a second for a peer that does not read", async () => {
  const clock = new ManualClock();
  await using core = await openCore({ clock });
  const { address, device } = await deviceWith(core, 0);
  device.socket.bufferedAmount = 10;
  using _next = new FakeDevice(core, address);
  clock.advance(TIMES.replacedFlushMs - 1);
  assert.equal(device.socket.closeCode(), null);
  clock.advance(10);
  assert.equal(device.socket.closeCode(), 4409);
});

Deno.test("replaced() waits for the answer to a request that was taken before", async () => {
  const clock = new ManualClock();
  await using scripted = await ScriptedKv.open();
  await using core = await openCore({ clock, kv: scripted.kv });
  const { address, device } = await deviceWith(core, 0);
  const gate = new Gate();
  await pass();
  scripted.onCommit = async (commit) => (await gate.passed, await commit.run());
  const sequence = device.request({ type: "user_message", message: outgoing(address) });
  await pass();
  using _next = new FakeDevice(core, address);
  clock.advance(500);
  assert.equal(device.socket.closeCode(), null);
  gate.open();
  await eventually("it is answered", () => device.socket.answersTo(sequence).length === 1);
  clock.advance(10);
  assert.equal(device.socket.closeCode(), 4409);
});

Deno.test("a message that was not acknowledged before is delivered to the connection that replaced it", async () => {
  await using core = await openCore();
  const { address, device, waiting } = await deviceWith(core, 3);
  device.acknowledge(device.socket.deliveredSequences[0] ?? 0);
  using next = new FakeDevice(core, address);
  assert.deepEqual(await next.delivered(2), [Uint8Array.of(1), Uint8Array.of(2)]);
  next.acknowledge(...next.socket.deliveredSequences);
  await eventually("all are deleted", async () => await waiting() === 0);
});

Deno.test("pause() takes Acks and nothing else, and delivers nothing more", async () => {
  await using core = await openCore();
  const { address, device, waiting } = await deviceWith(core, 1);
  device.session.pause();
  const unregister = device.request({ type: "unregister" });
  device.acknowledge(...device.socket.deliveredSequences);
  await eventually("the message is deleted", async () => await waiting() === 0);
  await send(core, outgoing(address));
  await pass();
  assert.deepEqual(device.socket.answersTo(unregister), []);
  assert.equal(device.socket.delivered.length, 1);
  assert.equal(device.socket.closeCode(), null);
});

// A peer that goes on would keep Deno's event loop busy with reading, for seconds, and its own end from its turn.
Deno.test("pause() cuts a peer off that sends more requests than anybody may have under way", async () => {
  await using core = await openCore();
  const { device } = await deviceWith(core, 0);
  await pass();
  device.session.pause();
  for (let n = 0; n <= QUEUES.unansweredCloseMax; n++) device.request({ type: "unregister" });
  assert.equal(device.socket.closeCode(), null);
  device.request({ type: "unregister" });
  assert.equal(device.socket.closeCode(), 4429);
});

Deno.test("pause() still answers what was taken before", async () => {
  await using scripted = await ScriptedKv.open();
  await using core = await openCore({ kv: scripted.kv });
  const { address, device } = await deviceWith(core, 0);
  await pass();
  const gate = new Gate();
  scripted.onCommit = async (commit) => (await gate.passed, await commit.run());
  const sequence = device.request({ type: "user_message", message: outgoing(address) });
  await pass();
  device.session.pause();
  assert.equal(device.session.isAnswered, false);
  gate.open();
  await eventually("it is answered", () => device.session.isAnswered);
  assert.deepEqual(device.socket.answersTo(sequence), ["ack"]);
});

Deno.test("close() takes nothing but Acks, sends what is queued, and gives its code once", async () => {
  const clock = new ManualClock();
  await using core = await openCore({ clock });
  const { device, waiting } = await deviceWith(core, 1);
  device.socket.bufferedAmount = 10;
  device.session.close(1001, "the server is stopping");
  device.session.close(1011, "again");
  device.acknowledge(...device.socket.deliveredSequences);
  clock.advance(50);
  assert.equal(device.socket.closeCode(), null);
  device.socket.bufferedAmount = 0;
  clock.advance(10);
  assert.deepEqual(device.socket.closedWith, { code: 1001, reason: "the server is stopping" });
  await pass();
  assert.equal(await waiting(), 0);
});

Deno.test("close() of a connection that floods does not wait for answers that never come", async () => {
  const clock = new ManualClock();
  await using core = await openCore({ clock });
  const { device } = await deviceWith(core, 0);
  device.socket.bufferedAmount = 5 * 1_024 * 1_024;
  for (let n = 0; n < 1_100; n++) device.request({ type: "unregister" });
  device.socket.bufferedAmount = 0;
  clock.advance(60);
  assert.equal(device.socket.closeCode(), 4429);
});
