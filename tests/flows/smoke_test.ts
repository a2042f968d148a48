/** The first conversation: two devices meet, write to each other, online and offline. */
import assert from "node:assert/strict";
import { Connection, type ReceivedMessage } from "../../lib/client/mod.ts";
import { eventually } from "../support/eventually.ts";
import { startServer } from "../support/server.ts";

Deno.test("two devices exchange keys and messages", async () => {
  await using server = await startServer();
  const alice = crypto.randomUUID();
  const bob = crypto.randomUUID();
  const keys = (n: number) => ({
    registrationId: n,
    identityKey: new Uint8Array([n]),
    signedPreKey: new Uint8Array([n, 1]),
    preKeys: [new Uint8Array([n, 2])],
  });
  const inbox: ReceivedMessage[] = [];
  const a = await Connection.connect({
    url: server.url,
    userId: alice,
    deviceId: 1,
    token: await server.token(alice),
  });
  await a.register(keys(1));
  const low: number[] = [];
  const b = await Connection.connect({
    url: server.url,
    userId: bob,
    deviceId: 7,
    token: await server.token(bob),
    onMessage: (m) => void inbox.push(m),
    onPreKeysLow: (n) => low.push(n),
  });
  await b.register(keys(2));
  const bundles = await a.requestPreKeys(bob);
  assert.equal(bundles.length, 1);
  assert.deepEqual(bundles[0]?.preKey, new Uint8Array([2, 2]));
  await eventually("PreKeysLow", () => low.length === 1);
  assert.deepEqual((await a.requestPreKeys(bob))[0]?.preKey, null);
  await a.send({ userId: bob, deviceId: 7 }, new Uint8Array([42]));
  await eventually("delivery", () => inbox.length === 1);
  assert.deepEqual(inbox[0]?.ciphertext, new Uint8Array([42]));
  await b.close();
  await a.send({ userId: bob, deviceId: 7 }, new Uint8Array([43]));
  await a.send({ userId: bob, deviceId: 7 }, new Uint8Array([44]));
  const b2 = await Connection.connect({
    url: server.url,
    userId: bob,
    deviceId: 7,
    token: await server.token(bob),
    onMessage: (m) => void inbox.push(m),
  });
  await eventually("delivery after connecting", () => inbox.length === 3);
  assert.deepEqual(inbox.map((m) => m.ciphertext[0]), [42, 43, 44]);
  await a.close();
  await b2.close();
});
