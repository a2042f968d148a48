/** Two servers on one database: whoever is where, messages and takeovers reach them. */
import assert from "node:assert/strict";
import { AdvancingClock } from "../support/advancing_clock.ts";
import { Background } from "../support/background.ts";
import { Device, keysOf, numberOf, numbersFrom, refusal } from "../support/device.ts";
import { eventually } from "../support/eventually.ts";
import { RawClient } from "../support/raw_client.ts";
import { connectRaw, joinRaw, numbersAt, sendNumbers, sequenceOf } from "../support/raw_messages.ts";
import { startServer, type TestServer } from "../support/server.ts";

/** Where the numbers of a second sender begin. */
const FAR = 1_000_000;

/** Runs a test with two servers that share a database. */
function withTwoServers(
  name: string,
  test: (a: TestServer, b: TestServer, shared: { kv: Deno.Kv; clock: AdvancingClock }) => Promise<void>,
): void {
  Deno.test(name, async () => {
    using kv = await Deno.openKv(":memory:");
    const clock = new AdvancingClock();
    await using a = await startServer({}, { kv, clock });
    await using b = await startServer({}, { kv, clock });
    await test(a, b, { kv, clock });
  });
}

withTwoServers("a server that stops leaves the database that it was given open", async (a, b, { kv }) => {
  await a.server.drain();
  await kv.get(["schema"]);
  await using bob = await Device.join(b);
  await using alice = await Device.connect(b);
  await alice.send(bob.address, 1);
  await bob.untilNumbers([1]);
});

withTwoServers("what is sent at one server reaches a recipient at the other at once", async (a, b) => {
  await using alice = await Device.connect(a);
  await using bob = await Device.join(b);
  for (let n = 0; n < 20; n++) {
    await alice.send(bob.address, n);
    await eventually(`message ${n}`, () => bob.inbox.length === n + 1, 1_000);
  }
  await bob.untilNumbers(numbersFrom(0, 20));
});

withTwoServers("500 messages sent at one server arrive at the other in order", async (a, b) => {
  await using alice = await connectRaw(a);
  await using bob = await Device.join(b);
  await sendNumbers(alice, bob, numbersFrom(0, 500));
  await bob.untilNumbers(numbersFrom(0, 500));
});

withTwoServers("each of two senders at different servers keeps its order", async (a, b) => {
  await using bob = await Device.join(b);
  await using atA = await connectRaw(a);
  await using atB = await connectRaw(b);
  await Promise.all([
    sendNumbers(atA, bob, numbersFrom(0, 400)),
    sendNumbers(atB, bob, numbersFrom(1_000, 400)),
  ]);
  await eventually("all messages", () => bob.inbox.length === 800);
  assert.deepEqual(bob.numbers.filter((n) => n < 1_000), numbersFrom(0, 400));
  assert.deepEqual(bob.numbers.filter((n) => n >= 1_000), numbersFrom(1_000, 400));
});

withTwoServers(
  "a connection to the other server takes the address over, and gets what is not acknowledged",
  async (a, b) => {
    await using first = await joinRaw(a);
    await using alice = await connectRaw(a);
    await sendNumbers(alice, first, [1, 2, 3]);
    await first.untilMessages(3);
    first.acknowledge(sequenceOf(first, 2));
    await first.settle();
    await using second = await RawClient.connect(b, first.address);
    assert.equal((await first.closed).code, 4409);
    await sendNumbers(alice, first, [4]);
    await second.untilMessages(3);
    // Message 2 may come once more, since the servers do not share what they remember of Acks.
    assert.deepEqual(numbersAt(second).filter((n) => n !== 2), [1, 3, 4]);
  },
);

