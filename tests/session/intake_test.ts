/**
 * Tests of what comes in on one connection: its order, and how much of it may be under way.
 * @module
 */
import assert from "node:assert/strict";
import { ProtocolViolation } from "../../lib/errors.ts";
import { QUEUES } from "../../lib/limits.ts";
import { Metrics } from "../../lib/metrics.ts";
import { type ClientMessage, decodeEnvelope, v1 } from "../../lib/protocol/mod.ts";
import type { Service } from "../../lib/service/mod.ts";
import { UserShares } from "../../lib/service/under_way.ts";
import { Intake } from "../../lib/session/intake.ts";
import { Outbox } from "../../lib/session/outbox.ts";
import { Patience } from "../../lib/session/patience.ts";
import { outgoing } from "../service/open_core.ts";
import { newAddress } from "../store/open_store.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { FakeSocket } from "./fake_socket.ts";

const UNREGISTER: ClientMessage = { type: "unregister" };
const ACCEPTED = { at: 0, fullDeviceIds: [] };

/** An intake over a service that answers when the test says so. */
class Opened {
  readonly socket = new FakeSocket();
  readonly intake: Intake;
  /** What was taken up, in order: the type of a request, or the text of a message. */
  readonly takenUp: string[] = [];
  /** Ends the requests that are under way, in any order. */
  readonly underWay: (() => void)[] = [];
  /** Whether a message must wait until the one before it has its place. */
  holdsOrder = false;
  #sequence = 0;

  constructor(address = newAddress(), shares = new UserShares()) {
    const clock = new ManualClock();
    const outbox = new Outbox(this.socket, v1, clock, new Metrics());
    const patience = new Patience(() => true, () => {});
    const service: Service = {
      register: () => assert.fail("not here"),
      requestPreKeys: () => assert.fail("not here"),
      requestDevices: () => assert.fail("not here"),
      sendMessages: () => assert.fail("not here"),
      receive: () => assert.fail("not here"),
      bear: () => assert.fail("not here"),
      share: ({ userId }) => shares.enter(userId),
      unregister: () => new Promise((resolve) => this.underWay.push(resolve)),
      sendMessage: (_from, { ciphertext }, settled) => {
        this.takenUp.push(new TextDecoder().decode(ciphertext));
        if (!this.holdsOrder) return settled(null, ACCEPTED);
        return new Promise((resolve) => this.underWay.push(() => (settled(null, ACCEPTED), resolve())));
      },
    };
    const requester = {
      address,
      service,
      registered: () => {},
      registration: { doubted: () => {} },
    };
    this.intake = new Intake(requester, v1, outbox, patience, () => {}, this.socket);
    this.intake.start();
  }

  take(message: ClientMessage): number {
    const sequence = ++this.#sequence;
    this.intake.take(decodeEnvelope(v1.encodeClientMessage(message, sequence), 0, 1));
    return sequence;
  }

  send(text: string): number {
    const message = outgoing(newAddress(), { ciphertext: new TextEncoder().encode(text) });
    return this.take({ type: "user_message", message });
  }

  /** Fills it with requests that are not answered. */
  fill(count: number): void {
    for (let n = 0; n < count; n++) this.take(UNREGISTER);
  }
}

const turn = () => new Promise((resolve) => setTimeout(resolve, 0));

/** Whether the connection is to be closed for flooding. */
function isFlooding(error: unknown): boolean {
  return error instanceof ProtocolViolation && error.closeCode === 4429;
}

Deno.test("take() lets the next request wait for a message that has no place in the order yet", async () => {
  const opened = new Opened();
  opened.holdsOrder = true;
  for (const text of ["a", "b", "c"]) opened.send(text);
  for (const expected of [["a"], ["a", "b"], ["a", "b", "c"]]) {
    assert.deepEqual(opened.takenUp, expected);
    opened.underWay.at(-1)?.();
    await turn();
  }
  assert.deepEqual(opened.socket.sent.map(({ sequence }) => sequence), [1, 2, 3]);
});

Deno.test("take() carries out at once what comes after messages that have their places", () => {
  const opened = new Opened();
  for (let n = 0; n < 100; n++) opened.send(String(n));
  assert.deepEqual(opened.takenUp, Array.from({ length: 100 }, (_, n) => String(n)));
});

