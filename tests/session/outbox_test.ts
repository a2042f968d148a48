/**
 * Tests of what goes out: sequences, errors, and a peer that does not read.
 * @module
 */
import assert from "node:assert/strict";
import { RequestError } from "../../lib/errors.ts";
import { QUEUES, TIMES } from "../../lib/limits.ts";
import { Metrics } from "../../lib/metrics.ts";
import { decodeEnvelope, HEADER_BYTES, type Hello, TYPE, v1, v2 } from "../../lib/protocol/mod.ts";
import { Outbox } from "../../lib/session/outbox.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { FakeSocket } from "./fake_socket.ts";

function openOutbox() {
  const socket = new FakeSocket();
  const clock = new ManualClock();
  const metrics = new Metrics();
  return { socket, clock, metrics, outbox: new Outbox(socket, v1, clock, metrics) };
}

Deno.test("push() counts the server's own messages, and answer() uses the client's sequence", () => {
  const { outbox, socket } = openOutbox();
  const low = { type: "prekeys_low", wanted: 20 } as const;
  assert.deepEqual([outbox.push(low), outbox.push(low)], [0x8000_0001, 0x8000_0002]);
  outbox.answer(7, { type: "ack" });
  assert.equal(outbox.push(low), 0x8000_0003);
  assert.deepEqual(socket.sent.map(({ sequence }) => sequence), [0x8000_0001, 0x8000_0002, 7, 0x8000_0003]);
});

Deno.test("greet() has the first sequence, also if something was held back for it", () => {
  const frames: Uint8Array[] = [];
  const socket = { bufferedAmount: 0, send: (bytes: Uint8Array) => void frames.push(bytes), close: () => {} };
  const outbox = new Outbox(socket, v2, new ManualClock(), new Metrics());
  assert.equal(outbox.push({ type: "prekeys_low", wanted: 20 }), 0x8000_0002);
  assert.equal(frames.length, 0);
  const numbers = { time: 1, messageBytesMax: 1, envelopesBytesMax: 1, window: 1, inFlightMax: 1 };
  const hello: Hello = {
    ...numbers,
    server: "test",
    preKeysMax: 1,
    devicesMax: 1,
    retentionSeconds: 1,
    registrationId: null,
    preKeysStored: 0,
  };
  outbox.greet(hello);
  assert.equal(outbox.push({ type: "queue_empty", lost: 0 }), 0x8000_0003);
  const first = decodeEnvelope(frames[0] ?? new Uint8Array(), 0, 2);
  const second = decodeEnvelope(frames[0] ?? new Uint8Array(), HEADER_BYTES + first.payload.length, 2);
  assert.deepEqual([first, second].map(({ type, sequence }) => [type, sequence]), [
    [TYPE.hello, 0x8000_0001],
    [TYPE.preKeysLow, 0x8000_0002],
  ]);
});

Deno.test("refuse() sends the code and the description, and counts the error", () => {
  const { outbox, socket, metrics } = openOutbox();
  outbox.refuse(9, new RequestError("unknown_user"));
  outbox.refuse(0, new RequestError("mailbox_full", "full"));
  assert.deepEqual(socket.sent, [
    { sequence: 9, message: { type: "error", code: 101, description: "unknown user" } },
    { sequence: 0, message: { type: "error", code: 106, description: "full" } },
  ]);
  assert.deepEqual([...metrics.errors], [["unknown_user", 1], ["mailbox_full", 1]]);
});

Deno.test("isCongested is true while more waits than the bound", () => {
  const { outbox, socket } = openOutbox();
  assert.deepEqual([outbox.isCongested, outbox.isEmpty], [false, true]);
  socket.bufferedAmount = QUEUES.outboxBytesMax;
  assert.deepEqual([outbox.isCongested, outbox.isEmpty], [false, false]);
  socket.bufferedAmount++;
  assert.equal(outbox.isCongested, true);
});

Deno.test("isGivenUp is true after half a minute of congestion without a pause", () => {
  const { outbox, socket, clock } = openOutbox();
  socket.bufferedAmount = QUEUES.outboxBytesMax + 1;
  assert.equal(outbox.isGivenUp, false);
  clock.advance(TIMES.slowPeerMs);
  assert.equal(outbox.isGivenUp, false);
  socket.bufferedAmount = 0;
  assert.equal(outbox.isCongested, false);
  socket.bufferedAmount = QUEUES.outboxBytesMax + 1;
  clock.advance(1);
  assert.equal(outbox.isGivenUp, false, "the peer read in between");
  clock.step(3_600_000);
  assert.equal(outbox.isGivenUp, false, "the wall clock does not count");
  clock.advance(TIMES.slowPeerMs + 1);
  assert.equal(outbox.isGivenUp, true);
});
