/** Four processes on one denokv, each replaced in turn amid busy pairs: nothing is lost, and nobody waits for long. */
import assert from "node:assert/strict";
import { reconnectDelayMs } from "../../lib/client/reconnect.ts";
import { type Device, emptyTally, makePairs } from "../process/pair.ts";
import { Random } from "../process/random.ts";
import { eventually } from "../support/eventually.ts";
import { ProcessServer } from "../support/process_server.ts";
import { denokvTest } from "./servers.ts";

/** `ROLLING_PAIRS=200` for the whole size. */
const PAIRS = Number(Deno.env.get("ROLLING_PAIRS") ?? "20");

const PROCESSES = 4;

/** How long all is as it should be before each replacement. */
const STEADY_MS = 500;

/** The longest that a client may be without service: two seconds, and what a machine that is busy with other tests adds. */
const GAP_MS_MAX = Number(Deno.env.get("ROLLING_GAP_MS") ?? "5000");

const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const all = (devices: readonly Device[], what: (device: Device) => Promise<unknown>) =>
  Promise.all(devices.map(what));

/** Where clients are sent, as a load balancer does: to servers that are not about to stop. */
class Balancer {
  readonly #urls = new Set<string>();
  #turn = 0;

  add(url: string): void {
    this.#urls.add(url);
  }

  remove(url: string): void {
    this.#urls.delete(url);
  }

  next(): string {
    const urls = [...this.#urls];
    const url = urls[this.#turn++ % urls.length];
    if (url === undefined) throw new Error("no server is left");
    return url;
  }
}

/** Keeps devices connected and busy, and measures how long each is not. */
class Crowd {
  readonly gapsMs: number[] = [];
  #isOver = false;
  #lives: Promise<unknown> = Promise.resolve();

  constructor(private readonly devices: readonly Device[], private readonly balancer: Balancer) {}

  start(): void {
    this.#lives = all(this.devices, (device) => this.#live(device));
  }

  /** Everybody is answered, and disconnects. */
  async end(): Promise<void> {
    this.#isOver = true;
    await all(this.devices, (device) => device.rest());
    await all(this.devices, (device) => device.disconnect());
    await this.#lives;
  }

  async #live(device: Device): Promise<void> {
    let endedAt = Number.NaN;
    while (!this.#isOver) {
      await device.connect(this.balancer.next());
      const { ended } = device;
      if (ended === null) {
        await wait(20);
        continue;
      }
      if (this.#isOver) return await device.disconnect();
      if (!Number.isNaN(endedAt)) this.gapsMs.push(performance.now() - endedAt);
      device.busy();
      await ended;
      endedAt = performance.now();
      if (this.#isOver) return;
      await device.stopped();
      await wait(reconnectDelayMs(1));
    }
  }
}

/** Everybody connects to one server, gets what waits there, and acknowledges it; then it stops. */
async function finish(server: ProcessServer, devices: readonly Device[]): Promise<void> {
  await all(devices, (device) => device.connect(server.url));
  for (let i = 0; i < 2; i++) {
    await all(devices, (device) => device.send());
    await eventually(
      "the last message of everybody, which comes after all others",
      () => devices.every((device) => device.peer.hasReceived(device.lastSent)),
      30_000,
    );
  }
  assert.equal((await server.stop()).code, 0);
  await all(devices, (device) => device.stopped());
}

denokvTest(
  `${PROCESSES} processes are replaced in turn amid ${PAIRS} busy pairs`,
  { servers: PROCESSES },
  async (shared) => {
    const random = Random.fromEnvironment();
    const tally = emptyTally();
    const devices = makePairs(PAIRS, random, tally);
    const balancer = new Balancer();
    for (const { url } of shared.servers) balancer.add(url);
    await all(devices, async (device) => {
      await device.connect(balancer.next());
      await device.register();
      await device.disconnect();
    });
    const crowd = new Crowd(devices, balancer);
    crowd.start();
    const stopsMs: number[] = [];
    for (const server of shared.servers) {
      const before = tally.acknowledged;
      await eventually("messages flow", () => tally.acknowledged > before + 10 * PAIRS, 30_000);
      await wait(STEADY_MS);
      balancer.remove(server.url);
      const { code, elapsedMs } = await server.stop();
      assert.equal(code, 0);
      stopsMs.push(Math.round(elapsedMs));
      await server.start();
      balancer.add(server.url);
    }
    await wait(STEADY_MS);
    await crowd.end();
    const [last] = shared.servers;
    if (last === undefined) throw new Error("no server");
    await finish(last, devices);
    await last.start();
    await finish(last, devices); // nothing may come again that was acknowledged before a stop in order
    devices.forEach((device) => device.settle());

    const gaps = crowd.gapsMs.toSorted((a, b) => a - b);
    const summary = `${PROCESSES} processes replaced, ${PAIRS} pairs: ${tally.sent} sent, ` +
      `${tally.acknowledged} acknowledged, ${tally.delivered} delivered, ${tally.cameAgain} came again that could; ` +
      `lost ${tally.lost.length}, duplicated ${tally.duplicated.length}, reordered ${tally.reordered.length} (and ` +
      `${tally.late.length} came late that were not answered), left out ` +
      `${tally.leftOut.length}; ${gaps.length} reconnections, without service ${
        Math.round(gaps[gaps.length >> 1] ?? 0)
      } ms ` +
      `in the median, at most ${Math.round(gaps.at(-1) ?? 0)} ms; stops took ${
        stopsMs.join(", ")
      } ms; seed ${random.seed}`;
    console.log(`rolling_restart_test: ${summary}`);
    const { lost, duplicated, reordered, leftOut } = tally;
    const none = { lost: [], duplicated: [], reordered: [], leftOut: [] };
    assert.deepEqual(
      { lost, duplicated: duplicated.slice(0, 9), reordered: reordered.slice(0, 9), leftOut },
      none,
      summary,
    );
    assert.ok(gaps.length >= PAIRS, summary);
    assert.ok((gaps.at(-1) ?? 0) < GAP_MS_MAX, summary);
  },
);
