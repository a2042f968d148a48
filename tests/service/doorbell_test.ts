/**
 * Tests of who hears that something is there: the connection that has the address here, or a bell in storage.
 * @module
 */
import assert from "node:assert/strict";
import { TIMES } from "../../lib/limits.ts";
import { newAddress } from "../store/open_store.ts";
import { eventually } from "../support/eventually.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { bellsOf, newEntry, NotingListener, openCore, type TestCore } from "./open_core.ts";

/** The bells that are rung once all is written. */
async function rung(core: TestCore, address: ReturnType<typeof newAddress>): Promise<string[]> {
  await eventually("all is written", () => core.store.writer.isIdle);
  return await bellsOf(core, address);
}

Deno.test("handOver() tells the connection that has the address, and rings no bell", async () => {
  await using core = await openCore();
  const address = newAddress();
  const [listener, neighbour] = [new NotingListener(), new NotingListener()];
  core.doorbell.enter(address, listener);
  core.doorbell.enter({ ...address, deviceId: 2 }, neighbour);
  const entry = newEntry();
  core.doorbell.handOver(address, entry);
  assert.deepEqual([listener.handedOver, neighbour.heard], [[entry], []]);
  assert.deepEqual(await rung(core, address), []);
});

Deno.test("handOver() rings the bell when nobody here has the address, where others may be, unless its commit did", async () => {
  for (const isShared of [false, true]) {
    await using core = await openCore({ isShared });
    const [address, rungFor] = [newAddress(), newAddress()];
    core.doorbell.handOver(address, newEntry());
    core.doorbell.handOver(rungFor, newEntry(), true);
    assert.deepEqual(await rung(core, address), isShared ? ["wake"] : []);
    assert.deepEqual(await rung(core, rungFor), []);
  }
});

Deno.test("ringOf() rings for who is not here, where others may be", async () => {
  for (const isShared of [false, true]) {
    await using core = await openCore({ isShared });
    const [here, elsewhere] = [newAddress(), newAddress()];
    core.doorbell.enter(here, new NotingListener());
    assert.equal(core.doorbell.ringOf(here), null);
    const key = isShared ? ["wake", elsewhere.userId, elsewhere.deviceId] : undefined;
    assert.deepEqual(core.doorbell.ringOf(elsewhere)?.key, key);
  }
});

Deno.test("handOver() rings no bell for who is here, also when other processes share the database", async () => {
  await using core = await openCore({ isShared: true });
  const address = newAddress();
  const listener = new NotingListener();
  core.doorbell.enter(address, listener);
  core.doorbell.handOver(address, newEntry());
  assert.deepEqual(listener.heard, ["handOver"]);
  assert.deepEqual(await rung(core, address), []);
});

Deno.test("preKeysLow() tells the connection that has the address, else rings the bell", async () => {
  await using core = await openCore({ isShared: true });
  const address = newAddress();
  const listener = new NotingListener();
  core.doorbell.enter(address, listener);
  core.doorbell.preKeysLow(address);
  assert.deepEqual(listener.heard, ["preKeysLow"]);
  assert.deepEqual(await rung(core, address), []);
  core.doorbell.leave(address, listener, false);
  core.doorbell.preKeysLow(address);
  assert.deepEqual(await rung(core, address), ["low"]);
});

Deno.test("enter() tells the connection that had the address, and only the new one hears from then on", async () => {
  await using core = await openCore();
  const address = newAddress();
  const [older, newer] = [new NotingListener(), new NotingListener()];
  core.doorbell.enter(address, older);
  core.doorbell.enter(address, newer);
  core.doorbell.leave(address, older, true); // as a replaced one does: it must not take the newer one away
  core.doorbell.handOver(address, newEntry());
  assert.deepEqual([older.heard, newer.heard], [["replaced"], ["handOver"]]);
  assert.deepEqual(await rung(core, address), [], "the newer one begins by looking");
});

Deno.test("leave() with messages under way rings for the next owner, if that may be in another process", async () => {
  for (const isShared of [false, true]) {
    await using core = await openCore({ isShared });
    const [busy, idle] = [newAddress(), newAddress()];
    const listener = new NotingListener();
    core.doorbell.enter(busy, listener);
    core.doorbell.leave(busy, listener, true);
    core.doorbell.enter(idle, listener);
    core.doorbell.leave(idle, listener, false);
    assert.deepEqual(await rung(core, busy), isShared ? ["wake"] : []);
    assert.deepEqual(await rung(core, idle), []);
  }
});

Deno.test("sweep() keeps what was acknowledged for a connection that follows within ten seconds", async () => {
  const clock = new ManualClock();
  await using core = await openCore({ clock });
  const address = newAddress();
  const listener = new NotingListener();
  const before = core.doorbell.enter(address, listener);
  before.acknowledged.add("a");
  core.doorbell.leave(address, listener, false);
  clock.advance(TIMES.acknowledgedMs);
  core.doorbell.sweep();
  assert.equal(core.doorbell.enter(address, listener).acknowledged.has("a"), true);
  core.doorbell.leave(address, listener, false);
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
