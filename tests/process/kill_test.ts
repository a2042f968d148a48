/** A server that is killed while it is busy, again and again, on one file: nothing accepted is lost. */
import assert from "node:assert/strict";
import { eventually } from "../support/eventually.ts";
import { ProcessServer } from "../support/process_server.ts";
import { type Device, emptyTally, makePairs, type Tally } from "./pair.ts";
import { Random } from "./random.ts";

const PAIRS = 50;
const KILLS = 20;

/** When the kill comes, from the moment that the server listens: at the least while devices still connect. */
const ALIVE_MS = { least: 100, most: 1_300 } as const;

const all = (devices: readonly Device[], what: (device: Device) => Promise<void>) =>
  Promise.all(devices.map(what));

/** Everybody connects and is busy, until the server is killed. */
async function beBusyUntilKilled(
  server: ProcessServer,
  devices: readonly Device[],
  aliveMs: number,
): Promise<void> {
  const connecting = all(devices, async (device) => {
    await device.connect(server.url);
    device.busy();
  });
  // The moment is arbitrary on purpose: there is nothing to wait for.
  await new Promise((resolve) => setTimeout(resolve, aliveMs));
  const killedAt = performance.now();
  await server.kill();
  await connecting;
  await all(devices, (device) => device.killed(killedAt));
}

/** Everybody connects, gets what waits, and acknowledges it; then the server stops. */
async function finish(server: ProcessServer, devices: readonly Device[]): Promise<void> {
  await all(devices, (device) => device.connect(server.url));
  // Twice: what came before the second one is acknowledged before the second one is sent.
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

function summary(tally: Tally, startedAt: number, seed: number): string {
  const seconds = ((performance.now() - startedAt) / 1_000).toFixed(1);
  return `${KILLS} kills, ${PAIRS} pairs: ${tally.sent} sent, ${tally.acknowledged} acknowledged, ` +
    `${tally.delivered} delivered, ${tally.cameAgain} came again that could; ` +
    `lost ${tally.lost.length}, duplicated ${tally.duplicated.length}, ` +
    `reordered ${
      tally.reordered.length + tally.late.length
    }, left out ${tally.leftOut.length}; ${seconds} s, seed ${seed}`;
}

Deno.test("kill -9 amid 50 busy pairs, 20 times on one file, loses, repeats and reorders nothing", async () => {
  const startedAt = performance.now();
  const random = Random.fromEnvironment();
  const tally = emptyTally();
  const devices = makePairs(PAIRS, random, tally);
  await using server = await ProcessServer.start();
  await all(devices, async (device) => {
    await device.connect(server.url);
    await device.register();
    await device.disconnect();
  });
  for (let kill = 1; kill <= KILLS; kill++) {
    const aliveMs = ALIVE_MS.least + random.integer(ALIVE_MS.most - ALIVE_MS.least);
    await beBusyUntilKilled(server, devices, aliveMs);
    await server.start();
  }
  await finish(server, devices);
  await server.start();
  await finish(server, devices); // nothing may come again: everything was acknowledged before a stop in order
  devices.forEach((device) => device.settle());

  console.log(`kill_test: ${summary(tally, startedAt, random.seed)}`);
  const { lost, duplicated, leftOut } = tally;
  const reordered = [...tally.reordered, ...tally.late]; // a process that is gone commits nothing late
  assert.deepEqual(
    { lost: lost.slice(0, 9), duplicated: duplicated.slice(0, 9), reordered: reordered.slice(0, 9), leftOut },
    { lost: [], duplicated: [], reordered: [], leftOut: [] },
    summary(tally, startedAt, random.seed),
  );
  assert.ok(tally.acknowledged > 100 * KILLS, `too little happened: ${tally.acknowledged} messages`);
  assert.doesNotMatch(server.log, /incident|"level":"ERROR"/);
});
