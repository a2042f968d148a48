/** More requests than are answered: refused with 105 at first, then the connection is closed with 4429. */
import assert from "node:assert/strict";
import { Device, numbered, numbersFrom } from "../support/device.ts";
import { TYPE } from "../../lib/protocol/mod.ts";
import {
  connectRaw,
  joinRaw,
  outcomes,
  requestPreKeys,
  sendNumbers,
  userMessage,
} from "../support/raw_messages.ts";
import { startServer } from "../support/server.ts";

const UNANSWERED_MAX = 512;
const CLOSE_ABOVE = 1_024;

function count(codes: readonly (string | number)[], code: string | number): number {
  return codes.filter((other) => other === code).length;
}

Deno.test("of 600 requests at once 512 are carried out, and 88 get Error 105", async () => {
  await using server = await startServer();
  await using bob = await Device.join(server);
  await using alice = await connectRaw(server);
  const requests = Array(600).fill(requestPreKeys(bob.address.userId));
  const answers = await alice.answers(alice.sendTogether(requests));
  assert.equal(count(outcomes(answers), "prekey"), UNANSWERED_MAX);
  assert.equal(count(outcomes(answers), 105), 88);
  const refused = answers.find(({ type }) => type === "error");
  assert.match(refused?.type === "error" ? refused.description : "", /try again in [0-9]+ ms$/);
  assert.equal(
    (await alice.ask(requestPreKeys(bob.address.userId))).type,
    "prekey",
    "afterwards all is well",
  );
});

Deno.test("of 600 messages at once those that are accepted arrive in order", async () => {
  await using server = await startServer();
  await using bob = await Device.join(server);
  await using alice = await connectRaw(server);
  const messages = numbersFrom(0, 600).map((n) => userMessage(bob.address, numbered(n)));
  const answers = await alice.answers(alice.sendTogether(messages));
  const accepted = numbersFrom(0, 600).filter((n) => answers[n]?.type === "ack");
  assert.ok(accepted.length >= UNANSWERED_MAX, `${accepted.length}`);
  await bob.untilNumbers(accepted);
});

Deno.test("of 6 MB of messages at once 4 MiB are carried out, and arrive in order; the rest gets Error 105", async () => {
  await using server = await startServer({ FRAME_BYTES_MAX: "8388608", RATE_PAIR: "off" });
  await using bob = await Device.join(server);
  await using alice = await connectRaw(server);
  const bytes = 60 * 1_024;
  const large = (n: number) => {
    const ciphertext = new Uint8Array(bytes);
    ciphertext.set(numbered(n));
    return userMessage(bob.address, ciphertext);
  };
  const codes = outcomes(await alice.answers(alice.sendTogether(numbersFrom(0, 100).map(large))));
  const accepted = count(codes, "ack");
  assert.ok(Math.abs(accepted - 4 * 1_024 * 1_024 / bytes) <= 1, `${accepted}`);
  assert.equal(count(codes, 105), 100 - accepted);
  await bob.untilNumbers(numbersFrom(0, accepted));
});

Deno.test("1,024 requests that are not answered do not close the connection", async () => {
  await using server = await startServer();
  await using bob = await Device.join(server);
  await using alice = await connectRaw(server);
  const requests = Array(CLOSE_ABOVE).fill(requestPreKeys(bob.address.userId));
  const answers = await alice.answers(alice.sendTogether(requests));
  assert.equal(count(outcomes(answers), 105), CLOSE_ABOVE - UNANSWERED_MAX);
});

Deno.test("more than 1,024 requests that are not answered close the connection with 4429", async () => {
  await using server = await startServer();
  await using bob = await Device.join(server);
  await using alice = await connectRaw(server);
  alice.sendTogether(Array(CLOSE_ABOVE + 1).fill(requestPreKeys(bob.address.userId)));
  assert.equal((await alice.closed).code, 4429);
  await bob.send(bob.address, 1);
  await bob.untilNumbers([1]);
});

Deno.test("requests in portions that are answered in between are never too many", async () => {
  await using server = await startServer();
  await using bob = await Device.join(server);
  await using alice = await connectRaw(server);
  for (let portion = 0; portion < 5; portion++) {
    const answers = await alice.answers(
      alice.sendTogether(Array(UNANSWERED_MAX).fill(requestPreKeys(bob.address.userId))),
    );
    assert.equal(count(outcomes(answers), "prekey"), UNANSWERED_MAX);
  }
});

Deno.test("Acks and Errors of a client are no requests, however many are under way", async () => {
  await using server = await startServer();
  await using bob = await joinRaw(server);
  await using alice = await connectRaw(server);
  await sendNumbers(alice, bob, numbersFrom(0, 10));
  await bob.untilMessages(10);
  const before = bob.envelopes.length;
  const requests = bob.sendTogether(Array(UNANSWERED_MAX).fill(requestPreKeys(bob.address.userId)));
  for (const { sequence } of bob.messages.slice(0, 9)) {
    bob.sendEnvelope(sequence, TYPE.error, Uint8Array.of(3));
  }
  bob.acknowledge(bob.messages[9]?.sequence ?? 0);
  const answers = await bob.answers(requests);
  assert.equal(count(outcomes(answers), "prekey"), UNANSWERED_MAX);
  await bob.settle();
  assert.ok(
    bob.received.slice(before).every(({ sequence }) => sequence < 0x8000_0000 || sequence === 0x8000_000b),
  );
});