withTwoServers("an address that goes to and fro between the servers loses nothing", async (a, b) => {
  const received: number[] = [];
  const onMessage = ({ ciphertext }: { ciphertext: Uint8Array }) => void received.push(numberOf(ciphertext));
  await using devices = new AsyncDisposableStack();
  let last = devices.use(await Device.join(a, { onMessage }));
  const { address } = last;
  const senders = await Promise.all([a, b].map(async (server) => devices.use(await Device.connect(server))));
  const sent: number[][] = [[], []];
  const background = senders.map((sender, k) =>
    devices.use(
      new Background(async () => {
        const next = numbersFrom(k * FAR + (sent[k]?.length ?? 0), 10);
        sent[k]?.push(...next);
        await Promise.all(next.map((n) => sender.send(address, n)));
      }),
    )
  );
  for (let takeover = 1; takeover <= 20; takeover++) {
    last = devices.use(await last.reconnect(takeover % 2 === 0 ? a : b, { onMessage }));
    const before = received.length;
    await eventually("a message", () => received.length > before);
  }
  await Promise.all(background.map((sender) => sender.stop()));
  await eventually("all messages", () => new Set(received).size === sent.flat().length);
  const first = [...new Set(received)];
  assert.deepEqual(first.filter((n) => n < FAR), sent[0]);
  assert.deepEqual(first.filter((n) => n >= FAR), sent[1]);
  assert.equal(last.closeCode, null);
});

withTwoServers("the owner at one server hears that its prekeys were taken at the other", async (a, b) => {
  await using bob = await Device.join(a);
  await using alice = await Device.connect(b);
  for (let i = 0; i < 3; i++) await alice.connection.requestPreKeys(bob.address.userId);
  await eventually("PreKeysLow", () => bob.asked.length > 0, 1_000);
  assert.deepEqual(bob.asked, [20]);
});

withTwoServers(
  "a device that is registered or removed at one server is so at the other",
  async (a, b, { clock }) => {
    await using bob = await Device.join(a);
    await using alice = await Device.connect(b);
    await alice.connection.requestPreKeys(bob.address.userId);
    await bob.connection.register(keysOf(2));
    assert.equal((await alice.connection.requestPreKeys(bob.address.userId))[0]?.registrationId, 2);
    await alice.send(bob.address, 1);
    await bob.untilNumbers([1]);
    await bob.connection.unregister();
    await refusal(101, alice.connection.requestPreKeys(bob.address.userId));
    await alice.send(bob.address, 2).catch(() => {}); // for five seconds a list that was read may count
    clock.advance(5_001);
    await refusal(101, alice.send(bob.address, 3));
  },
);

withTwoServers("what is acknowledged at one server does not come again at the other", async (a, b) => {
  await using bob = await joinRaw(a);
  await using alice = await connectRaw(b);
  await sendNumbers(alice, bob, numbersFrom(0, 50));
  await bob.untilMessages(50);
  for (const { sequence } of bob.messages.slice(0, 49)) bob.acknowledge(sequence);
  await bob.settle();
  await a.server.drain(); // the Acks are durable
  await using again = await RawClient.connect(b, bob.address);
  await again.untilMessages(1);
  await again.settle();
  assert.deepEqual(numbersAt(again), [49]);
});

withTwoServers(
  "devices of one user that come and go at both servers at once leave the right list",
  async (a, b) => {
    const userId = crypto.randomUUID();
    await using devices = new AsyncDisposableStack();
    const all = await Promise.all(
      numbersFrom(0, 12).map(async (deviceId) => {
        return devices.use(await Device.connect(deviceId % 2 === 0 ? a : b, { userId, deviceId }));
      }),
    );
    await Promise.all(all.map(({ connection }) => connection.register(keysOf(1, { preKeys: [] }))));
    await using alice = await Device.connect(a);
    const listed = async () => {
      const bundles = await alice.connection.requestPreKeys(userId);
      return bundles.map(({ deviceId }) => deviceId).toSorted((x, y) => x - y);
    };
    assert.deepEqual(await listed(), numbersFrom(0, 12));
    await Promise.all(all.slice(0, 9).map(({ connection }) => connection.unregister()));
    assert.deepEqual(await listed(), [9, 10, 11]);
  },
);
