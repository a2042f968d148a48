/** How long a message waits: by the server's clock alone, whatever storage still holds. */
import assert from "node:assert/strict";
import { Device, numbersFrom } from "../support/device.ts";
import { ShiftedClock } from "../support/manual_clock.ts";
import { RawClient } from "../support/raw_client.ts";
import { connectRaw, joinRaw, numbersAt, sendNumbers, sequenceOf } from "../support/raw_messages.ts";
import { startServer, type TestServer } from "../support/server.ts";

const MINUTE_MS = 60_000;
const TEN_MINUTES = { RETENTION: "10m" };

/** How many messages the database holds. */
async function storedMessages(server: TestServer): Promise<number> {
  using kv = await Deno.openKv(`${server.directory}/messaging.kv`);
  return (await Array.fromAsync(kv.list({ prefix: ["inbox"] }))).length;
}

Deno.test("a message past its retention is not delivered, though storage still has it", async () => {
  const clock = new ShiftedClock();
  await using server = await startServer(TEN_MINUTES, { clock });
  const bob = await Device.join(server);
  await bob.connection.close();
  await using alice = await Device.connect(server);
  await alice.send(bob.address, 1);
  clock.step(9 * MINUTE_MS);
  await alice.send(bob.address, 2);
  clock.step(MINUTE_MS + 1);
  await alice.send(bob.address, 3);
  assert.equal(await storedMessages(server), 3);
  await using again = await bob.reconnect(server);
  await again.untilNumbers([2, 3]);
});

Deno.test("a message is delivered until its retention is over", async () => {
  const clock = new ShiftedClock();
  await using server = await startServer(TEN_MINUTES, { clock });
  const bob = await Device.join(server);
  await bob.connection.close();
  await using alice = await Device.connect(server);
  await alice.send(bob.address, 1);
  clock.step(10 * MINUTE_MS - 30_000);
  await using again = await bob.reconnect(server);
  await again.untilNumbers([1]);
});

Deno.test("what expired before a restart is not delivered after it", async () => {
  const clock = new ShiftedClock();
  await using server = await startServer(TEN_MINUTES, { clock });
  const bob = await Device.join(server);
  await bob.connection.close();
  const alice = await Device.connect(server);
  await alice.send(bob.address, 1);
  clock.step(11 * MINUTE_MS);
  await using restarted = await server.restart();
  await using carol = await Device.connect(restarted);
  await carol.send(bob.address, 2);
  await using again = await bob.reconnect(restarted);
  await again.untilNumbers([2]);
});

Deno.test("what waits behind a full window expires there", async () => {
  const clock = new ShiftedClock();
  await using server = await startServer(TEN_MINUTES, { clock });
  await using bob = await joinRaw(server);
  await using alice = await connectRaw(server);
  await sendNumbers(alice, bob, numbersFrom(0, 400)); // some wait in memory, the others in storage
  await bob.untilMessages(256);
  clock.step(11 * MINUTE_MS);
  for (const { sequence } of bob.messages) bob.acknowledge(sequence);
  await bob.settle();
  await sendNumbers(alice, bob, [400]);
  await bob.untilMessages(257);
  assert.deepEqual(numbersAt(bob), [...numbersFrom(0, 256), 400]);
});

Deno.test("a message that was delivered in time can be acknowledged after its retention", async () => {
  const clock = new ShiftedClock();
  await using server = await startServer(TEN_MINUTES, { clock });
  await using bob = await joinRaw(server);
  await using alice = await connectRaw(server);
  await sendNumbers(alice, bob, [1]);
  await bob.untilMessages(1);
  clock.step(11 * MINUTE_MS);
  bob.acknowledge(sequenceOf(bob, 1));
  await sendNumbers(alice, bob, [2]);
  await bob.untilMessages(2);
  assert.deepEqual(numbersAt(bob), [1, 2]);
});

Deno.test("a mailbox of nothing but expired messages does not hold up new ones", async () => {
  const clock = new ShiftedClock();
  await using server = await startServer(TEN_MINUTES, { clock });
  await using bob = await joinRaw(server);
  bob.cut();
  await using alice = await connectRaw(server);
  await sendNumbers(alice, bob, numbersFrom(0, 500));
  await sendNumbers(alice, bob, numbersFrom(500, 500));
  clock.step(11 * MINUTE_MS);
  await sendNumbers(alice, bob, numbersFrom(1_000, 300));
  await using again = await RawClient.connect(server, bob.address);
  for (let acknowledged = 0; acknowledged < 300; acknowledged++) {
    await again.untilMessages(acknowledged + 1);
    again.acknowledge(again.messages[acknowledged]?.sequence ?? 0);
  }
  assert.deepEqual(numbersAt(again), numbersFrom(1_000, 300));
});

Deno.test("a clock that steps forward and back changes neither order nor what is delivered", async () => {
  const clock = new ShiftedClock();
  await using server = await startServer({ RETENTION: "30d" }, { clock });
  const bob = await Device.join(server);
  await bob.connection.close();
  await using alice = await Device.connect(server);
  for (const [i, minutes] of [0, 40, -80, 1, 30].entries()) {
    clock.step(minutes * MINUTE_MS);
    for (const n of numbersFrom(10 * i, 10)) await alice.send(bob.address, n);
  }
  await using again = await bob.reconnect(server);
  await again.untilNumbers(numbersFrom(0, 50));
});

Deno.test("a clock that stepped back before a restart does not turn the order round", async () => {
  const clock = new ShiftedClock();
  await using server = await startServer({ RETENTION: "30d" }, { clock });
  const bob = await Device.join(server);
  await bob.connection.close();
  const alice = await Device.connect(server);
  clock.step(40 * MINUTE_MS);
  for (const n of numbersFrom(0, 5)) await alice.send(bob.address, n);
  clock.step(-60 * MINUTE_MS);
  await using restarted = await server.restart();
  await using carol = await Device.connect(restarted);
  for (const n of numbersFrom(5, 5)) await carol.send(bob.address, n);
  await using again = await bob.reconnect(restarted);
  await again.untilNumbers(numbersFrom(0, 10));
});
