/** Budgets of a user: what is beyond them gets 105 with the time to wait, and nobody else notices. */
import assert from "node:assert/strict";
import { AdvancingClock } from "../support/advancing_clock.ts";
import { Device, keysOf, numbersFrom, preKeys, refusal } from "../support/device.ts";
import { startServer } from "../support/server.ts";

/** Expects Error 105, and gives the time to wait that its description ends in. */
async function waitMs(request: Promise<unknown>): Promise<number> {
  const description = await refusal(105, request);
  const [, ms] = /try again in ([0-9]+) ms$/.exec(description) ?? [];
  assert.ok(ms, description);
  return Number(ms);
}

Deno.test("RATE_SENDS refuses the messages beyond it until the time that it tells, of all devices together", async () => {
  const clock = new AdvancingClock();
  await using server = await startServer({ RATE_SENDS: "0.1/s:3" }, { clock });
  await using bob = await Device.join(server);
  await using phone = await Device.connect(server, { deviceId: 1 });
  await using tablet = await Device.connect(server, { userId: phone.address.userId, deviceId: 2 });
  await phone.send(bob.address, 1);
  await tablet.send(bob.address, 2);
  await phone.send(bob.address, 3);
  const ms = await waitMs(tablet.send(bob.address, 4));
  assert.ok(ms > 8_000 && ms <= 10_000, `${ms}`);
  await using carol = await Device.connect(server);
  await carol.send(bob.address, 5);
  clock.advance(ms);
  await phone.send(bob.address, 6);
  await waitMs(phone.send(bob.address, 7));
  await bob.untilNumbers([1, 2, 3, 5, 6]);
});

Deno.test("RATE_PAIR counts each started 4 KiB to one device of another user", async () => {
  const clock = new AdvancingClock();
  await using server = await startServer({ RATE_PAIR: "0.1/s:4" }, { clock });
  await using phone = await Device.join(server, { deviceId: 1 });
  await using tablet = await Device.join(server, { userId: phone.address.userId, deviceId: 2 });
  await using alice = await Device.connect(server);
  const send = (to: Device, bytes: number) => alice.connection.send(to.address, new Uint8Array(bytes));
  await send(phone, 4_096); // 1 unit
  await send(phone, 4_097); // 2 units
  await send(phone, 0); // 1 unit
  await waitMs(send(phone, 1));
  await send(tablet, 1); // another device has a budget of its own
  await using carol = await Device.connect(server);
  await carol.send(phone.address, 1);
  clock.advance(10_000);
  await send(phone, 4_096);
  await waitMs(send(phone, 4_096));
});

Deno.test("what needs more than RATE_PAIR ever holds goes when it is full", async () => {
  const clock = new AdvancingClock();
  await using server = await startServer({ RATE_PAIR: "1/s:2" }, { clock });
  await using bob = await Device.join(server);
  await using alice = await Device.connect(server);
  const large = new Uint8Array(60 * 1_024);
  await alice.connection.send(bob.address, large); // 15 units
  const ms = await waitMs(alice.connection.send(bob.address, large));
  assert.ok(ms > 14_000 && ms <= 15_000, `${ms}`);
  clock.advance(ms);
  await alice.connection.send(bob.address, large);
});

Deno.test("the own devices of a user are exempt from RATE_PAIR", async () => {
  await using server = await startServer({ RATE_PAIR: "0.1/s:1" });
  await using phone = await Device.join(server, { deviceId: 1 });
  await using tablet = await Device.join(server, { userId: phone.address.userId, deviceId: 2 });
  for (const n of numbersFrom(0, 10)) await phone.send(tablet.address, n);
  await tablet.untilNumbers(numbersFrom(0, 10));
});

