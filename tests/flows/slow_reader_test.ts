/** A peer that does not read: it gets nothing but refusals, then 4408; and nobody else waits for it. */
import assert from "node:assert/strict";
import { AdvancingClock } from "../support/advancing_clock.ts";
import { Device, numbered, numbersFrom } from "../support/device.ts";
import { eventually } from "../support/eventually.ts";
import { askForBytes, LARGE_KEYS, registerLargeUser, SYSTEM_BYTES } from "../support/large_answers.ts";
import type { RawClient } from "../support/raw_client.ts";
import {
  connectRaw,
  joinRaw,
  numbersAt,
  outcomes,
  sendNumbers,
  userMessage,
} from "../support/raw_messages.ts";
import { startServer, type TestServer } from "../support/server.ts";

const MIB = 1_024 * 1_024;
const TICK_MS = 30;

/** Makes the server queue more than 4 MiB for a client that has stopped reading. */
async function congest(server: TestServer, slow: RawClient): Promise<number[]> {
  const largeUserId = await registerLargeUser(server);
  slow.stall();
  const sequences = askForBytes(slow, largeUserId, SYSTEM_BYTES + 5 * MIB);
  // The answers are made in the order of the requests, so these come after them.
  await using other = await connectRaw(server);
  await other.answers(askForBytes(other, largeUserId, MIB));
  return sequences;
}

Deno.test("a peer that does not read gets nothing but Error 105, and everything once it reads", async () => {
  await using server = await startServer(LARGE_KEYS);
  await using bob = await Device.join(server);
  await using slow = await joinRaw(server);
  const before = await congest(server, slow);
  await using alice = await connectRaw(server);
  await sendNumbers(alice, slow, numbersFrom(0, 10));
  const refused = numbersFrom(0, 20).map((n) => slow.send(userMessage(bob.address, numbered(n))));
  await bob.send(bob.address, 99);
  await bob.untilNumbers([99]); // what the slow one sent is taken by now
  slow.resume();
  assert.deepEqual(outcomes(await slow.answers(refused)), Array(20).fill(105));
  assert.deepEqual(outcomes(await slow.answers(before)), Array(before.length).fill("prekey"));
  await slow.untilMessages(10);
  assert.deepEqual(numbersAt(slow), numbersFrom(0, 10));
  assert.equal((await slow.ask(userMessage(bob.address, numbered(100)))).type, "ack");
});

Deno.test("a peer that does not read for 30 s is closed with 4408", async () => {
  const clock = new AdvancingClock(TICK_MS);
  await using server = await startServer(LARGE_KEYS, { clock });
  await using slow = await joinRaw(server);
  await congest(server, slow);
  await using idle = await joinRaw(server);
  await clock.ticked();
  clock.advance(31_000);
  await clock.ticked();
  slow.resume();
  assert.equal((await slow.closed).code, 4408);
  assert.equal(idle.isClosed, false);
});

Deno.test("a peer that reads again within 30 s is not closed", async () => {
  const clock = new AdvancingClock(TICK_MS);
  await using server = await startServer(LARGE_KEYS, { clock });
  await using slow = await joinRaw(server);
  const sequences = await congest(server, slow);
  await clock.ticked();
  clock.advance(25_000);
  slow.resume();
  await slow.answers(sequences);
  await clock.ticked();
  clock.advance(6_000);
  await clock.ticked();
  assert.equal(slow.isClosed, false);
});

Deno.test("a peer that was given up and never reads again does not keep its place", async () => {
  const clock = new AdvancingClock(TICK_MS);
  await using server = await startServer({ ...LARGE_KEYS, IDLE_PING: "2s" }, { clock });
  await using slow = await joinRaw(server);
  await congest(server, slow);
  await clock.ticked();
  clock.advance(31_000);
  await eventually("the end of it", () => server.server.connectionCount === 0, 10_000);
});

Deno.test("a slow peer does not hold up messages between others", async () => {
  await using server = await startServer(LARGE_KEYS);
  await using slow = await joinRaw(server);
  await congest(server, slow);
  await using alice = await connectRaw(server);
  await using bob = await Device.join(server);
  const startedAt = performance.now();
  for (let i = 0; i < 10; i++) {
    await sendNumbers(alice, slow, [i]); // goes to its mailbox
    await sendNumbers(alice, bob, [i]);
  }
  await bob.untilNumbers(numbersFrom(0, 10));
  assert.ok(performance.now() - startedAt < 2_000);
});
