/** UserMessages is judged and stored in one step: at its commit the device list is the one that it names. */
import assert from "node:assert/strict";
import { ServerError } from "../../lib/client/mod.ts";
import { Peer } from "../support/peer.ts";
import { numberOf, range } from "../support/peer_keys.ts";
import { withTwoServers } from "../support/shared_kv.ts";

/** Where the ciphertext begins in what is stored (`lib/store/README.md`). */
const CIPHERTEXT_AT = 54;

type List = Readonly<Record<number, number>>;

/** Sends to the devices that there seem to be, until `isOver`; tells which list each accepted message named. */
async function sendAll(sender: Peer, userId: string, first: number, isOver: () => boolean) {
  const named = new Map<number, List>();
  let known: Record<number, number> = {};
  for (let n = first; !isOver();) {
    try {
      await sender.sendToUser(userId, known, n);
      named.set(n++, { ...known });
    } catch (error) {
      assert.ok(error instanceof ServerError && error.mismatch !== undefined, String(error));
      const { missing, stale, extra } = error.mismatch;
      const current = [...missing, ...stale].map((
        { deviceId, registrationId },
      ) => [deviceId, registrationId]);
      const kept = Object.entries(known).filter(([deviceId]) => !extra.includes(Number(deviceId)));
      known = { ...Object.fromEntries(kept), ...Object.fromEntries(current) };
    }
  }
  return named;
}

Deno.test("at the commit of each message to all devices, the list is the one that it named", async () => {
  await withTwoServers(async (a, b, kv) => {
    const steady = await Peer.join(a, { deviceId: 9, registrationId: 9, preKeys: [] });
    await steady.leave();
    const { userId } = steady.address;
    await using changing = await Peer.connect(a, { userId, deviceId: 1 });
    const senders = await Promise.all(range(6).map((i) => Peer.connect(i % 2 === 0 ? a : b)));
    let isOver = false;
    const sending = Promise.all(
      senders.map((sender, i) => sendAll(sender, userId, i * 100_000, () => isOver)),
    );
    // One device changes: so each version of the list can be noted.
    const lists: { readonly version: string; readonly list: List }[] = [];
    const note = async (list: List) => {
      const { versionstamp } = await kv.get(["devices", userId]);
      lists.push({ version: versionstamp ?? "", list });
    };
    await note({ 9: 9 });
    for (const round of range(150)) {
      const registrationId = round % 50 + 1;
      await changing.register({ registrationId, preKeys: [] });
      await note({ 1: registrationId, 9: 9 });
      if (round % 3 !== 0) continue;
      await changing.ask({ type: "unregister" });
      await note({ 9: 9 });
    }
    isOver = true;
    const named = new Map((await sending).flatMap((each) => [...each]));
    let compared = 0;
    for await (const { value, versionstamp } of kv.list<Uint8Array>({ prefix: ["inbox", userId, 9] })) {
      const n = numberOf(value.subarray(CIPHERTEXT_AT));
      const current = lists.findLast(({ version }) => version < versionstamp);
      assert.deepEqual(named.get(n), current?.list, `message ${n}`);
      compared++;
    }
    assert.equal(compared, named.size);
    assert.ok(compared > 100, `${compared} were accepted`);
    for (const sender of senders) await sender.leave();
  }, { settings: { MAILBOX_MESSAGES_MAX: "1000000" } });
});
