/**
 * Tests of which process has an address, and of what processes tell each other.
 * @module
 */
import assert from "node:assert/strict";
import { type Address, addressKey } from "../../lib/address.ts";
import type { Bell, Store } from "../../lib/store/mod.ts";
import { eventually } from "../support/eventually.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { newAddress, newMessage, openStore, type TestStore, type TestStoreOptions } from "./open_store.ts";
import { Gate, ScriptedKv } from "./scripted_kv.ts";

/** Two processes on one database, of which each hears what it is rung for. */
class Processes implements AsyncDisposable {
  readonly heard: string[][] = [[], []];
  readonly #ended = new AbortController();
  readonly #listening: Promise<void>[] = [];

  private constructor(readonly scripted: ScriptedKv, readonly a: TestStore, readonly b: TestStore) {}

  static async open(options: TestStoreOptions = {}): Promise<Processes> {
    const scripted = await ScriptedKv.open();
    const start = () => openStore({ ...options, kv: scripted.kv, isShared: true });
    return new Processes(scripted, await start(), await start());
  }

  listen(onHeard: (bell: Bell) => void = () => {}): this {
    for (const [i, { sessions }] of [this.a, this.b].entries()) {
      this.#listening.push(sessions.listen(this.#ended.signal, (address, bell) => {
        this.heard[i]?.push(`${bell} ${addressKey(address)}`);
        onHeard(bell);
      }));
    }
    return this;
  }

  /** How many rows wait for processes. */
  async rows(): Promise<number> {
    return (await this.a.database.list({ prefix: ["rung"] }, { limit: 1_000 })).length;
  }

  async quiet(): Promise<void> {
    await eventually("all is written", () => this.a.writer.isIdle && this.b.writer.isIdle);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.quiet();
    this.#ended.abort();
    await Promise.all(this.#listening);
    await this.quiet();
    await this.scripted[Symbol.asyncDispose]();
  }
}

const of = (bell: Bell, address: Address) => `${bell} ${addressKey(address)}`;

Deno.test("claim() names the process, and tells the one that had the address", async () => {
  await using processes = await Processes.open();
  const { a, b, heard } = processes.listen();
  const address = newAddress();
  const first = await a.sessions.claim(address);
  assert.deepEqual(await a.sessions.read(address), { owner: "here", versionstamp: first });
  assert.equal((await b.sessions.read(address))?.owner, "elsewhere");
  const second = await b.sessions.claim(address);
  assert.ok(first !== null && second !== null && second > first);
  assert.equal((await a.sessions.read(address))?.owner, "elsewhere");
  await eventually("it is told", () => heard[0]?.length === 1);
  assert.deepEqual(heard, [[of("session", address)], []]);
  await b.sessions.claim(address);
  await processes.quiet();
  assert.equal(await processes.rows(), 0, "one's own record tells nobody");
});

Deno.test("claim() that is not wanted any more writes nothing, also when another one came between", async () => {
  await using processes = await Processes.open();
  const { a, b, scripted } = processes;
  const address = newAddress();
  assert.equal(await a.sessions.claim(address, () => false), null);
  assert.equal(await a.sessions.read(address), null);
  let isWanted = true;
  scripted.onCommit = async (commit) => {
    scripted.onCommit = (other) => other.run();
    await b.sessions.claim(address);
    isWanted = false;
    return await commit.run();
  };
  assert.equal(await a.sessions.claim(address, () => isWanted), null);
  assert.equal((await b.sessions.read(address))?.owner, "here", "the newer one keeps it");
});

Deno.test("claim() rejects when storage does not answer", async () => {
  await using processes = await Processes.open();
  processes.scripted.onCommit = () => Promise.reject(new TypeError("reset"));
  await assert.rejects(processes.a.sessions.claim(newAddress()), { error: "unavailable" });
  processes.scripted.onCommit = (commit) => commit.run();
});

Deno.test("of claims at the same time one stays, and every other process hears of it", async () => {
  await using processes = await Processes.open();
  const { a, b, heard } = processes.listen();
  const addresses = Array.from({ length: 20 }, () => newAddress());
  await Promise.all(addresses.flatMap((address) => [a, b].map(({ sessions }) => sessions.claim(address))));
  for (const address of addresses) {
    const owners = await Promise.all(
      [a, b].map(async ({ sessions }) => (await sessions.read(address))?.owner),
    );
    const loser = owners.indexOf("elsewhere");
    assert.equal(owners.indexOf("here"), 1 - loser);
    await eventually("the loser is told", () => heard[loser]?.includes(of("session", address)) === true);
  }
});

