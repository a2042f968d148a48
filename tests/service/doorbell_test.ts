/**
 * Tests of who hears that something is there: the connection that has the address here, or a bell in storage.
 * @module
 */
import assert from "node:assert/strict";
import type { Address } from "../../lib/address.ts";
import { TIMES } from "../../lib/limits.ts";
import { newAddress } from "../store/open_store.ts";
import { eventually } from "../support/eventually.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { newEntry, NotingListener, openCore, rungFor, type TestCore, withTwoCores } from "./open_core.ts";

/** What is rung in storage for an address, once all is written. */
async function rung(core: TestCore, address: Address): Promise<string[]> {
  await new Promise((resolve) => setTimeout(resolve, 10));
  await eventually("all is written", () => core.store.writer.isIdle);
  return await rungFor(core, address);
}

/** Has a connection enter, and claim the address as a receiver does. */
async function enter(core: TestCore, address: Address): Promise<NotingListener> {
  const listener = new NotingListener();
  core.doorbell.enter(address, listener);
  const version = await core.store.sessions.claim(address);
  core.doorbell.claimed(address, listener, version ?? assert.fail("it is wanted"));
  return listener;
}

/** Has a core listen while work is done. */
async function listening(core: TestCore, work: () => Promise<void>): Promise<void> {
  const ended = new AbortController();
  const over = core.doorbell.listen(ended.signal);
  await work();
  ended.abort();
  await over;
}

Deno.test("handOver() tells the connection that has the address, and rings no bell", async () => {
  for (const isShared of [false, true]) {
    await using core = await openCore({ isShared });
    const address = newAddress();
    const [listener, neighbour] = [new NotingListener(), new NotingListener()];
    core.doorbell.enter(address, listener);
    core.doorbell.enter({ ...address, deviceId: 2 }, neighbour);
    const entry = newEntry();
    core.doorbell.handOver(address, entry);
    assert.deepEqual([listener.handedOver, neighbour.heard], [[entry], []]);
    assert.deepEqual(await rung(core, address), []);
  }
});

Deno.test("handOver() and preKeysLow() ring where another process has the address, and nowhere else", async () => {
  await withTwoCores(async (a, b) => {
    const [there, nowhere] = [newAddress(), newAddress()];
    await enter(b, there);
    for (const address of [there, nowhere]) {
      a.doorbell.handOver(address, newEntry());
      a.doorbell.preKeysLow(address);
    }
    assert.deepEqual((await rung(a, there)).sort(), ["low", "wake"]);
    assert.deepEqual(await rung(a, nowhere), []);
  });
});

Deno.test("preKeysLow() tells the connection that has the address", async () => {
  await using core = await openCore();
  const address = newAddress();
  const listener = new NotingListener();
  core.doorbell.enter(address, listener);
  core.doorbell.preKeysLow(address);
  assert.deepEqual(listener.heard, ["preKeysLow"]);
});

Deno.test("enter() tells the connection that had the address, and only the new one hears from then on", async () => {
  await using core = await openCore();
  const address = newAddress();
  const [older, newer] = [new NotingListener(), new NotingListener()];
  core.doorbell.enter(address, older);
  core.doorbell.enter(address, newer);
  core.doorbell.leave(address, older); // as a replaced one does: it must not take the newer one away
  core.doorbell.handOver(address, newEntry());
  assert.deepEqual([older.heard, newer.heard], [["replaced"], ["handOver"]]);
});

Deno.test("leave() rings for the next owner, if that is in another process", async () => {
  await withTwoCores(async (a, b) => {
    const [moved, stayed] = [newAddress(), newAddress()];
    const listeners = [await enter(a, moved), await enter(a, stayed)] as const;
    await enter(b, moved);
    await eventually("it would be told", async () => (await rungFor(a, moved)).length === 1);
    a.doorbell.leave(moved, listeners[0]);
    a.doorbell.leave(stayed, listeners[1]);
    assert.deepEqual((await rung(a, moved)).sort(), ["session", "wake"]);
    assert.deepEqual(await rung(a, stayed), []);
  });
});

Deno.test("listen() wakes the connection that is here, and passes on what is for another one", async () => {
  await withTwoCores(async (a, b) => {
    const [here, gone] = [newAddress(), newAddress()];
    const listener = await enter(b, here);
    const leaver = await enter(b, gone);
    b.doorbell.leave(gone, leaver);
    await listening(b, async () => {
      for (const address of [here, gone]) {
        a.doorbell.wake(address);
        a.doorbell.preKeysLow(address);
      }
      await eventually("it is heard", () => listener.heard.length === 2);
      assert.deepEqual(listener.heard.toSorted(), ["preKeysLow", "woken"]);
      await eventually("nobody is said to have it", async () => await a.store.sessions.read(gone) === null);
    });
    assert.deepEqual(leaver.heard, []);
  });
});

Deno.test("listen() tells a connection that another process has its address, unless it claimed it again", async () => {
  await withTwoCores(async (a, b) => {
    const [lost, regained] = [newAddress(), newAddress()];
    const loser = await enter(a, lost);
    await enter(a, regained);
    await enter(b, lost);
    await enter(b, regained);
    const again = await enter(a, regained);
    const claiming = new NotingListener();
    const unclaimed = newAddress();
    await enter(a, unclaimed);
    await enter(b, unclaimed);
    a.doorbell.enter(unclaimed, claiming); // its claim is on its way, and newer than what is in storage
    await listening(a, async () => {
      await eventually("it is told", () => loser.heard.length === 1);
      await eventually("all is heard", async () => {
        return (await a.store.database.list({ prefix: ["rung"] }, { limit: 9 })).length <= 1;
      });
    });
    assert.deepEqual([loser.heard, again.heard, claiming.heard], [["replaced"], [], []]);
  });
});

Deno.test("listen() tells a connection whose device was unregistered at another process", async () => {
  await withTwoCores(async (a, b) => {
    const address = newAddress();
    const listener = await enter(a, address);
    await b.store.sessions.end(address);
    await listening(a, () => eventually("it is told", () => listener.heard.length === 1));
    assert.deepEqual(listener.heard, ["unregistered"]);
  });
});

Deno.test("sweep() keeps what was acknowledged for a connection that follows within ten seconds", async () => {
  const clock = new ManualClock();
  await using core = await openCore({ clock });
  const address = newAddress();
  const listener = new NotingListener();
  const before = core.doorbell.enter(address, listener);
  before.acknowledged.add("a");
  core.doorbell.leave(address, listener);
  clock.advance(TIMES.acknowledgedMs);
  core.doorbell.sweep();
  assert.equal(core.doorbell.enter(address, listener).acknowledged.has("a"), true);
  core.doorbell.leave(address, listener);
  clock.advance(TIMES.acknowledgedMs + 1);
  core.doorbell.sweep();
  assert.equal(core.doorbell.enter(address, listener).acknowledged.has("a"), false);
});

Deno.test("sweep() clears the memory of addresses that are connected, and keeps the connection", async () => {
  const clock = new ManualClock();
  await using core = await openCore({ clock });
  const address = newAddress();
  const listener = new NotingListener();
  const { acknowledged } = core.doorbell.enter(address, listener);
  acknowledged.add("a");
  acknowledged.deleted("a", true);
  acknowledged.add("under way");
  clock.advance(TIMES.acknowledgedMs + 1);
  core.doorbell.sweep();
  assert.deepEqual([acknowledged.has("a"), acknowledged.has("under way")], [false, true]);
  core.doorbell.handOver(address, newEntry());
  assert.deepEqual(listener.heard, ["handOver"]);
});
