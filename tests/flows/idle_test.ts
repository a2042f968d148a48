/** Connections on which nobody says anything, behind a proxy that closes those on which nothing passes. */
import assert from "node:assert/strict";
import { DEFAULTS } from "../../lib/limits.ts";
import { eventually } from "../support/eventually.ts";
import { joinRaw, numbersAt, sendNumbers } from "../support/raw_messages.ts";
import { startServer } from "../support/server.ts";
import { TcpProxy } from "../support/tcp_proxy.ts";

/** What proxies take for idle is seldom less. */
const USUAL_PROXY_MS = 60_000;

/** In the proportions of the defaults, a tenth of the time and less. */
const PROXY_MS = 5_000;
const OFTEN = { IDLE_PING: "2s" };
const SELDOM = { IDLE_PING: "300s" };

Deno.test("an idle client is pinged so often that a proxy does not take its connection for idle", async () => {
  await using server = await startServer(OFTEN);
  using proxy = new TcpProxy(server.url, PROXY_MS);
  await using client = await joinRaw(server, { url: proxy.url });
  // Only the proxy's clock could show it: there is none to be moved.
  await new Promise((resolve) => setTimeout(resolve, 2 * PROXY_MS));
  assert.equal(client.isClosed, false);
  await sendNumbers(client, client, [1]);
  await client.untilMessages(1);
  assert.deepEqual(numbersAt(client), [1]);
});

Deno.test("the same proxy ends a connection without pings, and what is sent then waits", async () => {
  await using server = await startServer(SELDOM);
  using proxy = new TcpProxy(server.url, PROXY_MS);
  await using client = await joinRaw(server, { url: proxy.url });
  await eventually("the end of the connection", () => client.isClosed, 4 * PROXY_MS);
  await eventually("that the server sees it", () => server.server.connectionCount === 0);
  await using again = await joinRaw(server);
  await sendNumbers(again, client, [1]);
});

Deno.test("by default pings come at least twice as often as proxies close", () => {
  assert.ok(DEFAULTS.idlePingMs * 2 <= USUAL_PROXY_MS);
});
