/**
 * Tests of reads in turn: so many at once, in order, and nobody waits for a storage that is silent.
 * @module
 */
import assert from "node:assert/strict";
import { RequestError } from "../../lib/errors.ts";
import { QUEUES, TIMES } from "../../lib/limits.ts";
import { InTurn } from "../../lib/service/in_turn.ts";
import { createService } from "../../lib/service/mod.ts";
import { newAddress } from "../store/open_store.ts";
import { ScriptedKv } from "../store/scripted_kv.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { NotingListener, openCore } from "./open_core.ts";

const BOUND = QUEUES.ownReadsMax;

/** Reads that begin in turn, and end when the test says so. */
class Reads {
  readonly clock = new ManualClock();
  readonly turns = new InTurn(this.clock, () => new RequestError("unavailable"));
  /** Those that have begun, in order. */
  readonly begun: number[] = [];
  readonly failed: number[] = [];
  readonly #reads = new Map<number, PromiseWithResolvers<number>>();
  readonly results: Promise<number | null>[] = [];

  /** Asks for reads with these numbers. */
  ask(first: number, count: number): void {
    for (let n = first; n < first + count; n++) {
      const read = Promise.withResolvers<number>();
      this.#reads.set(n, read);
      const result = this.turns.run(() => {
        this.begun.push(n);
        return read.promise;
      });
      this.results.push(result.catch(() => {
        this.failed.push(n);
        return null;
      }));
    }
  }

  async end(n: number, error: Error | null = null): Promise<void> {
    if (error === null) this.#reads.get(n)?.resolve(n);
    else this.#reads.get(n)?.reject(error);
    await this.settle();
  }

  async settle(): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
}

const upTo = (count: number) => Array.from({ length: count }, (_, n) => n);

Deno.test("run() begins as many as may be under way, then one for each that ends, in order", async () => {
  const reads = new Reads();
  reads.ask(0, BOUND + 3);
  assert.deepEqual(reads.begun, upTo(BOUND));
  assert.equal(reads.turns.waiting, 3);
  await reads.end(5);
  await reads.end(1);
  assert.deepEqual(reads.begun, upTo(BOUND + 2));
  reads.ask(BOUND + 3, 1);
  assert.deepEqual(reads.begun, upTo(BOUND + 2), "whoever comes later waits behind");
  for (const n of upTo(BOUND + 4)) await reads.end(n);
  assert.deepEqual(reads.begun, upTo(BOUND + 4));
  assert.deepEqual(await Promise.all(reads.results), upTo(BOUND + 4));
  assert.equal(reads.turns.waiting, 0);
});

Deno.test("run(): one that fails, or throws, gives its turn back and fails alone", async () => {
  const reads = new Reads();
  reads.ask(0, BOUND + 2);
  await reads.end(3, new Error("broken"));
  assert.deepEqual(reads.begun, upTo(BOUND + 1));
  const thrown = reads.turns.run(() => {
    throw new Error("at once");
  });
  const told = assert.rejects(thrown, /at once/);
  for (const n of upTo(BOUND + 2)) await reads.end(n);
  await told;
  assert.deepEqual(reads.failed, [3]);
  reads.ask(BOUND + 2, BOUND);
  assert.equal(reads.turns.waiting, 0, "every turn was given back");
});

Deno.test("run(): when nothing was answered within a deadline, all who wait are told at once", async () => {
  const reads = new Reads();
  reads.ask(0, BOUND + 500);
  reads.clock.advance(TIMES.storageDeadlineMs);
  await reads.end(0, new RequestError("unavailable"));
  assert.deepEqual(reads.failed.toSorted((a, b) => a - b), [0, ...upTo(500).map((n) => BOUND + n)]);
  assert.deepEqual(reads.begun, upTo(BOUND), "nothing was asked of it in vain");
  for (const n of upTo(BOUND)) await reads.end(n, new RequestError("unavailable"));
  reads.ask(1_000, BOUND + 1);
  await reads.end(1_000, new RequestError("unavailable"));
  assert.equal(reads.begun.at(-1), 1_000 + BOUND, "the next ones try anew");
});

Deno.test("run(): as long as others are answered, one that is late fails alone", async () => {
  const reads = new Reads();
  reads.ask(0, BOUND + 2);
  reads.clock.advance(TIMES.storageDeadlineMs - 1_000);
  await reads.end(1);
  reads.clock.advance(1_000);
  await reads.end(0, new RequestError("unavailable"));
  assert.deepEqual(reads.failed, [0]);
});

Deno.test("run() refuses what would wait behind too many", async () => {
  const reads = new Reads();
  reads.ask(0, BOUND + QUEUES.ownReadsWaitingMax);
  assert.equal(reads.turns.waiting, QUEUES.ownReadsWaitingMax);
  await assert.rejects(reads.turns.run(() => Promise.resolve(0)), { error: "unavailable" });
});

Deno.test("a connection that has left while it waited reads nothing, and the next has its turn", async () => {
  await using core = await openCore();
  const gate = Promise.withResolvers<void>();
  const busy = Array.from({ length: BOUND }, () => core.ownReads.run(() => gate.promise));
  const service = createService(core);
  let reads = 0;
  const { readWithList } = core.store.devices;
  core.store.devices.readWithList = (address) => {
    reads++;
    return readWithList.call(core.store.devices, address);
  };
  const [gone, there] = [0, 1].map(() => service.receive(newAddress(), new NotingListener()));
  const opened = [gone?.awaitOwnDevice(), there?.awaitOwnDevice()];
  gone?.leave(false);
  gate.resolve();
  assert.deepEqual(await Promise.all(opened), [null, null]); // neither is registered
  assert.equal(reads, 1);
  await Promise.all(busy);
});

Deno.test("of 2,000 connections that open at once, on a storage that does one read at a time, none is late", async () => {
  const clock = new ManualClock();
  await using scripted = await ScriptedKv.open();
  await using core = await openCore({ kv: scripted.kv, clock });
  const perReadMs = 10; // 20 s for all of them
  let line = Promise.resolve();
  scripted.afterRead = () => line = line.then(() => clock.advance(perReadMs));
  const service = createService(core);
  const opened = Array.from(
    { length: 2_000 },
    () => service.receive(newAddress(), new NotingListener()).readOwnDevice(),
  );
  const outcomes = await Promise.allSettled(opened);
  assert.equal(outcomes.filter(({ status }) => status === "rejected").length, 0);
});