Deno.test("renew() writes what is this process's or gone, and leaves another's alone", async () => {
  await using processes = await Processes.open();
  const { a, b } = processes;
  const [mine, gone, taken] = [newAddress(), newAddress(), newAddress()];
  const before = await a.sessions.claim(mine);
  await b.sessions.claim(taken);
  for (const address of [mine, gone, taken]) await a.sessions.renew(address);
  const records = await Promise.all([mine, gone, taken].map((address) => a.sessions.read(address)));
  assert.deepEqual(records.map((record) => record?.owner), ["here", "here", "elsewhere"]);
  assert.notEqual(records[0]?.versionstamp, before);
});

Deno.test("end() tells the process of a device that was unregistered, and writes nothing for one that is nowhere", async () => {
  await using processes = await Processes.open();
  const { a, b, heard } = processes.listen();
  const [address, nowhere] = [newAddress(), newAddress()];
  await a.sessions.claim(address);
  await b.sessions.end(address);
  await b.sessions.end(nowhere);
  await eventually("it is told", () => heard[0]?.length === 1);
  assert.deepEqual(heard, [[of("session", address)], []]);
  assert.equal((await a.sessions.read(address))?.owner, "unregistered");
  assert.equal(await a.sessions.read(nowhere), null);
  await a.sessions.claim(address);
  assert.equal((await a.sessions.read(address))?.owner, "here", "a later connection has it again");
});

Deno.test("ring() is heard by the process that has the address alone, and its rows go", async () => {
  await using processes = await Processes.open();
  const { a, b, heard } = processes.listen();
  const [here, there] = [newAddress(), newAddress()];
  await a.sessions.claim(here);
  await b.sessions.claim(there);
  a.sessions.ring(there, "wake");
  b.sessions.ring(here, "low");
  await eventually("both are heard", () => heard.flat().length === 2);
  assert.deepEqual(heard, [[of("low", here)], [of("wake", there)]]);
  await eventually("the rows are gone", async () => await processes.rows() === 0);
});

Deno.test("ring() writes nothing for an address that no other process has", async () => {
  await using processes = await Processes.open();
  const { a, b, scripted } = processes;
  const [mine, nowhere, ended] = [newAddress(), newAddress(), newAddress()];
  await a.sessions.claim(mine);
  await b.sessions.claim(ended);
  await b.sessions.end(ended);
  const commits = scripted.commits.length;
  for (const address of [mine, nowhere, ended]) a.sessions.ring(address, "wake");
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(scripted.commits.length, commits);
  await using alone = await openStore();
  alone.sessions.ring(mine, "wake");
  assert.equal((await alone.database.list({ prefix: ["rung"] }, { limit: 1 })).length, 0);
});

Deno.test("ring() writes once what is rung many times before it is written", async () => {
  await using processes = await Processes.open();
  const { a, b, scripted } = processes;
  const address = newAddress();
  await b.sessions.claim(address);
  const gate = new Gate();
  scripted.onCommit = async (commit) => (await gate.passed, await commit.run());
  for (let i = 0; i < 100; i++) a.sessions.ring(address, "wake");
  await new Promise((resolve) => setTimeout(resolve, 20));
  for (let i = 0; i < 100; i++) a.sessions.ring(address, "wake");
  gate.open();
  await processes.quiet();
  assert.equal(await processes.rows(), 1);
  await new Promise((resolve) => setTimeout(resolve, 0));
  a.sessions.ring(address, "wake");
  await eventually("the next ring is written again", async () => await processes.rows() === 2);
});

Deno.test("ring() while it is found out who has the address finds out again", async () => {
  await using processes = await Processes.open();
  const { a, b, scripted } = processes;
  const address = newAddress();
  const gate = new Gate();
  scripted.afterRead = () => gate.passed;
  a.sessions.ring(address, "wake"); // nobody has it when this is read
  await new Promise((resolve) => setTimeout(resolve, 5));
  scripted.afterRead = () => Promise.resolve();
  await b.sessions.claim(address);
  a.sessions.ring(address, "wake");
  gate.open();
  await eventually("the new owner is rung", async () => await processes.rows() === 1);
});

