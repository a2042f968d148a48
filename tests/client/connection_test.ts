/**
 * Tests of one connection of a client: which answer belongs to which request, and which message is acknowledged.
 * @module
 */
import assert from "node:assert/strict";
import { Connection, type ConnectionOptions } from "../../lib/client/mod.ts";
import { encodeEnvelope, type Envelope, type ServerMessage, TYPE, v1 } from "../../lib/protocol/mod.ts";
import { handshakeServer } from "./silent_server.ts";
import { eventually } from "../support/eventually.ts";
import { ScriptedPeer, ScriptedServer } from "./scripted_server.ts";

const USER = crypto.randomUUID();
const BOB = { userId: crypto.randomUUID(), deviceId: 2 };

const messageOf = (n: number): ServerMessage => ({
  type: "user_message",
  message: { from: BOB, messageId: new Uint8Array(16), timestamp: 0, ciphertext: Uint8Array.of(n) },
});

/** A client and the server's end of its connection. */
class Pair implements AsyncDisposable {
  private constructor(
    readonly server: ScriptedServer,
    readonly peer: ScriptedPeer,
    readonly connection: Connection,
  ) {}

  static async open(options: Partial<ConnectionOptions> = {}): Promise<Pair> {
    const server = new ScriptedServer();
    const connection = await Connection.connect({ url: server.url, userId: USER, deviceId: 1, ...options });
    await eventually("the server has it", () => server.peers.length === 1);
    const [peer] = server.peers;
    assert.ok(peer);
    return new Pair(server, peer, connection);
  }

  /** Waits until the client has sent so many envelopes. */
  async received(count: number): Promise<Envelope[]> {
    await eventually(`${count} envelopes`, () => this.peer.received.length >= count);
    return this.peer.received;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.peer.close(1000);
    await this.connection.closed;
    await this.server[Symbol.asyncDispose]();
  }
}

Deno.test("connect() names its address, its version and its token", async () => {
  await using pair = await Pair.open({ token: "t.o.k" });
  assert.equal(pair.peer.path, `/${USER}/1`);
  assert.deepEqual(pair.peer.protocols.split(/, */), ["messaging.v2", "messaging.v1", "bearer.t.o.k"]);
});

Deno.test("connect() fails when the server refuses, or does not answer in time", async () => {
  await using server = new ScriptedServer();
  server.onRequest = () => Promise.resolve(new Response("no", { status: 401 }));
  const options = { url: server.url, userId: USER, deviceId: 1, deadlineMs: 100 };
  await assert.rejects(Connection.connect(options), { name: "DisconnectedError", code: 1006 });
  const { promise, resolve } = Promise.withResolvers<Response>();
  server.onRequest = () => promise;
  await assert.rejects(Connection.connect(options), { name: "DisconnectedError", code: 1006 });
  resolve(new Response("late"));
});

Deno.test("requests get their own answers, in whatever order they come", async () => {
  await using pair = await Pair.open();
  const sends = [1, 2, 3].map((n) => pair.connection.send(BOB, Uint8Array.of(n)));
  const [first, second, third] = await pair.received(3);
  assert.deepEqual([first?.sequence, second?.sequence, third?.sequence], [1, 2, 3]);
  pair.peer.send({ type: "ack" }, 3);
  pair.peer.send({ type: "error", code: 106, description: "full" }, 2);
  pair.peer.send({ type: "ack" }, 77);
  pair.peer.send({ type: "ack" }, 1);
  await Promise.all([sends[0], sends[2]]);
  await assert.rejects(sends[1] ?? assert.fail(), { name: "ServerError", code: 106, description: "full" });
});

Deno.test("requestPreKeys() collects all PreKeys of the answer, or none", async () => {
  await using pair = await Pair.open();
  const bundle = { ...BOB, registrationId: 1, identityKey: Uint8Array.of(1), signedPreKey: Uint8Array.of(2) };
  pair.peer.onEnvelope = ({ sequence }) => {
    if (sequence === 1) pair.peer.send({ type: "ack" }, 1);
    else {
      pair.peer.send({ type: "prekey", bundle: { ...bundle, preKey: Uint8Array.of(3) }, more: 1 }, sequence);
      pair.peer.send({ type: "prekey", bundle: { ...bundle, deviceId: 5, preKey: null }, more: 0 }, sequence);
    }
  };
  assert.deepEqual(await pair.connection.requestPreKeys(BOB.userId, [9]), []);
  assert.deepEqual(
    v1.decodeClientMessage(TYPE.requestPreKeys, pair.peer.received[0]?.payload ?? new Uint8Array()),
    {
      type: "request_prekeys",
      request: { userId: BOB.userId, knownDeviceIds: [9] },
    },
  );
  const bundles = await pair.connection.requestPreKeys(BOB.userId);
  assert.deepEqual(bundles.map(({ deviceId, preKey }) => [deviceId, preKey]), [[2, Uint8Array.of(3)], [
    5,
    null,
  ]]);
});

