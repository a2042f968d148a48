/** PreKeysLow: on connecting, within a second of the fetch that takes the pool below ten, once for each fall. */
import assert from "node:assert/strict";
import { AdvancingClock } from "../support/advancing_clock.ts";
import { Device, keysOf, preKeys } from "../support/device.ts";
import { eventually } from "../support/eventually.ts";
import { connectRaw, registerMessage } from "../support/raw_messages.ts";
import { startServer } from "../support/server.ts";

const MINUTE_MS = 60_000;

/** Waits until everything that the server had to tell a device has come. */
async function settled(device: Device): Promise<void> {
  await device.connection.requestPreKeys(device.address.userId, [device.address.deviceId]);
}

async function fetch(alice: Device, bob: Device, times: number): Promise<void> {
  for (let i = 0; i < times; i++) await alice.connection.requestPreKeys(bob.address.userId);
}

Deno.test("a device that connects with fewer than ten prekeys is asked for twenty", async () => {
  await using server = await startServer();
  const bob = await Device.join(server, { preKeys: preKeys(9) });
  await bob.connection.close();
  await using again = await bob.reconnect(server);
  await eventually("PreKeysLow", () => again.asked.length > 0, 1_000);
  assert.deepEqual(again.asked, [20]);
});

Deno.test("a device that connects with ten prekeys is not asked", async () => {
  await using server = await startServer();
  const bob = await Device.join(server, { preKeys: preKeys(10) });
  await bob.connection.close();
  await using again = await bob.reconnect(server);
  await using alice = await Device.connect(server);
  await alice.send(bob.address, 1);
  await again.untilNumbers([1]); // by now the server has looked at the device
  await settled(again);
  assert.deepEqual(again.asked, []);
});

Deno.test("a device that is not registered is not asked", async () => {
  await using server = await startServer();
  await using bob = await Device.connect(server);
  await bob.connection.register(keysOf(1, { preKeys: [] }));
  await bob.connection.unregister();
  await using again = await bob.reconnect(server);
  for (let i = 0; i < 5; i++) await again.connection.unregister();
  assert.deepEqual(again.asked, []);
});

Deno.test("the fetch that leaves nine tells the owner within a second, and the next ones do not", async () => {
  await using server = await startServer();
  await using bob = await Device.join(server, { preKeys: preKeys(12) });
  await using alice = await Device.connect(server);
  await fetch(alice, bob, 2);
  await settled(bob);
  assert.deepEqual(bob.asked, [], "ten are left");
  await fetch(alice, bob, 1);
  await eventually("PreKeysLow", () => bob.asked.length > 0, 1_000);
  await using carol = await Device.connect(server);
  await fetch(carol, bob, 11); // also when none is left
  await settled(bob);
  assert.deepEqual(bob.asked, [20]);
});

Deno.test("a device that fetches its own prekeys is told as well", async () => {
  await using server = await startServer();
  await using bob = await Device.join(server, { preKeys: preKeys(10) });
  await fetch(bob, bob, 1);
  await eventually("PreKeysLow", () => bob.asked.length > 0, 1_000);
});

Deno.test("once the pool was filled, the next fall is told at once", async () => {
  await using server = await startServer();
  await using bob = await Device.join(server, { preKeys: preKeys(10) });
  await using alice = await Device.connect(server);
  for (let fall = 1; fall <= 3; fall++) {
    await fetch(alice, bob, 1);
    await eventually(`PreKeysLow ${fall}`, () => bob.asked.length === fall, 1_000);
    await bob.connection.register(keysOf(1, { preKeys: preKeys(1, 10 + fall) }));
    // The server counts the pool after it has answered: a fetch before that falls into the same low.
    await settled(bob);
    await settled(bob);
  }
});

Deno.test("a pool that stays low is told again after five minutes, and not before", async () => {
  const clock = new AdvancingClock();
  await using server = await startServer({}, { clock });
  await using bob = await Device.join(server, { preKeys: preKeys(10) });
  await using alice = await Device.connect(server);
  await fetch(alice, bob, 1);
  await eventually("the first PreKeysLow", () => bob.asked.length === 1, 1_000);
  clock.advance(5 * MINUTE_MS - 30_000);
  await fetch(alice, bob, 1);
  await settled(bob);
  assert.equal(bob.asked.length, 1);
  clock.advance(31_000);
  await fetch(alice, bob, 1);
  await eventually("the second PreKeysLow", () => bob.asked.length === 2, 1_000);
});

Deno.test("a pool that stays low is told again though nobody fetches", async () => {
  const clock = new AdvancingClock();
  await using server = await startServer({}, { clock });
  const bob = await Device.join(server, { preKeys: preKeys(1) });
  await using again = await bob.reconnect(server);
  await eventually("the first PreKeysLow", () => again.asked.length === 1);
  clock.advance(7 * MINUTE_MS); // beyond the interval, and the time of the next look
  await eventually("the second PreKeysLow", () => again.asked.length === 2, 3_000);
});

Deno.test("PREKEYS_LOW and PREKEYS_REQUESTED set the limit and what is asked for", async () => {
  await using server = await startServer({ PREKEYS_LOW: "3", PREKEYS_REQUESTED: "7" });
  await using bob = await Device.join(server, { preKeys: preKeys(4) });
  await using alice = await Device.connect(server);
  await fetch(alice, bob, 1);
  await settled(bob);
  assert.deepEqual(bob.asked, []);
  await fetch(alice, bob, 1);
  await eventually("PreKeysLow", () => bob.asked.length > 0, 1_000);
  assert.deepEqual(bob.asked, [7]);
});

Deno.test("PreKeysLow is a message of the server's own, with two bytes, and its Ack is taken", async () => {
  await using server = await startServer();
  await using bob = await connectRaw(server);
  await bob.ask(registerMessage(keysOf(1, { preKeys: preKeys(1) })));
  await using alice = await Device.connect(server);
  await alice.connection.requestPreKeys(bob.address.userId);
  await eventually("PreKeysLow", () => bob.envelopes.length === 2);
  const [, low] = bob.envelopes;
  assert.deepEqual([low?.sequence, low?.type, low?.payload.toHex()], [0x8000_0001, 7, "0014"]);
  bob.acknowledge(0x8000_0001);
  await alice.send(bob.address, 1);
  await bob.untilMessages(1);
  assert.equal(bob.messages[0]?.sequence, 0x8000_0002);
});
