/** Stopping: what was acknowledged is kept, everyone is told, and nobody holds it up. */
import assert from "node:assert/strict";
import { ServerError } from "../../lib/client/mod.ts";
import { Background } from "../support/background.ts";
import { Device, keysOf, numbersFrom, preKeys } from "../support/device.ts";
import { eventually } from "../support/eventually.ts";
import { askForBytes, LARGE_KEYS, registerLargeUser, SYSTEM_BYTES } from "../support/large_answers.ts";
import { RawClient } from "../support/raw_client.ts";
import { connectRaw, joinRaw, newAddress, numbersAt, sendNumbers } from "../support/raw_messages.ts";
import { startServer } from "../support/server.ts";

const ROOM = { MAILBOX_MESSAGES_MAX: "1000000" };

/** Where the numbers of the next sender begin. */
const FAR = 1_000_000;

Deno.test("every message that was acknowledged while the server stopped is there after a restart", async () => {
  await using server = await startServer(ROOM);
  const bob = await Device.join(server);
  await bob.connection.close();
  const accepted: number[] = [];
  await using clients = new AsyncDisposableStack();
  const ends: Promise<{ code: number }>[] = [];
  for (const k of numbersFrom(0, 4)) {
    const sender = clients.use(await Device.connect(server));
    ends.push(sender.connection.closed);
    let n = k * FAR;
    clients.use(
      new Background(() =>
        Promise.all(
          numbersFrom(0, 50).map(async () => {
            const mine = n++;
            await sender.send(bob.address, mine);
            accepted.push(mine);
          }),
        )
      ),
    );
  }
  await eventually("a thousand messages", () => accepted.length > 1_000);
  await using restarted = await server.restart();
  assert.ok(accepted.length > 1_000);
  await using again = await bob.reconnect(restarted);
  await eventually("all that was accepted", () => {
    const received = new Set(again.numbers);
    return accepted.every((n) => received.has(n));
  });
  for (const k of numbersFrom(0, 4)) {
    const ofSender = again.numbers.filter((n) => Math.floor(n / FAR) === k);
    assert.deepEqual(ofSender, numbersFrom(k * FAR, ofSender.length), "in order, none left out, none twice");
  }
  // Sockets that are as busy as these may lose the code of their close; that quiet ones get 1001 is tested below.
  for (const { code } of await Promise.all(ends)) assert.ok([0, 1001, 1006].includes(code), `${code}`);
});

Deno.test("every client is told 1001, and the server ends", async () => {
  await using server = await startServer();
  await using clients = new AsyncDisposableStack();
  const all = await Promise.all(
    numbersFrom(0, 20).map(async () => clients.use(await connectRaw(server))),
  );
  const startedAt = performance.now();
  await server.server.drain();
  assert.ok(performance.now() - startedAt < 2_000);
  assert.deepEqual(await Promise.all(all.map(async (c) => (await c.closed).code)), Array(20).fill(1001));
  await server.server.finished;
  await assert.rejects(connectRaw(server));
});

Deno.test("the server stops within 4 s though peers never read, and others are told all the same", async () => {
  await using server = await startServer(LARGE_KEYS);
  const largeUserId = await registerLargeUser(server);
  await using stalled = await connectRaw(server, { isSilent: true });
  await using _silent = await connectRaw(server, { isSilent: true, isStalled: true });
  await using other = await joinRaw(server);
  stalled.stall();
  askForBytes(stalled, largeUserId, SYSTEM_BYTES + 2 * 1_024 * 1_024);
  await other.answers(askForBytes(other, largeUserId, 1_024 * 1_024));
  const startedAt = performance.now();
  await server.server.drain();
  const tookMs = performance.now() - startedAt;
  assert.ok(tookMs < 4_000, `${tookMs} ms`);
  assert.equal((await other.closed).code, 1001);
});

Deno.test("what was acknowledged to the server before it stopped does not come again", async () => {
  await using server = await startServer();
  await using bob = await joinRaw(server);
  await using alice = await connectRaw(server);
  await sendNumbers(alice, bob, numbersFrom(0, 200));
  await bob.untilMessages(200);
  for (const { sequence } of bob.messages.slice(0, 199)) bob.acknowledge(sequence);
  await bob.settle();
  await using restarted = await server.restart();
  await using again = await RawClient.connect(restarted, bob.address);
  await again.untilMessages(1);
  await again.settle();
  assert.deepEqual(numbersAt(again), [199]);
});

Deno.test("what was registered and taken before the stop is so after it", async () => {
  await using server = await startServer();
  const bob = await Device.join(server, { preKeys: preKeys(3) });
  const alice = await Device.connect(server);
  await alice.connection.requestPreKeys(bob.address.userId);
  await bob.connection.register(keysOf(1, { signedPreKey: Uint8Array.of(9), preKeys: preKeys(4) }));
  await using restarted = await server.restart();
  await using carol = await Device.connect(restarted);
  const [bundle] = await carol.connection.requestPreKeys(bob.address.userId);
  assert.deepEqual(bundle?.signedPreKey, Uint8Array.of(9));
  assert.deepEqual(bundle?.preKey, preKeys(1, 1)[0]);
});

Deno.test("Registers under way when the server stops are there as a whole, or not at all", async () => {
  await using server = await startServer();
  const addresses = numbersFrom(0, 10).map(() => newAddress());
  const registered = new Set<string>();
  const sent = addresses.map(async (address) => {
    const device = await Device.connect(server, address);
    await device.connection.register(keysOf(1, { preKeys: preKeys(100) }));
    registered.add(address.userId);
  });
  const all = Promise.allSettled(sent);
  await eventually("the first", () => registered.size > 0);
  await using restarted = await server.restart();
  await all;
  await using alice = await Device.connect(restarted);
  for (const { userId } of addresses) {
    const bundles = await alice.connection.requestPreKeys(userId).catch((error) => {
      assert.ok(error instanceof ServerError && error.code === 101);
      return [];
    });
    if (registered.has(userId)) assert.equal(bundles.length, 1);
    if (bundles.length === 1) assert.deepEqual(bundles[0]?.preKey, preKeys(1)[0]);
  }
});

Deno.test("to stop twice is to stop once", async () => {
  await using server = await startServer();
  await using client = await connectRaw(server);
  await Promise.all([server.server.drain(), server.server.drain()]);
  await server.server.drain();
  assert.equal((await client.closed).code, 1001);
});