Deno.test("ring() rings again after a ring that storage did not take", async () => {
  await using processes = await Processes.open();
  const { a, b, scripted, heard } = processes.listen();
  const address = newAddress();
  await b.sessions.claim(address);
  scripted.onCommit = () => Promise.reject(new TypeError("reset"));
  a.sessions.ring(address, "wake");
  await eventually("it failed", () => a.metrics.counts.writesFailed > 0);
  scripted.onCommit = (commit) => commit.run();
  await processes.quiet();
  await new Promise((resolve) => setTimeout(resolve, 0));
  a.sessions.ring(address, "wake");
  await eventually("it is heard", () => heard[1]?.length === 1);
});

Deno.test("pass() rings on at the process that has the address by now", async () => {
  await using processes = await Processes.open();
  const { a, b, heard } = processes.listen();
  const address = newAddress();
  await b.sessions.claim(address);
  await a.sessions.pass(address, "wake", () => assert.fail("it is not asked"));
  await eventually("it is heard", () => heard[1]?.length === 1);
  await a.sessions.pass(newAddress(), "wake", () => assert.fail("it is not asked"));
});

Deno.test("pass() takes a record back whose connection is gone, and keeps one whose connection is there", async () => {
  await using processes = await Processes.open();
  const { a } = processes;
  const [gone, there] = [newAddress(), newAddress()];
  for (const address of [gone, there]) await a.sessions.claim(address);
  await a.sessions.pass(gone, "wake", () => false);
  await a.sessions.pass(there, "wake", () => true);
  assert.equal(await a.sessions.read(gone), null);
  assert.equal((await a.sessions.read(there))?.owner, "here");
});

Deno.test("listen() hears what was rung before, and goes on after a watch that breaks", async () => {
  const clock = new ManualClock();
  await using processes = await Processes.open({ clock });
  const { a, b, scripted, heard } = processes;
  const address = newAddress();
  await a.sessions.claim(address);
  b.sessions.ring(address, "wake");
  await eventually("it is written", async () => await processes.rows() === 1);
  scripted.brokenWatches = 3;
  processes.listen();
  await eventually("it is heard", () => (clock.advance(1_000), heard[0]?.length === 1));
  assert.equal(scripted.brokenWatches, 0);
  b.sessions.ring(address, "low");
  await eventually("the next one is heard", () => (clock.advance(1_000), heard[0]?.length === 2));
});

Deno.test("listen() hears more than one read fetches", async () => {
  await using processes = await Processes.open();
  const { a, b, heard } = processes;
  const addresses = Array.from({ length: 900 }, () => newAddress());
  await Promise.all(addresses.map((address) => a.sessions.claim(address)));
  for (const address of addresses) b.sessions.ring(address, "wake");
  processes.listen();
  await eventually("all are heard", () => new Set(heard[0]).size === 900, 30_000);
  await eventually("the rows are gone", async () => await processes.rows() === 0, 30_000);
});

/** How many messages there are to be read. */
async function countRows(store: Store, address: Address): Promise<number> {
  let count = 0;
  await store.mailboxes.scan(address, "epoch", () => void count++);
  return count;
}

Deno.test("ring() after each message leaves none that its listener does not find", async () => {
  await using processes = await Processes.open();
  const { a, b, scripted } = processes;
  const address = newAddress();
  await b.sessions.claim(address);
  scripted.onCommit = async (commit) => {
    const result = await commit.run();
    if (Math.random() < 0.3) await new Promise((resolve) => setTimeout(resolve, 0));
    return result;
  };
  let found = 0;
  let looking = Promise.resolve();
  let isOver = false;
  const look = async () => {
    if (!isOver) found = await countRows(b, address);
  };
  processes.listen(() => void (looking = looking.then(look)));
  const sends = Array.from({ length: 300 }, async (_, i) => {
    for (let turns = i % 40; turns > 0; turns--) await Promise.resolve();
    if (i % 7 === 0) await new Promise((resolve) => setTimeout(resolve, i / 10));
    await new Promise<void>((resolve) => {
      a.mailboxes.append(address, "epoch", newMessage(a), null, () => {
        a.sessions.ring(address, "wake");
        resolve();
      });
    });
  });
  await Promise.all(sends);
  await eventually("the last look found all", () => found === 300);
  isOver = true; // a bell that is heard later is for nobody
  await looking;
});
