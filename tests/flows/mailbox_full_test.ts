/** A full mailbox refuses with 106 and stores nothing; room comes back with what is acknowledged or expires. */
import assert from "node:assert/strict";
import { AdvancingClock } from "../support/advancing_clock.ts";
import { Device, keysOf, numbered, numbersFrom, refusal } from "../support/device.ts";
import { RawClient } from "../support/raw_client.ts";
import {
  connectRaw,
  joinRaw,
  numbersAt,
  outcomes,
  registerMessage,
  sendNumbers,
  sequenceOf,
  userMessage,
} from "../support/raw_messages.ts";
import { startServer } from "../support/server.ts";

const TEN = { MAILBOX_MESSAGES_MAX: "10" };
const MINUTE_MS = 60_000;

Deno.test("the message after the last one that fits is refused, and not stored", async () => {
  await using server = await startServer(TEN);
  const bob = await Device.join(server);
  await bob.connection.close();
  await using alice = await Device.connect(server);
  for (const n of numbersFrom(0, 10)) await alice.send(bob.address, n);
  assert.match(await refusal(106, alice.send(bob.address, 10)), /full/);
  await refusal(106, alice.send(bob.address, 11));
  await using again = await bob.reconnect(server);
  await again.untilNumbers(numbersFrom(0, 10));
  await alice.send(bob.address, 12);
  await again.untilNumbers([...numbersFrom(0, 10), 12]);
});

Deno.test("an Ack makes room for one message", async () => {
  await using server = await startServer(TEN);
  await using bob = await joinRaw(server);
  await using alice = await Device.connect(server);
  for (const n of numbersFrom(0, 10)) await alice.send(bob.address, n);
  await refusal(106, alice.send(bob.address, 10));
  await bob.untilMessages(10);
  bob.acknowledge(sequenceOf(bob, 3));
  await bob.settle();
  await alice.send(bob.address, 11);
  await refusal(106, alice.send(bob.address, 12));
  await bob.untilMessages(11);
  assert.deepEqual(numbersAt(bob), [...numbersFrom(0, 10), 11]);
});

Deno.test("senders at the same time do not pass the limit together, also right after a restart", async () => {
  await using server = await startServer(TEN);
  await using bob = await joinRaw(server);
  bob.cut();
  await using early = await connectRaw(server);
  await sendNumbers(early, bob, [0, 1]);
  await using restarted = await server.restart();
  await using senders = new AsyncDisposableStack();
  const results = await Promise.all(
    numbersFrom(0, 5).map(async () => {
      const sender = senders.use(await connectRaw(restarted));
      return outcomes(
        await sender.answers(
          sender.sendTogether(numbersFrom(10, 8).map((n) => userMessage(bob.address, numbered(n)))),
        ),
      );
    }),
  );
  const all = results.flat();
  assert.equal(all.filter((outcome) => outcome === "ack").length, 8);
  assert.equal(all.filter((outcome) => outcome === 106).length, 32);
});

Deno.test("the mailboxes of two devices of a user fill up apart", async () => {
  await using server = await startServer(TEN);
  await using phone = await joinRaw(server);
  await using tablet = await Device.join(server, { ...phone.address, deviceId: 2 });
  await using alice = await Device.connect(server);
  for (const n of numbersFrom(0, 10)) await alice.send(phone.address, n);
  await refusal(106, alice.send(phone.address, 10));
  await alice.send(tablet.address, 1);
  await tablet.untilNumbers([1]);
});

Deno.test("MAILBOX_BYTES_MAX counts bytes of ciphertext", async () => {
  await using server = await startServer({ MAILBOX_BYTES_MAX: "64KiB" });
  await using bob = await joinRaw(server);
  await using alice = await Device.connect(server);
  await alice.connection.send(bob.address, new Uint8Array(40 * 1_024));
  await refusal(106, alice.connection.send(bob.address, new Uint8Array(24 * 1_024 + 1)));
  await alice.connection.send(bob.address, new Uint8Array(24 * 1_024));
  await refusal(106, alice.connection.send(bob.address, Uint8Array.of(1)));
  await alice.connection.send(bob.address, new Uint8Array());
  await bob.untilMessages(3);
  bob.acknowledge(bob.messages[0]?.sequence ?? 0);
  await bob.settle();
  await alice.connection.send(bob.address, new Uint8Array(40 * 1_024));
});

Deno.test("a re-install empties the mailbox, and so makes room", async () => {
  await using server = await startServer(TEN);
  await using bob = await joinRaw(server);
  await using alice = await connectRaw(server);
  await sendNumbers(alice, bob, numbersFrom(0, 10));
  assert.equal((await bob.ask(registerMessage(keysOf(2)))).type, "ack");
  await sendNumbers(alice, bob, numbersFrom(10, 10));
});

Deno.test("messages that expire make room", async () => {
  const clock = new AdvancingClock();
  await using server = await startServer({ ...TEN, RETENTION: "10m" }, { clock });
  await using bob = await joinRaw(server);
  bob.cut();
  await using alice = await Device.connect(server);
  for (const n of numbersFrom(0, 10)) await alice.send(bob.address, n);
  await refusal(106, alice.send(bob.address, 10));
  clock.advance(11 * MINUTE_MS);
  for (const n of numbersFrom(20, 10)) await alice.send(bob.address, n);
  await refusal(106, alice.send(bob.address, 30));
});

Deno.test("messages that expire make room once, not again when they are collected", async () => {
  const clock = new AdvancingClock();
  await using server = await startServer({ ...TEN, RETENTION: "10m" }, { clock });
  await using bob = await joinRaw(server);
  bob.cut();
  await using alice = await Device.connect(server);
  for (const n of numbersFrom(0, 10)) await alice.send(bob.address, n);
  clock.advance(11 * MINUTE_MS);
  for (const n of numbersFrom(10, 10)) await alice.send(bob.address, n);
  await using again = await RawClient.connect(server, bob.address);
  await again.untilMessages(10); // the expired ones were met on the way, and deleted
  await refusal(106, alice.send(bob.address, 20));
});
