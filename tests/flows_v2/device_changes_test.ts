/** Sends to all devices of a user while these change: none that was accepted missed a device that was registered before. */
import assert from "node:assert/strict";
import { ServerError } from "../../lib/client/mod.ts";
import { eventually } from "../support/eventually.ts";
import { Peer } from "../support/peer.ts";
import { range } from "../support/peer_keys.ts";
import { startServer, type TestServer } from "../support/server.ts";
import { withTwoServers } from "../support/shared_kv.ts";

const ROUNDS = 1_000;

/** A device of Bob's that comes and goes, and what it knows of itself. */
interface Changing {
  readonly peer: Peer;
  /** The registration ID that was acknowledged last; 0 while it is not registered, or is about to change. */
  settled: number;
  /** How often it was about to change. */
  changes: number;
}

/** A message that was accepted. */
interface Sent {
  readonly n: number;
  /** Who was registered, for sure, from before it was sent until it was accepted, with which registration ID. */
  readonly throughout: ReadonlyMap<number, number>;
  readonly named: ReadonlyMap<number, number>;
}

/** Registers and unregisters one device until the rounds are over, now with this registration ID, now with that. */
async function change(device: Changing, isOver: () => boolean): Promise<void> {
  for (let round = 1; !isOver(); round++) {
    const registrationId = round % 3 + 1;
    await device.peer.register({ registrationId, preKeys: [] });
    device.settled = registrationId;
    await new Promise((resolve) => setTimeout(resolve, Math.random() * 15));
    device.settled = 0;
    device.changes++;
    if (round % 4 === 0) await device.peer.ask({ type: "unregister" });
  }
}

/** Sends to all devices that there seem to be, and repairs the list by what each refusal says, as Sesame asks. */
async function sendRounds(sender: Peer, devices: readonly Changing[], first: number, rounds: number) {
  const userId = devices[0]?.peer.address.userId ?? "";
  const accepted: Sent[] = [];
  let refusals = 0;
  const known = new Map<number, number>();
  for (const n of range(rounds, first)) {
    for (;;) {
      const before = devices.filter(({ settled }) => settled > 0).map((device) => ({ ...device, device }));
      try {
        await sender.sendToUser(userId, Object.fromEntries(known), n);
        const throughout = before.filter(({ device, changes }) => device.changes === changes)
          .map(({ peer, settled }) => [peer.address.deviceId, settled] as const);
        accepted.push({ n, throughout: new Map(throughout), named: new Map(known) });
        break;
      } catch (error) {
        assert.ok(error instanceof ServerError, String(error));
        refusals++;
        if (error.code === 101) known.clear();
        else assert.equal(error.code, 107);
        for (const { deviceId, registrationId } of error.mismatch?.missing ?? []) {
          known.set(deviceId, registrationId);
        }
        for (const { deviceId, registrationId } of error.mismatch?.stale ?? []) {
          known.set(deviceId, registrationId);
        }
        for (const deviceId of error.mismatch?.extra ?? []) known.delete(deviceId);
      }
    }
  }
  return { accepted, refusals };
}

async function changeAndSend(a: TestServer, b: TestServer): Promise<void> {
  const userId = crypto.randomUUID();
  await using steady = await Peer.join(a, { userId, deviceId: 9, registrationId: 9, preKeys: [] });
  const devices: Changing[] = [];
  for (const deviceId of range(3, 1)) {
    const peer = await Peer.connect(deviceId % 2 === 0 ? a : b, { userId, deviceId });
    devices.push({ peer, settled: 0, changes: 0 });
  }
  const senders = [await Peer.connect(a), await Peer.connect(b)];
  let isOver = false;
  const changes = Promise.all(devices.map((device) => change(device, () => isOver)));
  const all: readonly Changing[] = [...devices, { peer: steady, settled: 9, changes: 0 }];
  const each = ROUNDS / senders.length;
  const results = await Promise.all(
    senders.map((sender, i) => sendRounds(sender, all, i * each, each)),
  ).finally(() => isOver = true);
  await changes;
  const accepted = results.flatMap((result) => result.accepted);
  assert.equal(accepted.length, ROUNDS);
  assert.ok(results.some(({ refusals }) => refusals > 20), "the changes were seen");
  const judged = accepted.reduce((sum, { throughout }) => sum + throughout.size, 0);
  assert.ok(
    judged > ROUNDS * 1.05,
    `other devices than the steady one were registered for a while: ${judged}`,
  );
  for (const { n, throughout, named } of accepted) {
    for (const [deviceId, registrationId] of throughout) {
      assert.equal(named.get(deviceId), registrationId, `send ${n} missed what device ${deviceId} was`);
    }
  }
  await eventually("the steady device has all of them", () => steady.messages.length >= ROUNDS);
  assert.deepEqual(steady.numbers.toSorted((x, y) => x - y), range(ROUNDS));
  for (const { peer } of devices) await peer.leave();
  for (const sender of senders) await sender.leave();
}

Deno.test("1,000 sends while devices come, change and go: none misses one that was registered before it", async () => {
  await using server = await startServer({ MAILBOX_MESSAGES_MAX: "100000" });
  await changeAndSend(server, server);
});

Deno.test("the same with senders and devices at two servers", async () => {
  await withTwoServers(changeAndSend, { settings: { MAILBOX_MESSAGES_MAX: "100000" } });
});
