/** What is served beside the connections: a word of welcome, health, metrics. */
import assert from "node:assert/strict";
import { Device, refusal } from "../support/device.ts";
import { connectRaw } from "../support/raw_messages.ts";
import { startServer, type TestServer } from "../support/server.ts";

const TOKEN = "a token for metrics";

async function get(
  server: TestServer,
  path: string,
  headers: Record<string, string> = {},
): Promise<{ status: number; body: string; type: string }> {
  const response = await fetch(`${server.httpUrl}${path}`, { headers });
  const body = await response.text();
  return { status: response.status, body, type: response.headers.get("content-type") ?? "" };
}

Deno.test("GET / tells what this is, and the health routes answer ok", async () => {
  await using server = await startServer();
  const { status, body, type } = await get(server, "/");
  assert.equal(status, 200);
  assert.match(type, /^text\/plain/);
  assert.match(body, /messaging-server/);
  assert.deepEqual(await get(server, "/healthz"), { status: 200, body: "ok\n", type });
  assert.deepEqual(await get(server, "/readyz"), { status: 200, body: "ok\n", type });
});

Deno.test("HEAD is answered like GET, and other methods are not taken", async () => {
  await using server = await startServer();
  for (const path of ["/", "/healthz", "/readyz", "/metrics"]) {
    const head = await fetch(`${server.httpUrl}${path}`, { method: "HEAD" });
    assert.deepEqual([head.status, await head.text()], [200, ""], path);
    const post = await fetch(`${server.httpUrl}${path}`, { method: "POST", body: "x" });
    await post.body?.cancel();
    assert.equal(post.status, 404, path);
  }
});

Deno.test("/metrics counts what happened", async () => {
  await using server = await startServer();
  await using bob = await Device.join(server);
  await bob.send(bob.address, 1);
  await bob.untilNumbers([1]);
  await bob.connection.requestPreKeys(bob.address.userId);
  await refusal(101, bob.connection.requestPreKeys(crypto.randomUUID()));
  await get(server, "/a/b");
  const { status, body, type } = await get(server, "/metrics");
  assert.equal(status, 200);
  assert.match(type, /^text\/plain; version=0\.0\.4/);
  for (
    const line of [
      "messaging_connections 1",
      "messaging_connections_opened_total 1",
      "messaging_registrations_total 1",
      "messaging_messages_accepted_total 1",
      "messaging_messages_delivered_total 1",
      "messaging_messages_acknowledged_total 1",
      "messaging_pre_keys_taken_total 1",
      'messaging_errors_total{name="unknown_user"} 1',
      'messaging_upgrades_refused_total{status="400"} 1',
    ]
  ) assert.ok(body.split("\n").includes(line), `${line} in\n${body}`);
});

Deno.test("without METRICS_TOKEN only this machine reads the metrics, and nobody through a proxy", async () => {
  await using server = await startServer();
  assert.equal((await get(server, "/metrics")).status, 200);
  assert.equal((await get(server, "/metrics", { "x-forwarded-for": "203.0.113.7" })).status, 403);
  assert.equal((await get(server, "/metrics", { "forwarded": "for=203.0.113.7" })).status, 403);
});

Deno.test("with METRICS_TOKEN the token opens the metrics from anywhere, and nothing else does", async () => {
  await using server = await startServer({ METRICS_TOKEN: TOKEN });
  const authorization = `Bearer ${TOKEN}`;
  assert.equal((await get(server, "/metrics", { authorization })).status, 200);
  const forwarded = { authorization, "x-forwarded-for": "203.0.113.7" };
  assert.equal((await get(server, "/metrics", forwarded)).status, 200);
  assert.equal((await get(server, "/metrics")).status, 401);
  for (const wrong of ["Bearer ", `Bearer ${TOKEN}x`, TOKEN, `Bearer ${TOKEN.toUpperCase()}`]) {
    assert.equal((await get(server, "/metrics", { authorization: wrong })).status, 401, wrong);
  }
});

Deno.test("no metric names a user", async () => {
  await using server = await startServer();
  await using bob = await Device.join(server);
  await bob.send(bob.address, 1);
  const { body } = await get(server, "/metrics");
  assert.ok(!body.includes(bob.address.userId));
});

Deno.test("while the server stops /readyz answers 503, and /healthz still ok", async () => {
  await using server = await startServer();
  await using stalled = await connectRaw(server, { isStalled: true, isSilent: true });
  const drained = server.server.drain(); // takes a while, since that peer answers nothing
  const { status, body } = await get(server, "/readyz");
  assert.equal(status, 503);
  assert.deepEqual(Object.keys(JSON.parse(body)), ["error", "message"]);
  assert.equal((await get(server, "/healthz")).status, 200);
  stalled.cut();
  await drained;
});
