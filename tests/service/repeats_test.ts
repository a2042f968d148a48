/**
 * Tests of repeated sends: each is stored once, also while its first attempt is still on its way.
 * @module
 */
import assert from "node:assert/strict";
import { addressKey } from "../../lib/address.ts";
import { inboxPrefix } from "../../lib/store/keys.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { Gate, ScriptedKv } from "../store/scripted_kv.ts";
import { newAddress, newBytes, registerDevice } from "../store/open_store.ts";
import { openCore, outgoing, send, type TestCore } from "./open_core.ts";

/** How many messages wait for a device. */
async function countWaiting({ store }: TestCore, to: ReturnType<typeof newAddress>): Promise<number> {
  const { list } = await store.devices.readWithList(to);
  const epoch = list.devices.get(to.deviceId)?.epoch ?? assert.fail("registered");
  return (await store.database.list({ prefix: inboxPrefix(to, epoch) }, { limit: 100 })).length;
}

for (const where of ["in the queue of its lane", "before it has a place there"]) {
  Deno.test(`a repeat waits for a first attempt that is still ${where}`, async () => {
    await using scripted = await ScriptedKv.open();
    await using core = await openCore({ kv: scripted.kv });
    const [from, to] = [newAddress(), newAddress()];
    await registerDevice(core.store, to);
    if (where.startsWith("in")) await core.store.devices.readList(to.userId);
    else core.store.devices.forget(to.userId);
    const message = outgoing(to, { messageId: newBytes() });
    const gate = new Gate();
    scripted.onCommit = async (commit) => (await gate.passed, await commit.run());
    if (where.startsWith("before")) scripted.afterRead = () => gate.passed;
    const first = send(core, message, from);
    const repeats = [1, 2, 3].map(() => send(core, { ...message, retry: true }, from));
    // Time enough for a repeat that does not wait to look for what is not there yet.
    await new Promise((resolve) => setTimeout(resolve, 50));
    gate.open();
    await Promise.all([first, ...repeats]);
    assert.equal(await countWaiting(core, to), 1, addressKey(to));
  });
}

Deno.test("a look-up that reads many rows is paid for by its sender", async () => {
  await using core = await openCore({ clock: new ManualClock(), settings: { RATE_SENDS: "10/s:5000" } });
  const [from, to] = [newAddress(), newAddress()];
  await registerDevice(core.store, to);
  const count = 64 * 32;
  await Promise.all(
    Array.from({ length: count }, () => send(core, outgoing(to, { messageId: newBytes() }), from)),
  );
  const left = () => {
    let units = 0;
    while (units < 5_000) {
      try {
        core.rates.sends.require(from.userId, units + 1);
      } catch {
        break;
      }
      units++;
    }
    return units;
  };
  const before = left();
  await send(core, outgoing(to, { messageId: newBytes(), retry: true }), from);
  assert.equal(before - left(), 2, "one for the send, one for 64 rows");
  assert.equal(core.metrics.counts.messagesAccepted, count + 1);
});
