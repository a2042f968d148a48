/**
 * Tests of staying connected: when to connect again, after which wait, and how to stop.
 * @module
 */
import assert from "node:assert/strict";
import fc from "../support/fast_check.ts";
import { type Connection, reconnectDelayMs, stayConnected } from "../../lib/client/mod.ts";
import { eventually } from "../support/eventually.ts";
import { ScriptedServer } from "./scripted_server.ts";

const USER = crypto.randomUUID();

/** Distinguishes the timers of requests from the waits between connections. */
const DEADLINE_MS = 54_321;

/** Notes how long the waits between connections would be, and makes each of them end at once. */
class Waits implements Disposable {
  readonly waits: number[] = [];
  readonly #setTimeout = globalThis.setTimeout;

  constructor() {
    const { waits } = this;
    const machine = this.#setTimeout;
    Object.assign(globalThis, {
      setTimeout(callback: () => void, delayMs = 0) {
        if (delayMs < 200 || delayMs === DEADLINE_MS) return machine(callback, delayMs);
        waits.push(delayMs);
        return machine(callback, 0);
      },
    });
  }

  [Symbol.dispose](): void {
    Object.assign(globalThis, { setTimeout: this.#setTimeout });
  }
}

/** Stays connected to a server; tells when that is over. */
function stay(
  server: ScriptedServer,
  signal: AbortSignal,
  connected: (connection: Connection) => void = () => {},
) {
  const options = { url: server.url, userId: USER, deviceId: 1, deadlineMs: DEADLINE_MS };
  const state = { isOver: false };
  const end = stayConnected(options, connected, signal).finally(() => state.isOver = true);
  return { end, state };
}

Deno.test("reconnectDelayMs() doubles up to a minute, and lies in the upper half", () => {
  fc.assert(fc.property(fc.integer({ min: 1, max: 5_000 }), (attempt) => {
    const most = Math.min(60_000, 500 * 2 ** (attempt - 1));
    const delay = reconnectDelayMs(attempt);
    assert.ok(delay >= most / 2 && delay <= most, `${delay} of ${most}`);
  }));
});

Deno.test("reconnectDelayMs() is not the same for two clients", () => {
  const delays = new Set(Array.from({ length: 100 }, () => reconnectDelayMs(10)));
  assert.ok(delays.size > 90);
});

for (const code of [1001, 1011, 4408, 4429]) {
  Deno.test(`stayConnected() connects again after ${code}`, async () => {
    using _waits = new Waits();
    await using server = new ScriptedServer();
    server.onPeer = (peer, count) => peer.close(count < 3 ? code : 4409);
    let connections = 0;
    const { end } = stay(server, new AbortController().signal, () => connections++);
    assert.equal((await end).code, 4409);
    assert.equal(connections, 3);
  });
}

for (const code of [1000, 4401, 4409]) {
  Deno.test(`stayConnected() ends after ${code}, and tells why`, async () => {
    using waits = new Waits();
    await using server = new ScriptedServer();
    server.onPeer = (peer) => peer.close(code, "so it is");
    const { end } = stay(server, new AbortController().signal);
    assert.deepEqual(await end, { code, reason: "so it is" });
    assert.deepEqual([server.peers.length, waits.waits], [1, []]);
  });
}

Deno.test("stayConnected() waits longer each time that it can't connect", async () => {
  using waits = new Waits();
  await using server = new ScriptedServer();
  server.onRequest = (count) => Promise.resolve(count < 6 ? new Response("no", { status: 503 }) : null);
  server.onPeer = (peer) => peer.close(1000);
  await stay(server, new AbortController().signal).end;
  assert.equal(waits.waits.length, 5);
  waits.waits.reduce((before, wait) => (assert.ok(wait >= before, `${waits.waits}`), wait));
  assert.ok((waits.waits.at(-1) ?? 0) > 2 * (waits.waits[0] ?? 0));
});

// Protocol §7 and §9: after 1011 with growing delays; they begin anew once a connection has lasted a minute.
Deno.test("stayConnected() waits longer each time that a connection ends as soon as it is open", async () => {
  using waits = new Waits();
  await using server = new ScriptedServer();
  server.onPeer = (peer, count) => peer.close(count < 6 ? 1011 : 1000);
  await stay(server, new AbortController().signal).end;
  assert.equal(waits.waits.length, 5);
  assert.ok((waits.waits.at(-1) ?? 0) > 2 * (waits.waits[0] ?? 0), `${waits.waits}`);
});

Deno.test("stayConnected() does not wait longer and longer for servers that stop in order", async () => {
  using waits = new Waits();
  await using server = new ScriptedServer();
  server.onPeer = (peer, count) => peer.close(count < 6 ? 1001 : 1000);
  await stay(server, new AbortController().signal).end;
  assert.deepEqual([waits.waits.length, waits.waits.filter((wait) => wait > 500)], [5, []]);
});

Deno.test("stayConnected() closes its connection when it is aborted", async () => {
  await using server = new ScriptedServer();
  const aborted = new AbortController();
  const { end } = stay(server, aborted.signal, () => aborted.abort());
  assert.equal((await end).code, 1000);
  assert.equal((await server.peers[0]?.closed)?.code, 1000);
});

Deno.test("stayConnected() that is aborted while it waits ends at once", async () => {
  await using server = new ScriptedServer();
  server.onRequest = () => Promise.resolve(new Response("no", { status: 503 }));
  const aborted = new AbortController();
  const { end, state } = stay(server, aborted.signal);
  await eventually("it was refused", () => server.requests === 1);
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(state.isOver, false);
  aborted.abort();
  await end;
  assert.equal(server.requests, 1);
});

Deno.test("stayConnected() that is aborted while it connects leaves no connection behind", async () => {
  await using server = new ScriptedServer();
  const opened = Promise.withResolvers<null>();
  server.onRequest = () => opened.promise;
  const aborted = new AbortController();
  let connection: Connection | undefined;
  const { state } = stay(server, aborted.signal, (opened) => connection = opened);
  await eventually("the request is there", () => server.requests === 1);
  aborted.abort();
  opened.resolve(null);
  await eventually("it connects", () => server.peers.length === 1);
  try {
    await eventually("it ends", () => state.isOver, 1_000);
  } finally {
    await connection?.close();
  }
});

Deno.test("stayConnected() that is aborted while it fails to connect ends without a wait", async () => {
  await using server = new ScriptedServer();
  const refused = Promise.withResolvers<Response>();
  server.onRequest = () => refused.promise;
  const aborted = new AbortController();
  const { end } = stay(server, aborted.signal);
  await eventually("the request is there", () => server.requests === 1);
  using waits = new Waits();
  aborted.abort();
  refused.resolve(new Response("no", { status: 503 }));
  await end;
  assert.deepEqual(waits.waits, []);
});

Deno.test("stayConnected() that was aborted before does not connect", async () => {
  await using server = new ScriptedServer();
  const { end } = stay(server, AbortSignal.abort());
  assert.equal((await end).code, 1006);
  assert.equal(server.requests, 0);
});
