/** Many hands on one pool at the same time: every key is stored once, and leaves at most once. */
import assert from "node:assert/strict";
import type { PreKeyBundle } from "../../lib/domain.ts";
import { Background } from "../support/background.ts";
import { Device, keysOf, numberOf, numbersFrom, preKeys, refusal } from "../support/device.ts";
import { RawClient, type Received } from "../support/raw_client.ts";
import { newAddress, registerMessage, requestPreKeys } from "../support/raw_messages.ts";
import { startServer, type TestServer } from "../support/server.ts";

const CONNECTIONS = 20;
const HUNDRED = preKeys(100);

/** Room for one key more than a hundred: two are refused, and the owner is told how many there are. */
const ROOM = { PREKEYS_MAX: "101", PREKEYS_LOW: "0" };

/** Every one of many connections asks for the same user's prekeys, many times at once. */
async function askAtOnce(servers: readonly TestServer[], userId: string, times: number): Promise<Received[]> {
  await using clients = new AsyncDisposableStack();
  const askers = await Promise.all(Array.from({ length: CONNECTIONS }, async (_, i) => {
    const server = servers[i % servers.length];
    assert.ok(server);
    return clients.use(await RawClient.connect(server, newAddress()));
  }));
  const sent = askers.map((asker) => ({
    asker,
    sequences: numbersFrom(0, times).map(() => asker.send(requestPreKeys(userId))),
  }));
  return (await Promise.all(sent.map(({ asker, sequences }) => asker.answers(sequences)))).flat();
}

function requireHundredOnce(answers: readonly Received[]): void {
  const bundles: PreKeyBundle[] = answers.map((answer) => {
    assert.ok(answer.type === "prekey", JSON.stringify(answer));
    return answer.bundle;
  });
  const given = bundles.flatMap(({ preKey }) => preKey === null ? [] : [numberOf(preKey)]);
  assert.equal(bundles.length - given.length, answers.length - 100, "answers without a key");
  assert.deepEqual(given.toSorted((a, b) => a - b), numbersFrom(0, 100));
}

/** How many prekeys a device has: what a Register that does not fit is told. */
async function countPool(device: Device): Promise<number> {
  const tooMany = device.connection.register(keysOf(1, { preKeys: preKeys(2, 1_000) }));
  return Number(/has ([0-9]+) one-time prekeys/.exec(await refusal(108, tooMany))?.[1]);
}

Deno.test("1,000 requests over 20 connections share out 100 keys, each once, and the rest get none", async () => {
  await using server = await startServer();
  await using bob = await Device.join(server, { preKeys: HUNDRED });
  requireHundredOnce(await askAtOnce([server], bob.address.userId, 50));
});

Deno.test("1,000 requests to two servers share out 100 keys, each once", async () => {
  using kv = await Deno.openKv(":memory:");
  await using a = await startServer({}, { kv });
  await using b = await startServer({}, { kv });
  await using bob = await Device.join(a, { preKeys: HUNDRED });
  requireHundredOnce(await askAtOnce([a, b], bob.address.userId, 50));
});

Deno.test("two Registers of the same keys under way on one connection store each key once", async () => {
  await using server = await startServer(ROOM);
  for (let round = 0; round < 100; round++) {
    const owner = newAddress();
    await using raw = await RawClient.connect(server, owner);
    const register = registerMessage(keysOf(1, { preKeys: HUNDRED }));
    const answers = await raw.answers([raw.send(register), raw.send(register)]);
    assert.deepEqual(answers.map(({ type }) => type), ["ack", "ack"]);
    await using device = await Device.connect(server, owner);
    assert.equal(await countPool(device), 100, `round ${round}`);
  }
});

Deno.test("two Registers of the same keys at two servers at once store each key once", async () => {
  using kv = await Deno.openKv(":memory:");
  await using a = await startServer(ROOM, { kv });
  await using b = await startServer(ROOM, { kv });
  for (let round = 0; round < 100; round++) {
    const owner = newAddress();
    const register = registerMessage(keysOf(1, { preKeys: HUNDRED }));
    await using atA = await RawClient.connect(a, owner);
    await using atB = await RawClient.connect(b, owner);
    // One of them takes the address over; what the other one had sent before may or may not be carried out.
    atA.send(register);
    atB.send(register);
    await atB.answer(1);
    await using device = await Device.connect(b, owner);
    await device.connection.register(keysOf(1, { preKeys: HUNDRED }));
    assert.equal(await countPool(device), 100, `round ${round}`);
  }
});

Deno.test("keys that are uploaded again while they are fetched leave at most once", async () => {
  await using server = await startServer();
  await using bob = await Device.join(server, { preKeys: HUNDRED });
  await using uploads = new Background(() => bob.connection.register(keysOf(1, { preKeys: HUNDRED })));
  const answers = await askAtOnce([server], bob.address.userId, 10);
  await uploads.stop();
  requireHundredOnce(answers);
});

Deno.test("a device that is removed and registered while it is fetched is whole or left out", async () => {
  await using server = await startServer();
  await using bob = await Device.join(server);
  const { userId } = bob.address;
  let n = 1;
  await using changes = new Background(async () => {
    await bob.connection.unregister();
    n++;
    const keys = { signedPreKey: Uint8Array.of(2, n & 0xff), identityKey: Uint8Array.of(1, n & 0xff) };
    await bob.connection.register(keysOf(n, keys));
  });
  const answers = await askAtOnce([server], userId, 10);
  await changes.stop();
  for (const answer of answers) {
    if (answer.type === "prekey") {
      const { registrationId, identityKey, signedPreKey } = answer.bundle;
      assert.deepEqual([identityKey[1], signedPreKey[1]], [registrationId & 0xff, registrationId & 0xff]);
    } else if (answer.type === "error") assert.equal(answer.code, 101);
    else assert.equal(answer.type, "ack");
  }
});
