/** Budgets in version 2: each tells the time to wait as a number, and after it the same request is taken. */
import assert from "node:assert/strict";
import { AdvancingClock } from "../support/advancing_clock.ts";
import { Peer, refused } from "../support/peer.ts";
import { startServer } from "../support/server.ts";

type Take = (from: Peer, to: Peer) => Promise<unknown>;

const devices: Take = async (from, { address: { userId } }) => {
  const [answer] = await from.ask({ type: "request_devices", userId });
  assert.ok(answer?.type === "devices");
};

const BUDGETS: readonly (readonly [setting: string, what: string, take: Take])[] = [
  ["RATE_SENDS", "messages", (from, to) => from.send(to.address, 1)],
  ["RATE_PAIR", "messages to a device", (from, to) => from.send(to.address, 1)],
  ["RATE_PREKEYS", "requests for a device's prekeys", (from, to) => from.bundles(to.address.userId)],
  ["RATE_CLAIMS", "prekeys", (from, to) => from.bundles(to.address.userId)],
  ["RATE_REQUESTS", "other requests", devices],
];

for (const [setting, what, take] of BUDGETS) {
  Deno.test(`${setting} tells when ${what} may come again, and holds for all connections of a user`, async () => {
    const clock = new AdvancingClock();
    await using server = await startServer({ [setting]: "0.1/s:2" }, { clock });
    await using bob = await Peer.join(server);
    await using phone = await Peer.connect(server);
    await using tablet = await Peer.connect(server, { userId: phone.address.userId, deviceId: 2 });
    await take(phone, bob);
    await take(tablet, bob);
    for (const device of [phone, tablet]) {
      const { retryAfterMs = 0 } = await refused(105, take(device, bob));
      assert.ok(retryAfterMs > 5_000 && retryAfterMs <= 10_000, `${retryAfterMs}`);
      await using carol = await Peer.connect(server);
      await take(carol, bob);
    }
    clock.advance(10_000);
    await take(tablet, bob);
    await refused(105, take(phone, bob));
  });
}
