/**
 * Tests of what is done now and then: late writes answered, what is gone deleted, unseen devices removed.
 * @module
 */
import assert from "node:assert/strict";
import type { Address } from "../../lib/address.ts";
import { TIMES } from "../../lib/limits.ts";
import { createService, Maintenance } from "../../lib/service/mod.ts";
import { append, newAddress, newBytes, newMessage, registerDevice, write } from "../store/open_store.ts";
import { Gate, ScriptedKv } from "../store/scripted_kv.ts";
import { eventually } from "../support/eventually.ts";
import { LeapingClock } from "./leaping_clock.ts";
import { NotingListener, openCore, type TestCore, type TestCoreOptions } from "./open_core.ts";

const DAY_MS = 86_400_000;

const KEYS = {
  registrationId: 1,
  identityKey: Uint8Array.of(1),
  signedPreKey: Uint8Array.of(2),
  preKeys: [],
  replace: false,
};

/** A core that is looked after, until the end of its scope. */
async function maintain(options: TestCoreOptions & { clock: LeapingClock }) {
  const core = await openCore(options);
  const maintenance = new Maintenance(core);
  const close = async () => (maintenance.stop(), await core[Symbol.asyncDispose]());
  return { core, maintenance, [Symbol.asyncDispose]: close };
}

async function isRegistered(core: TestCore, address: Address): Promise<boolean> {
  return (await core.store.devices.readWithList(address)).device !== null;
}

Deno.test("Maintenance answers for writes that are late", async () => {
  const clock = new LeapingClock();
  await using scripted = await ScriptedKv.open();
  await using maintained = await maintain({ clock, kv: scripted.kv });
  const gate = new Gate();
  scripted.onCommit = async (commit) => (await gate.passed, await commit.run());
  let outcome = "none";
  const { userId } = newAddress();
  const written = write(maintained.core.store, userId, { key: ["a"], change: newBytes() })
    .then(() => outcome = "stored", (error) => outcome = error.error);
  await clock.leap(0); // the commit is under way
  await clock.leap(TIMES.storageDeadlineMs);
  const inTime = outcome;
  await clock.leap(500);
  gate.open();
  await written;
  assert.deepEqual([inTime, outcome], ["none", "unavailable"]);
});

Deno.test("Maintenance empties the trash", async () => {
  const clock = new LeapingClock();
  await using maintained = await maintain({ clock });
  const { store } = maintained.core;
  const address = newAddress();
  const { record: { epoch } } = await registerDevice(store, address);
  for (let i = 0; i < 3; i++) await append(store, address, epoch, newMessage(store));
  await registerDevice(store, address);
  await clock.leap(TIMES.trashAgeMs);
  await eventually("the old messages are gone, then the trash row", async () => {
    await clock.leap(5_000);
    const rows = await Promise.all(
      ["inbox", "trash"].map((kind) => store.database.list({ prefix: [kind] }, { limit: 1 })),
    );
    return rows.flat().length === 0;
  });
});

Deno.test("Maintenance unregisters devices that nobody has seen, and no other", async () => {
  const clock = new LeapingClock();
  await using maintained = await maintain({ clock, settings: { DEVICE_UNSEEN: "2d" } });
  const { core } = maintained;
  const service = createService(core);
  const [unseen, seen] = [newAddress(), newAddress()];
  await service.register(unseen, KEYS);
  await clock.leap(DAY_MS);
  await service.register(seen, KEYS);
  await clock.leap(DAY_MS);
  assert.deepEqual([await isRegistered(core, unseen), await isRegistered(core, seen)], [true, true]);
  await eventually("the one is gone", async () => {
    await clock.leap(60_000);
    return !(await isRegistered(core, unseen));
  });
  assert.equal(await isRegistered(core, seen), true);
});

// `DEVICE_UNSEEN` is for devices that stay away (protocol §6).
Deno.test("Maintenance leaves a device alone that stays connected", async () => {
  const clock = new LeapingClock();
  await using maintained = await maintain({ clock, settings: { DEVICE_UNSEEN: "2d" } });
  const { core } = maintained;
  const address = newAddress();
  await createService(core).register(address, KEYS);
  const receiver = createService(core).receive(address, new NotingListener());
  await receiver.readOwnDevice();
  for (let passedMs = 0; passedMs < 3 * DAY_MS; passedMs += DAY_MS / 4) await clock.leap(DAY_MS / 4);
  assert.equal(await isRegistered(core, address), true);
  receiver.leave(false);
});

Deno.test("Maintenance leaves a device alone that was connected within the time", async () => {
  const clock = new LeapingClock();
  await using maintained = await maintain({ clock, settings: { DEVICE_UNSEEN: "1d" } });
  const { core } = maintained;
  const address = newAddress();
  await createService(core).register(address, KEYS);
  await clock.leap(DAY_MS * 0.8);
  const receiver = createService(core).receive(address, new NotingListener());
  await receiver.readOwnDevice();
  await clock.leap(1_000);
  receiver.leave(false);
  for (let i = 0; i < 3; i++) await clock.leap(DAY_MS / 4);
  assert.equal(await isRegistered(core, address), true);
});

Deno.test("stop() ends all of it", async () => {
  const clock = new LeapingClock();
  await using maintained = await maintain({ clock, settings: { DEVICE_UNSEEN: "2d" } });
  const { core, maintenance } = maintained;
  const address = newAddress();
  await createService(core).register(address, KEYS);
  maintenance.stop();
  for (let i = 0; i < 5; i++) await clock.leap(10 * DAY_MS);
  assert.equal(await isRegistered(core, address), true);
});