Deno.test("requests that are not answered fail at the deadline, or when the connection ends", async () => {
  await using pair = await Pair.open({ deadlineMs: 50 });
  await assert.rejects(pair.connection.unregister(), { name: "DisconnectedError", code: 1006 });
  const under = pair.connection.send(BOB, new Uint8Array());
  await pair.received(2);
  pair.peer.close(4409, "replaced");
  await assert.rejects(under, { name: "DisconnectedError", code: 4409, reason: "replaced" });
  assert.deepEqual(await pair.connection.closed, { code: 4409, reason: "replaced" });
  await assert.rejects(pair.connection.unregister(), { name: "DisconnectedError" });
});

Deno.test("messages are dealt with one after the other, and acknowledged when that is done", async () => {
  const under: PromiseWithResolvers<void>[] = [];
  const begun: number[] = [];
  const onMessage = ({ ciphertext }: { ciphertext: Uint8Array }) => {
    begun.push(ciphertext[0] ?? 0);
    const one = Promise.withResolvers<void>();
    under.push(one);
    return one.promise;
  };
  await using pair = await Pair.open({ onMessage });
  for (const n of [1, 2, 3]) pair.peer.send(messageOf(n), 0x8000_0000 + n);
  await eventually("the first is there", () => begun.length === 1);
  assert.deepEqual(pair.peer.received, []);
  under[0]?.resolve();
  const [ack] = await pair.received(1);
  assert.deepEqual([ack?.type, ack?.sequence], [TYPE.ack, 0x8000_0001]);
  await eventually("the second is there", () => begun.length === 2);
  under[1]?.reject(new Error("the disk is full"));
  await eventually("the third is there", () => begun.length === 3);
  under[2]?.resolve();
  const acks = await pair.received(2);
  assert.deepEqual(acks.map(({ sequence }) => sequence), [0x8000_0001, 0x8000_0003], "2 stays on the server");
});

Deno.test("PreKeysLow is acknowledged and told", async () => {
  const wanted: number[] = [];
  await using pair = await Pair.open({ onPreKeysLow: (count) => wanted.push(count) });
  pair.peer.send({ type: "prekeys_low", wanted: 20 }, 0x8000_0001);
  const [ack] = await pair.received(1);
  assert.deepEqual([ack?.type, ack?.sequence, wanted], [TYPE.ack, 0x8000_0001, [20]]);
});

Deno.test("close() finishes the message that is being dealt with, and takes up no other", async () => {
  const begun: number[] = [];
  const first = Promise.withResolvers<void>();
  const onMessage = ({ ciphertext }: { ciphertext: Uint8Array }) => {
    begun.push(ciphertext[0] ?? 0);
    return first.promise;
  };
  await using pair = await Pair.open({ onMessage });
  for (const n of [1, 2]) pair.peer.send(messageOf(n), 0x8000_0000 + n);
  await eventually("the first is there", () => begun.length === 1);
  const closing = pair.connection.close();
  first.resolve();
  await closing;
  assert.equal((await pair.peer.closed).code, 1000);
  assert.deepEqual(begun, [1]);
  assert.deepEqual(pair.peer.received.map(({ sequence }) => sequence), [0x8000_0001]);
});

Deno.test("close() does not wait for ever for a server that is silent", async () => {
  await using silent = handshakeServer();
  const options = { url: silent.url, userId: USER, deviceId: 1, deadlineMs: 100 };
  const connection = await Connection.connect(options);
  let isOver = false;
  const closing = connection.close().then(() => isOver = true);
  try {
    await eventually("close() is over", () => isOver, 1_000);
  } finally {
    silent.hangUp();
    await closing;
  }
});

/** What a client must ignore, or at least survive (protocol §3). */
const STRANGE: Readonly<Record<string, Uint8Array<ArrayBuffer>>> = {
  "a type that it does not know": encodeEnvelope(1, 0x8000_0001, 99, Uint8Array.of(1)),
  "a payload that it can't read": encodeEnvelope(1, 0x8000_0001, TYPE.userMessage, Uint8Array.of(1)),
  "an answer that it can't read": encodeEnvelope(1, 5, TYPE.preKey, Uint8Array.of(0xc1)),
};

for (const [what, bytes] of Object.entries(STRANGE)) {
  Deno.test(`a connection survives ${what}`, async () => {
    const faults: unknown[] = [];
    const note = (event: ErrorEvent) => (event.preventDefault(), faults.push(event.error));
    globalThis.addEventListener("error", note);
    try {
      await using pair = await Pair.open();
      pair.peer.sendBytes(bytes);
      pair.peer.onEnvelope = ({ sequence }) => pair.peer.send({ type: "ack" }, sequence);
      await pair.connection.unregister();
      assert.deepEqual(faults, [], "nothing is thrown where nobody can catch it");
    } finally {
      globalThis.removeEventListener("error", note);
    }
  });
}