Deno.test("take() does not let requests wait for each other that need no order", () => {
  const opened = new Opened();
  opened.fill(3);
  assert.equal(opened.underWay.length, 3);
  assert.equal(opened.intake.isAnswered, false);
});

Deno.test("isAnswered is true once every request was answered, in whatever order", async () => {
  const opened = new Opened();
  opened.fill(3);
  for (const end of opened.underWay.reverse()) {
    assert.equal(opened.intake.isAnswered, false);
    end();
    await turn();
  }
  assert.equal(opened.intake.isAnswered, true);
  assert.deepEqual(opened.socket.sent.map(({ sequence }) => sequence), [3, 2, 1]);
});

Deno.test("take() refuses with 105 what comes while 512 requests are not answered", async () => {
  const opened = new Opened();
  opened.fill(QUEUES.unansweredMax);
  assert.deepEqual(opened.socket.sent, []);
  const refused = opened.take(UNREGISTER);
  assert.deepEqual(opened.socket.answersTo(refused), [105]);
  assert.equal(opened.underWay.length, QUEUES.unansweredMax);
  opened.underWay[0]?.();
  await turn();
  const taken = opened.take(UNREGISTER);
  assert.deepEqual(opened.socket.answersTo(taken), []);
  assert.equal(opened.underWay.length, QUEUES.unansweredMax + 1);
});

// protocol §6: "requests of a user that are not answered".
Deno.test("take() refuses with 105 while 1,024 requests of the user are not answered on all its connections", async () => {
  const [address, shares] = [newAddress(), new UserShares()];
  const three = [1, 2, 3].map(() => new Opened(address, shares));
  const stranger = new Opened(newAddress(), shares);
  const [first, second, third] = three as [Opened, Opened, Opened];
  first.fill(QUEUES.unansweredMax);
  second.fill(QUEUES.unansweredMax);
  assert.deepEqual(third.socket.answersTo(third.take(UNREGISTER)), [105]);
  assert.deepEqual(stranger.socket.answersTo(stranger.take(UNREGISTER)), []);
  assert.equal(stranger.underWay.length, 1, "another user is not concerned");
  first.underWay[0]?.();
  await turn();
  assert.deepEqual(third.socket.answersTo(third.take(UNREGISTER)), []);
  assert.equal(third.underWay.length, 1);
});

Deno.test("take() refuses with 105 while the user's requests that are not answered have 4 MiB", async () => {
  const [address, shares] = [newAddress(), new UserShares()];
  const opened = new Opened(address, shares);
  opened.holdsOrder = true;
  const text = "x".repeat(QUEUES.userUnansweredBytesMax / 64);
  for (let n = 0; n < 64; n++) opened.send(text);
  const other = new Opened(address, shares);
  assert.deepEqual(opened.socket.answersTo(opened.send("y")), [105]);
  assert.deepEqual(other.socket.answersTo(other.send("y")), [105]);
  opened.underWay[0]?.();
  await turn();
  other.send("z");
  assert.deepEqual(other.takenUp, ["z"]);
});

Deno.test("stop() gives up the user's share with its last request, not before", async () => {
  const [address, shares] = [newAddress(), new UserShares()];
  const opened = new Opened(address, shares);
  opened.fill(QUEUES.unansweredMax);
  opened.intake.stop();
  opened.intake.stop();
  assert.equal(shares.size, 1);
  const again = new Opened(address, shares);
  again.fill(QUEUES.unansweredMax);
  assert.deepEqual(
    again.socket.answersTo(again.take(UNREGISTER)),
    [105],
    "what was left behind still counts",
  );
  for (const end of [...opened.underWay, ...again.underWay]) end();
  await turn();
  assert.equal(shares.size, 1, "one is still connected");
  again.intake.stop();
  assert.equal(shares.size, 0);
});

// protocol §6: "above 1,024 close 4429".
Deno.test("take() closes with 4429 above 1,024 requests in a row that are not carried out, not before", () => {
  const opened = new Opened();
  opened.fill(QUEUES.unansweredCloseMax);
  assert.throws(() => opened.take(UNREGISTER), isFlooding);
});

