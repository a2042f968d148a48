/** What two processes on a real denokv owe each other: sender and recipient are always on different ones. */
import assert from "node:assert/strict";
import { ServerError } from "../../lib/client/mod.ts";
import { converse, Member } from "../process/member.ts";
import { keysOf, numbersFrom, preKeys } from "../support/device.ts";
import { eventually } from "../support/eventually.ts";
import { denokvTest, serverAt, type Shared } from "./servers.ts";

/** A recipient at one process and a sender at the other. */
async function apart(shared: Shared): Promise<{ alice: Member; bob: Member }> {
  const bob = await Member.join(serverAt(shared, 1).url);
  return { alice: await Member.connect(serverAt(shared, 0).url), bob };
}

/** The code of the Error that a request is answered with. */
async function codeOf(request: Promise<unknown>): Promise<number | null> {
  const error: unknown = await request.then(() => null, (reason) => reason);
  if (error !== null && !(error instanceof ServerError)) throw error;
  return error?.code ?? null;
}

denokvTest(
  "two processes serve each by itself, and each other's messages",
  { servers: 2 },
  async (shared) => {
    for (const { url } of shared.servers) await converse(url);
    const { alice, bob } = await apart(shared);
    await using _alice = alice;
    await using _bob = bob;
    await alice.send(bob.address, numbersFrom(0, 500));
    assert.deepEqual(await bob.received(500), numbersFrom(0, 500));
    for (let n = 500; n < 520; n++) {
      await alice.send(bob.address, [n]);
      await eventually(`message ${n} wakes its recipient`, () => bob.inbox.length === n + 1, 5_000);
    }
    assert.doesNotMatch(serverAt(shared, 0).log + serverAt(shared, 1).log, /incident|"level":"(ERROR|WARN)/);
  },
);

denokvTest(
  "a device that moves to another process takes its address along, again and again",
  { servers: 2 },
  async (shared) => {
    const { alice, bob } = await apart(shared);
    await using _alice = alice;
    const received = new Set<number>();
    let last = bob;
    for (let move = 0; move < 10; move++) {
      await alice.send(bob.address, [move]);
      const next = await Member.connect(serverAt(shared, move % 2).url, bob.address);
      assert.equal(await last.closeCode(), 4409);
      for (const n of last.inbox) received.add(n);
      last = next;
    }
    await alice.send(bob.address, [10]);
    await eventually("all of them", () => new Set([...received, ...last.inbox]).size === 11);
    await last.connection.close();
  },
);

denokvTest(
  "one-time prekeys asked for at both processes at once go out once each",
  { servers: 2 },
  async (shared) => {
    await using bob = await Member.connect(serverAt(shared, 0).url);
    await bob.connection.register(keysOf(1, { preKeys: preKeys(60) }));
    const requesters = await Promise.all(
      numbersFrom(0, 8).map((n) => Member.connect(serverAt(shared, n % 2).url)),
    );
    const asked = numbersFrom(0, 80).map((n) =>
      requesters[n % 8]?.connection.requestPreKeys(bob.address.userId)
    );
    const taken = (await Promise.all(asked)).flatMap((bundles) =>
      bundles?.map(({ preKey }) => preKey?.join()) ?? []
    );
    const keys = taken.filter((key) => key !== undefined);
    assert.equal(taken.length, 80);
    assert.deepEqual([keys.length, new Set(keys).size], [60, 60]);
    await Promise.all(requesters.map(({ connection }) => connection.close()));
  },
);

denokvTest("a send repeated at the other process is stored once", { servers: 2 }, async (shared) => {
  const { alice, bob } = await apart(shared);
  await using _bob = bob;
  const ciphertext = Uint8Array.of(0, 0, 0, 7);
  const ids = numbersFrom(0, 20).map(() => crypto.getRandomValues(new Uint8Array(16)));
  for (const messageId of ids) await alice.connection.send(bob.address, ciphertext, { messageId });
  await alice.connection.close();
  await using again = await Member.connect(serverAt(shared, 1).url, alice.address);
  for (const messageId of ids) {
    await again.connection.send(bob.address, ciphertext, { messageId, retry: true });
  }
  await again.send(bob.address, [8]);
  assert.deepEqual(await bob.received(21), [...ids.map(() => 7), 8]);
});

denokvTest("a mailbox that one process fills is full at the other", {
  servers: 2,
  settings: { MAILBOX_MESSAGES_MAX: "20" },
}, async (shared) => {
  const { alice, bob } = await apart(shared);
  await using _alice = alice;
  await bob.connection.close();
  await using carol = await Member.connect(serverAt(shared, 1).url);
  let stored = 0;
  for (let n = 0; n < 60; n++) {
    const code = await codeOf((n % 2 === 0 ? alice : carol).send(bob.address, [n]));
    if (code === null) stored++;
    else assert.equal(code, 106);
  }
  // A count that is a tenth of a second old lets a quarter of the room through at each process.
  assert.ok(stored >= 20 && stored <= 30, `${stored} stored`);
  await using again = await Member.connect(serverAt(shared, 0).url, bob.address);
  assert.equal((await again.received(stored)).length, stored);
});

denokvTest(
  "a user's budget holds at each process",
  { servers: 2, settings: { RATE_SENDS: "1/s:30" } },
  async (shared) => {
    const { alice, bob } = await apart(shared);
    await using _alice = alice;
    await using _bob = bob;
    await using other = await Member.connect(serverAt(shared, 1).url, {
      userId: alice.address.userId,
      deviceId: 2,
    });
    for (const member of [alice, other]) {
      const codes = await Promise.all(numbersFrom(0, 60).map((n) => codeOf(member.send(bob.address, [n]))));
      assert.ok(codes.filter((code) => code === 105).length >= 20, codes.join());
      assert.ok(codes.filter((code) => code === null).length >= 30, codes.join());
    }
  },
);

denokvTest(
  "a process that stops hands its devices over to the other with nothing lost",
  { servers: 2 },
  async (shared) => {
    const { alice, bob } = await apart(shared);
    await using _alice = alice;
    const sending = alice.send(bob.address, numbersFrom(0, 400));
    await bob.received(50);
    const stopped = await serverAt(shared, 1).stop();
    assert.equal(stopped.code, 0);
    assert.equal(await bob.closeCode(), 1001);
    await sending;
    const before = bob.inbox.length;
    await using again = await Member.connect(serverAt(shared, 0).url, bob.address);
    await again.received(400 - before);
    assert.deepEqual([...bob.inbox, ...again.inbox], numbersFrom(0, 400));
  },
);
