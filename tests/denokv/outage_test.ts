/** A denokv that goes away: clients stay, sends are refused in time, nothing accepted is lost, and all is well after it. */
import assert from "node:assert/strict";
import { ServerError } from "../../lib/client/mod.ts";
import { Member } from "../process/member.ts";
import { numbered, numbersFrom } from "../support/device.ts";
import { Denokv } from "../support/denokv.ts";
import { eventually } from "../support/eventually.ts";
import { ProcessServer } from "../support/process_server.ts";
import { TcpProxy } from "../support/tcp_proxy.ts";
import { DENOKV, testWith } from "../support/tools.ts";
import { denokvTest, serverAt } from "./servers.ts";

/** How long storage is away; `OUTAGE_SECONDS=60` for a whole minute. */
const OUTAGE_MS = Number(Deno.env.get("OUTAGE_SECONDS") ?? "9") * 1_000;

/** The longest that a send may wait for its answer. */
const ANSWER_MS = 6_000;

const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Sends, each of which is repeated under its own message ID until it is accepted. */
class Persistent {
  readonly accepted: number[] = [];
  /** How long the slowest answer took, and how many were 109. */
  longestMs = 0;
  refusals = 0;
  #next = 0;
  #isOver = false;
  readonly #over: Promise<unknown>;

  constructor(private readonly member: Member, private readonly to: Member["address"], atOnce: number) {
    this.#over = Promise.all(Array.from({ length: atOnce }, () => this.#run()));
    this.#over.catch(() => {}); // told by `end`, if the test comes that far
  }

  async end(): Promise<void> {
    this.#isOver = true;
    await this.#over;
  }

  async #run(): Promise<void> {
    while (!this.#isOver) await this.#send(this.#next++);
  }

  async #send(n: number): Promise<void> {
    const messageId = crypto.getRandomValues(new Uint8Array(16));
    for (let retry = false;; retry = true) {
      const startedAt = performance.now();
      const error: unknown = await this.member.connection.send(this.to, numbered(n), { messageId, retry })
        .then(() => null, (reason) => reason);
      this.longestMs = Math.max(this.longestMs, performance.now() - startedAt);
      if (error === null) return void this.accepted.push(n);
      if (!(error instanceof ServerError) || error.code !== 109) throw error;
      assert.ok(error.retryAfterMs !== undefined && error.retryAfterMs > 0, "109 without RetryAfter");
      this.refusals++;
      await wait(error.retryAfterMs);
    }
  }
}

/** Sends at one server to a recipient at the other while storage goes away and comes back. */
async function survive(a: ProcessServer, b: ProcessServer, outage: () => Promise<void>): Promise<void> {
  await using bob = await Member.join(b.url);
  await using alice = await Member.connect(a.url);
  let closed = 0;
  for (const { connection } of [alice, bob]) void connection.closed.then(() => closed++);
  const sends = new Persistent(alice, bob.address, 8);
  await eventually("messages flow", () => bob.inbox.length > 100);
  await outage();
  const before = sends.accepted.length;
  await eventually("messages flow again", () => sends.accepted.length > before + 100, 15_000);
  await sends.end();
  const distinct = () => new Set(bob.inbox);
  await eventually("all that was accepted", () => distinct().size >= sends.accepted.length, 15_000);
  assert.equal(closed, 0, "a client was disconnected");
  assert.ok(sends.refusals > 0, "nobody was refused");
  assert.ok(sends.longestMs < ANSWER_MS, `an answer took ${sends.longestMs} ms`);
  assert.deepEqual([...distinct()].toSorted((x, y) => x - y), sends.accepted.toSorted((x, y) => x - y));
  assert.equal(bob.inbox.length, distinct().size, "something was stored, or came, twice");
  console.log(
    `outage_test: ${sends.accepted.length} accepted, ${sends.refusals} times 109, the slowest answer ` +
      `${Math.round(sends.longestMs)} ms`,
  );
}

denokvTest("denokv is killed and away for a while", { servers: 2 }, async (shared) => {
  await survive(serverAt(shared, 0), serverAt(shared, 1), async () => {
    await shared.denokv.kill();
    await wait(OUTAGE_MS);
    await shared.denokv.start();
  });
});

denokvTest("denokv is killed at work, again and again, and back at once", { servers: 2 }, async (shared) => {
  await using bob = await Member.join(serverAt(shared, 1).url);
  await using alice = await Member.connect(serverAt(shared, 0).url);
  for (let kill = 0; kill < 5; kill++) {
    const sending = alice.send(bob.address, numbersFrom(kill * 300, 300));
    await eventually("some of them", () => bob.inbox.length > kill * 300 + 50);
    await shared.denokv.kill();
    await shared.denokv.start();
    await sending;
  }
  await alice.send(bob.address, [1_500]);
  assert.deepEqual(await bob.received(1_501), numbersFrom(0, 1_501));
});

testWith(DENOKV, "denokv", "the way to denokv swallows everything without a word", async (program) => {
  await using denokv = await Denokv.start(program);
  using proxy = new TcpProxy(denokv.url);
  const settings = { ...denokv.settings, KV_PATH: proxy.url.replace("ws:", "http:") };
  await using a = await ProcessServer.start(settings);
  await using b = await ProcessServer.start(settings);
  await survive(a, b, async () => {
    // What is open hangs for ever: no time-out of TCP helps. Only new connections work afterwards.
    proxy.stall();
    await wait(OUTAGE_MS);
    proxy.resume();
  });
});
