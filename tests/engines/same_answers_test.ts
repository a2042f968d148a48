/** Both engines answer the same to whatever is asked: what is refused, how, and in which order is decided once. */
import assert from "node:assert/strict";
import { handshake, type HandshakeOptions } from "../support/handshake.ts";
import { startServer, type TestServer } from "../support/server.ts";

const USER = "3f0c7e0a-91d4-4b6e-8a57-2d1c9e6f7b10";
const PATH = `/${USER}/1`;

/** Headers that are for the protocol or the client to read; the others are the engine's own affair. */
const HEADERS = [
  "content-type",
  "cache-control",
  "retry-after",
  "www-authenticate",
  "sec-websocket-version",
  "sec-websocket-protocol",
  "sec-websocket-extensions",
] as const;

/** No upgrade, or a bad one, or one that is taken. `TOKEN` stands for a good token of the user. */
const REQUESTS: readonly (readonly [path: string, options?: HandshakeOptions])[] = [
  ...[
    "/",
    "/healthz",
    "/readyz",
    "/a",
    "/a/b/c",
    "//1",
    `/${USER}`,
    `/${USER}//`,
    `${PATH}//`,
    `${PATH}?x=/y`,
  ]
    .map((path) => [path] as const),
  ...[
    "/bob/1",
    `/${USER}0/1`,
    `/${USER}/x`,
    `/${USER}/-1`,
    `/${USER}/01`,
    `/${USER}/4294967296`,
    `/${USER}/%31`,
  ]
    .map((path) => [path] as const),
  [`http://other.example${PATH}`],
  [PATH, { method: "POST" }],
  [PATH, { method: "OPTIONS" }],
  ["/healthz", { method: "POST" }],
  [PATH, { headers: { upgrade: null, connection: null } }],
  [PATH, { headers: { upgrade: "h2c" } }],
  [PATH, { headers: { upgrade: "websocket, h2c" } }],
  [PATH, { headers: { upgrade: "WebSocket", connection: "keep-alive, UPGRADE", authorization: "TOKEN" } }],
  [PATH, { headers: { upgrade: "h2c, websocket", authorization: "TOKEN" } }],
  [PATH, { headers: { connection: "keep-alive" } }],
  [PATH, { headers: { "sec-websocket-version": "12" } }],
  [PATH, { headers: { "sec-websocket-version": "8" } }],
  [PATH, { headers: { "sec-websocket-version": null } }],
  [PATH, { headers: { "sec-websocket-key": null } }],
  [PATH, { headers: { "sec-websocket-key": "short" } }],
  [PATH, { headers: { "sec-websocket-protocol": "messaging.v9" } }],
  [PATH, { headers: { "sec-websocket-protocol": "messaging.v1,messaging.v2", authorization: "TOKEN" } }],
  [PATH, { headers: { "sec-websocket-protocol": "messaging.v1, messaging.v1", authorization: "TOKEN" } }],
  [PATH, { headers: { "sec-websocket-protocol": ",,messaging.v2 ,", authorization: "TOKEN" } }],
  [PATH, { headers: { "sec-websocket-protocol": "a b;c", authorization: "TOKEN" } }],
  [PATH, { headers: { "sec-websocket-protocol": Array(40).fill("x").join(",") } }],
  [PATH, { headers: { "sec-websocket-extensions": "permessage-deflate", authorization: "TOKEN" } }],
  [PATH, { headers: { "sec-websocket-extensions": "=;=", authorization: "TOKEN" } }],
  [PATH, { headers: { host: null, authorization: "TOKEN" } }],
  [PATH, { headers: { authorization: "Bearer nonsense" } }],
  [PATH, { headers: { authorization: "Basic YTpi" } }],
  [PATH, { headers: { authorization: "TOKEN" } }],
  [`/${USER}/2`, { headers: { authorization: "DEVICE TOKEN" } }],
  [`/${crypto.randomUUID()}/1`, { headers: { authorization: "TOKEN" } }],
  ["/metrics", { headers: { "x-forwarded-for": "203.0.113.7" } }],
];

/** What a client can learn from the answer. */
async function ask(server: TestServer, path: string, options: HandshakeOptions = {}): Promise<unknown> {
  const headers: Record<string, string | null> = { ...options.headers };
  if (headers["authorization"] === "TOKEN") headers["authorization"] = `Bearer ${await server.token(USER)}`;
  if (headers["authorization"] === "DEVICE TOKEN") {
    headers["authorization"] = `Bearer ${await server.token(USER, 1)}`;
  }
  const answer = await handshake(server.url, path, { ...options, headers });
  answer.upgraded?.conn.close();
  const told = HEADERS.map((name) => [name, answer.headers.get(name)]);
  return { status: answer.status, body: answer.body, ...Object.fromEntries(told) };
}

Deno.test("both engines answer the same to requests that are good, bad, or no upgrades at all", async () => {
  await using deno = await startServer({ WS_ENGINE: "deno" });
  await using ws = await startServer({ WS_ENGINE: "ws" });
  const statuses = new Set<unknown>();
  for (const [path, options] of REQUESTS) {
    const [expected, found] = [await ask(deno, path, options), await ask(ws, path, options)];
    assert.deepEqual(found, expected, `${path} ${Deno.inspect(options)}`);
    statuses.add((expected as { status: number }).status);
  }
  assert.deepEqual([...statuses].toSorted(), [101, 200, 400, 401, 403, 404, 426]);
});
