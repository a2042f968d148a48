/** Caps on what a device may register: refused as a whole, with the number found and the limit. */
import assert from "node:assert/strict";
import { Device, keysOf, numbered, preKeys, refusal } from "../support/device.ts";
import { startServer } from "../support/server.ts";

Deno.test("prekeys beyond PREKEYS_MAX are refused with the count, and nothing of the Register is stored", async () => {
  await using server = await startServer({ PREKEYS_MAX: "10", PREKEYS_LOW: "0" });
  await using alice = await Device.connect(server);
  await using bob = await Device.join(server, { preKeys: preKeys(8) });
  const more = keysOf(1, { signedPreKey: numbered(99), preKeys: preKeys(3, 8) });
  assert.match(await refusal(108, bob.connection.register(more)), /8 one-time prekeys.*3 more.*limit of 10/);
  const [bundle] = await alice.connection.requestPreKeys(bob.address.userId);
  assert.deepEqual(bundle?.signedPreKey, keysOf(1).signedPreKey);
  await bob.connection.register(more); // one was taken: now there is room
  assert.match(await refusal(108, bob.connection.register(keysOf(1, { preKeys: preKeys(1, 20) }))), /10/);
});

Deno.test("prekeys that are in the pool already do not count against PREKEYS_MAX", async () => {
  await using server = await startServer({ PREKEYS_MAX: "10", PREKEYS_LOW: "0" });
  await using bob = await Device.join(server, { preKeys: preKeys(9) });
  await bob.connection.register(keysOf(1, { preKeys: preKeys(10) }));
  await bob.connection.register(keysOf(1, { preKeys: preKeys(10) }));
});

Deno.test("a new installation is not refused for the prekeys of the old one", async () => {
  await using server = await startServer({ PREKEYS_MAX: "10", PREKEYS_LOW: "0" });
  await using bob = await Device.join(server, { preKeys: preKeys(10) });
  await bob.connection.register(keysOf(2, { preKeys: preKeys(10, 10) }));
});

Deno.test("more prekeys in one Register than 200 are refused", async () => {
  await using server = await startServer();
  await using bob = await Device.connect(server);
  const description = await refusal(104, bob.connection.register(keysOf(1, { preKeys: preKeys(201) })));
  assert.match(description, /PreKeys has 201 entries, at most 200/);
  await bob.connection.register(keysOf(1, { preKeys: preKeys(200) }));
});

for (
  const [what, bytesMax, keys] of [
    ["IdentityKey", 1_024, (bytes: Uint8Array) => keysOf(1, { identityKey: bytes })],
    ["SignedPreKey", 4_096, (bytes: Uint8Array) => keysOf(1, { signedPreKey: bytes })],
    ["PreKeys[1]", 4_096, (bytes: Uint8Array) => keysOf(1, { preKeys: [numbered(1), bytes] })],
  ] as const
) {
  Deno.test(`${what} may have ${bytesMax} bytes, and one more is refused`, async () => {
    await using server = await startServer();
    await using alice = await Device.connect(server);
    await using bob = await Device.connect(server);
    const tooLarge = bob.connection.register(keys(new Uint8Array(bytesMax + 1).fill(7)));
    const description = await refusal(104, tooLarge);
    assert.ok(description.startsWith(`${what} has ${bytesMax + 1} bytes, at most ${bytesMax}`), description);
    await refusal(101, alice.connection.requestPreKeys(bob.address.userId));
    await bob.connection.register(keys(new Uint8Array(bytesMax).fill(7)));
  });
}

Deno.test("all keys of one Register together may have 512 KiB, and one byte more is refused", async () => {
  await using server = await startServer();
  await using alice = await Device.connect(server);
  await using bob = await Device.connect(server);
  const rest = { identityKey: new Uint8Array(1_024), signedPreKey: new Uint8Array(3_072) };
  const large = (count: number) => Array.from({ length: count }, (_, i) => new Uint8Array(4_096).fill(i + 1));
  const tooLarge = keysOf(1, { ...rest, preKeys: [...large(127), Uint8Array.of(1)] });
  assert.match(await refusal(104, bob.connection.register(tooLarge)), /524289.*524288/);
  await bob.connection.register(keysOf(1, { ...rest, preKeys: large(127) }));
  for (const preKey of large(3)) {
    assert.deepEqual((await alice.connection.requestPreKeys(bob.address.userId))[0]?.preKey, preKey);
  }
});

Deno.test("200 prekeys of a size that fills a Register are stored as one", async () => {
  await using server = await startServer();
  await using alice = await Device.connect(server);
  const large = Array.from({ length: 200 }, (_, i) => new Uint8Array(2_600).fill(i + 1));
  await using bob = await Device.join(server, { preKeys: large });
  const given = await Promise.all(large.map(() => alice.connection.requestPreKeys(bob.address.userId)));
  assert.equal(new Set(given.map(([bundle]) => bundle?.preKey?.[0])).size, 200);
});

Deno.test("a device beyond DEVICES_MAX is refused with the count, and a registered one is not", async () => {
  await using server = await startServer({ DEVICES_MAX: "2" });
  const userId = crypto.randomUUID();
  await using first = await Device.join(server, { userId, deviceId: 1 });
  await using second = await Device.join(server, { userId, deviceId: 2 });
  await using third = await Device.connect(server, { userId, deviceId: 3 });
  assert.match(await refusal(108, third.connection.register(keysOf(3))), /2 devices/);
  assert.equal((await first.connection.requestPreKeys(userId)).length, 2);
  await second.connection.register(keysOf(9)); // re-installing takes no more room
  await second.connection.unregister();
  await third.connection.register(keysOf(3));
});

Deno.test("devices that register at the same time do not pass DEVICES_MAX together", async () => {
  await using server = await startServer({ DEVICES_MAX: "3" });
  const userId = crypto.randomUUID();
  await using devices = new AsyncDisposableStack();
  const attempts = await Promise.allSettled(Array.from({ length: 8 }, async (_, deviceId) => {
    const device = devices.use(await Device.connect(server, { userId, deviceId }));
    await device.connection.register(keysOf(1));
  }));
  assert.equal(attempts.filter(({ status }) => status === "fulfilled").length, 3);
  await using alice = await Device.connect(server);
  assert.equal((await alice.connection.requestPreKeys(userId)).length, 3);
});