Deno.test("RATE_PREKEYS is per device: a request that is refused for one takes nothing from the others", async () => {
  const clock = new AdvancingClock();
  await using server = await startServer({ RATE_PREKEYS: "0.1/s:2" }, { clock });
  await using phone = await Device.join(server, { deviceId: 1, preKeys: preKeys(5, 100) });
  const { userId } = phone.address;
  await using _tablet = await Device.join(server, { userId, deviceId: 2, preKeys: preKeys(5, 200) });
  await using alice = await Device.connect(server);
  for (let i = 0; i < 2; i++) await alice.connection.requestPreKeys(userId, [1]); // the tablet's alone
  const ms = await waitMs(alice.connection.requestPreKeys(userId));
  await waitMs(alice.connection.requestPreKeys(userId));
  for (const preKey of preKeys(2, 100)) {
    assert.deepEqual((await alice.connection.requestPreKeys(userId, [2]))[0]?.preKey, preKey);
  }
  await using bob = await Device.connect(server);
  assert.equal((await bob.connection.requestPreKeys(userId)).length, 2);
  clock.advance(ms + 1_000); // the phone's budget was used a little later than the tablet's
  const ids = (await alice.connection.requestPreKeys(userId)).map(({ deviceId }) => deviceId);
  assert.deepEqual(ids.toSorted(), [1, 2]);
});

Deno.test("a request for a new group of 100 devices is not held up by RATE_PREKEYS", async () => {
  await using server = await startServer({ RATE_PREKEYS: "0.1/s:1", RATE_CLAIMS: "20/s:500" });
  const users = await Promise.all(
    numbersFrom(0, 100).map(async () => {
      await using device = await Device.join(server, { preKeys: preKeys(1) });
      return device.address.userId;
    }),
  );
  await using alice = await Device.connect(server);
  const bundles = await Promise.all(users.map((userId) => alice.connection.requestPreKeys(userId)));
  assert.ok(bundles.every(([bundle]) => bundle !== undefined && bundle.preKey !== null));
});

Deno.test("while RATE_CLAIMS is used up every RequestPreKeys is refused, whatever its answer would be", async () => {
  const clock = new AdvancingClock();
  await using server = await startServer({ RATE_CLAIMS: "0.1/s:3" }, { clock });
  await using bob = await Device.join(server);
  await using alice = await Device.connect(server);
  const { userId } = bob.address;
  await refusal(101, alice.connection.requestPreKeys(crypto.randomUUID())); // costs nothing
  assert.deepEqual(await alice.connection.requestPreKeys(userId, [1]), []); // nor does this
  for (let i = 0; i < 3; i++) await alice.connection.requestPreKeys(userId);
  const ms = await waitMs(alice.connection.requestPreKeys(userId));
  await waitMs(alice.connection.requestPreKeys(userId, [1]));
  await waitMs(alice.connection.requestPreKeys(crypto.randomUUID()));
  assert.equal((await bob.connection.requestPreKeys(userId)).length, 1);
  clock.advance(ms);
  await alice.connection.requestPreKeys(userId);
});

Deno.test("RATE_CLAIMS counts each device that is answered for", async () => {
  await using server = await startServer({ RATE_CLAIMS: "0.01/s:3" });
  const userId = crypto.randomUUID();
  for (const deviceId of [1, 2]) {
    await using _device = await Device.join(server, { userId, deviceId });
  }
  await using alice = await Device.connect(server);
  assert.equal((await alice.connection.requestPreKeys(userId)).length, 2);
  await waitMs(alice.connection.requestPreKeys(userId));
  assert.equal((await alice.connection.requestPreKeys(userId, [1])).length, 1);
  await waitMs(alice.connection.requestPreKeys(userId, [1]));
});

Deno.test("RATE_REQUESTS counts Registers and Unregisters, and nothing of a refused one is stored", async () => {
  const clock = new AdvancingClock();
  await using server = await startServer({ RATE_REQUESTS: "0.1/s:3" }, { clock });
  await using bob = await Device.join(server, { preKeys: [] });
  await bob.connection.unregister();
  await bob.connection.register(keysOf(1, { preKeys: [] }));
  const ms = await waitMs(bob.connection.register(keysOf(2, { preKeys: [] })));
  await waitMs(bob.connection.unregister());
  await using alice = await Device.join(server);
  assert.equal((await alice.connection.requestPreKeys(bob.address.userId))[0]?.registrationId, 1);
  clock.advance(ms);
  await bob.connection.register(keysOf(2, { preKeys: [] }));
});
