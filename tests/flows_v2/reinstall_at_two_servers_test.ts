/** A device is re-installed at one server while others send to it at another one. */
import { eventually } from "../support/eventually.ts";
import { Peer } from "../support/peer.ts";
import { withTwoServers } from "../support/shared_kv.ts";

Deno.test("a reply to what a re-installed device sent reaches it, also through another server", async () => {
  await withTwoServers(async (a, b) => {
    await using bob = await Peer.join(a, { registrationId: 1 });
    await using alice = await Peer.join(b);
    // Alice's server has Bob's devices at hand.
    await alice.send(bob.address, 1);
    await bob.untilNumbers([1]);
    await bob.register({ registrationId: 2 });
    // Bob's first message sets up a session, in which Alice can answer without asking for his keys.
    await bob.send(alice.address, 2);
    await alice.untilNumbers([2]);
    await alice.send(bob.address, 3);
    await eventually("the answer", () => bob.numbers.includes(3), 2_000);
  });
});
