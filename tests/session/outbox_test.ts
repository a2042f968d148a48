/**
 * Tests of what goes out: sequences, errors, and a peer that does not read.
 * @module
 */
import assert from "node:assert/strict";
import { RequestError } from "../../lib/errors.ts";
import { QUEUES, TIMES } from "../../lib/limits.ts";
import { Metrics } from "../../lib/metrics.ts";
import { v1 } from "../../lib/protocol/mod.ts";
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
