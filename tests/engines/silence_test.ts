/** With WS_ENGINE=ws nobody holds a socket of the server by saying nothing: not in a request, not at a close. */
import assert from "node:assert/strict";
import { eventually } from "../support/eventually.ts";
import { handshake, requestText } from "../support/handshake.ts";
import { ProcessServer } from "../support/process_server.ts";
import { signTestToken } from "../support/server.ts";

const WS = { WS_ENGINE: "ws" };

/** Far more than any of the times that are tested, on a machine that is busy. */
const DEADLINE_MS = 45_000;

const SILENT = 20;

/** How many sockets the process has open. */
async function socketsOf({ pid }: ProcessServer): Promise<number> {
  let count = 0;
  for await (const { name } of Deno.readDir(`/proc/${pid}/fd`)) {
    const target = await Deno.readLink(`/proc/${pid}/fd/${name}`).catch(() => "");
    if (target.startsWith("socket:")) count++;
  }
  return count;
}

async function untilSockets(server: ProcessServer, count: number): Promise<number> {
  const startedAt = performance.now();
  await eventually(`${count} sockets`, async () => await socketsOf(server) <= count, DEADLINE_MS);
  return performance.now() - startedAt;
}

/** Connects, says this, and never anything more; nor does it read or hang up. */
async function say(server: ProcessServer, text: string): Promise<Deno.TcpConn> {
  const { hostname, port } = new URL(server.url);
  const conn = await Deno.connect({ hostname, port: Number(port) });
  await conn.write(new TextEncoder().encode(text));
  return conn;
}

Deno.test("requests that are never finished are given up, and their sockets closed", async () => {
  await using server = await ProcessServer.start(WS);
  const before = await socketsOf(server);
  const request = requestText("x", `/${crypto.randomUUID()}/1`, {});
  const parts = [
    "",
    "G",
    request.slice(0, 40),
    request.slice(0, -2),
    "POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nx",
  ];
  using held = new DisposableStack();
  for (const part of parts) held.use(await say(server, part));
  await eventually("they are connected", async () => await socketsOf(server) > before);
  await untilSockets(server, before);
  assert.equal(await fetch(`${server.httpUrl}/healthz`).then((answer) => answer.text()), "ok\n");
});

Deno.test("a peer that is refused and does not hang up loses its socket", async () => {
  await using server = await ProcessServer.start(WS);
  const before = await socketsOf(server);
  using held = new DisposableStack();
  for (let i = 0; i < SILENT; i++) {
    held.use(await say(server, requestText("x", `/${crypto.randomUUID()}/1`, {})));
  }
  await eventually("they are refused", async () => {
    const metrics = await (await fetch(`${server.httpUrl}/metrics`)).text();
    return metrics.includes(`messaging_upgrades_refused_total{status="401"} ${SILENT}`);
  });
  await untilSockets(server, before);
});

Deno.test("a peer that does not answer a close is gone five seconds after it, socket and all", async () => {
  await using server = await ProcessServer.start(WS);
  const before = await socketsOf(server);
  const userId = crypto.randomUUID();
  const headers = { authorization: `Bearer ${await signTestToken(userId)}` };
  using held = new DisposableStack();
  // Each takes the place of the one before it; none of them reads, answers or hangs up.
  for (let i = 0; i < SILENT; i++) {
    const { upgraded, status } = await handshake(server.url, `/${userId}/1`, { headers });
    assert.ok(upgraded, `refused with ${status}`);
    held.use(upgraded.conn);
  }
  assert.ok(await socketsOf(server) > before + SILENT / 2);
  const elapsedMs = await untilSockets(server, before + 1); // the last one is not closed
  assert.ok(elapsedMs > 1_000, "they were cut before they could answer");
  const metrics = await (await fetch(`${server.httpUrl}/metrics`)).text();
  assert.match(metrics, /^messaging_connections 1$/m);
});
