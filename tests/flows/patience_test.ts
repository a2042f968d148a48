/** Requests that cost nothing and acknowledgements of nothing: borne with for a while, then the connection is closed. */
import assert from "node:assert/strict";
import { encodeEnvelope, TYPE } from "../../lib/protocol/mod.ts";
import { AdvancingClock } from "../support/advancing_clock.ts";
import { Device, numbered } from "../support/device.ts";
import { eventually } from "../support/eventually.ts";
import { RawClient } from "../support/raw_client.ts";
import { connectRaw, joinRaw, outcomes, sendNumbers, userMessage } from "../support/raw_messages.ts";
import { startServer } from "../support/server.ts";
import { concat } from "../support/websocket_frames.ts";

/** So many refusals, and hardly any more as time passes. */
const FEW = { RATE_REFUSALS: "0.01/s:100" };

/** Many of one envelope, in one WebSocket message. */
const together = (count: number, envelope: Uint8Array) => concat(Array<Uint8Array>(count).fill(envelope));

const ACK_OF_NOTHING = encodeEnvelope(1, 0x9000_0000, TYPE.ack, new Uint8Array());

/** What costs nothing, and how often it comes until there are 100 units of it. */
const FLOODS: Readonly<Record<string, readonly [envelope: Uint8Array, count: number]>> = {
  "requests that can't be read": [encodeEnvelope(1, 5_000, TYPE.userMessage, new Uint8Array()), 100],
  "requests of an unknown type": [encodeEnvelope(1, 5_000, 99, new Uint8Array()), 100],
  "large requests that can't be read": [
    encodeEnvelope(1, 5_000, TYPE.register, new Uint8Array(9 * 16_384)),
    10,
  ],
  "acknowledgements of nothing": [ACK_OF_NOTHING, 8 * 101 - 1],
};

for (const [what, [envelope, count]] of Object.entries(FLOODS)) {
  Deno.test(`${what} are borne with up to RATE_REFUSALS, then the connection is closed with 4429`, async () => {
    await using server = await startServer(FEW);
    await using bob = await joinRaw(server);
    await using alice = await connectRaw(server);
    for (let i = 0; i < count; i += 5) alice.sendBytes(together(Math.min(5, count - i), envelope));
    await sendNumbers(alice, bob, [1]);
    assert.equal(alice.isClosed, false);
    alice.sendBytes(together(5, envelope));
    assert.equal((await alice.closed).code, 4429);
    await bob.untilMessages(1);
  });
}

Deno.test("sends over their budget use patience up; a user that is thrown out waits, and others do not notice", async () => {
  const clock = new AdvancingClock();
  await using server = await startServer({ ...FEW, RATE_SENDS: "0.001/s:1" }, { clock });
  await using bob = await Device.join(server);
  await using alice = await connectRaw(server);
  const flood = Array(50).fill(userMessage(bob.address, numbered(1)));
  assert.equal(
    outcomes(await alice.answers(alice.sendTogether(flood))).filter((one) => one === 105).length,
    49,
  );
  alice.sendTogether(flood);
  alice.sendTogether(flood);
  assert.equal((await alice.closed).code, 4429);
  const second = { ...alice.address, deviceId: 2 };
  await assert.rejects(RawClient.connect(server, second), /refused: 429/);
  await using carol = await Device.connect(server);
  await carol.send(bob.address, 2);
  await eventually("both messages", () => bob.numbers.join() === "1,2");
  clock.advance(24_000_000);
  await assert.rejects(RawClient.connect(server, second), /refused: 429/, "twice 100 are owed");
  clock.advance(1_000_000);
  await using later = await RawClient.connect(server, alice.address);
  await sendNumbers(later, bob, [3]);
});

Deno.test("a frame of 1 MiB that holds nothing but acknowledgements of nothing is not read to its end", async () => {
  await using server = await startServer({ RATE_REFUSALS: "100/s:2000" });
  await using alice = await connectRaw(server);
  alice.sendBytes(together(104_000, ACK_OF_NOTHING));
  assert.equal((await alice.closed).code, 4429);
});