Deno.test("take() does not take a client for a flood that was refused now and then", async () => {
  const opened = new Opened();
  opened.fill(QUEUES.unansweredMax);
  for (let round = 0; round < 20; round++) {
    for (let n = 0; n < 100; n++) opened.take(UNREGISTER);
    opened.underWay.shift()?.();
    await turn();
    opened.take(UNREGISTER);
  }
  assert.equal(opened.underWay.length, QUEUES.unansweredMax);
});

Deno.test("take() refuses everything for a peer that does not read", () => {
  const opened = new Opened();
  opened.socket.bufferedAmount = QUEUES.outboxBytesMax + 1;
  const refused = opened.send("a");
  assert.deepEqual(opened.socket.answersTo(refused), [105]);
  assert.deepEqual(opened.takenUp, []);
  assert.throws(() => opened.fill(2 * QUEUES.unansweredCloseMax), isFlooding);
  opened.socket.bufferedAmount = 0;
  opened.send("b");
  assert.deepEqual(opened.takenUp, ["b"]);
});

Deno.test("stop() drops what waits, and what is under way is still answered", async () => {
  const opened = new Opened();
  opened.holdsOrder = true;
  for (const text of ["a", "b"]) opened.send(text);
  opened.intake.stop();
  opened.send("c");
  assert.equal(opened.intake.isAnswered, false);
  opened.underWay[0]?.();
  await turn();
  assert.deepEqual(opened.takenUp, ["a"]);
  assert.equal(opened.intake.isAnswered, true);
  assert.deepEqual(opened.socket.sent.map(({ sequence }) => sequence), [1]);
});

Deno.test("start() a second time lets nothing overtake a request that is waited for", () => {
  const opened = new Opened();
  opened.holdsOrder = true;
  for (const text of ["a", "b"]) opened.send(text);
  opened.intake.start();
  assert.deepEqual(opened.takenUp, ["a"]);
});

Deno.test("take() counts what asks for nothing too, while the peer does not read", () => {
  const opened = new Opened();
  opened.socket.bufferedAmount = QUEUES.outboxBytesMax + 1;
  const refusal: ClientMessage = { type: "error", code: 3, description: "no" };
  assert.throws(() => {
    for (let n = 0; n <= QUEUES.unansweredCloseMax; n++) opened.take(refusal);
  }, isFlooding);
  assert.equal(opened.socket.sent.length, 0);
});

Deno.test("take() stops reading from a peer that waits for many answers, until half of them are out", async () => {
  const opened = new Opened();
  opened.fill(QUEUES.unansweredBrake - 1);
  assert.equal(opened.socket.isPaused, false);
  opened.fill(1);
  assert.equal(opened.socket.isPaused, true);
  const answerTo = async (left: number) => {
    for (const end of opened.underWay.splice(left)) end();
    await turn();
  };
  await answerTo(QUEUES.unansweredBrake / 2 + 1);
  assert.equal(opened.socket.isPaused, true);
  await answerTo(QUEUES.unansweredBrake / 2);
  assert.equal(opened.socket.isPaused, false);
});

Deno.test("take() stops reading from a peer whose requests are large, until half of their bytes are answered", async () => {
  const opened = new Opened();
  opened.holdsOrder = true;
  const text = "x".repeat(QUEUES.unansweredBrakeBytes / 16);
  for (let n = 1; n <= 16; n++) {
    assert.equal(opened.socket.isPaused, false);
    opened.send(text);
  }
  assert.equal(opened.socket.isPaused, true);
  for (let answered = 1; answered <= 9; answered++) {
    assert.equal(opened.socket.isPaused, true);
    opened.underWay.shift()?.();
    await turn();
  }
  assert.equal(opened.socket.isPaused, false);
});

Deno.test("stop() reads again, for acknowledgements, and for good", async () => {
  const opened = new Opened();
  opened.fill(QUEUES.unansweredBrake + 100);
  opened.intake.stop();
  assert.equal(opened.socket.isPaused, false);
  for (const end of opened.underWay.splice(QUEUES.unansweredBrake + 50)) end();
  await turn();
  assert.equal(opened.socket.isPaused, false);
});
