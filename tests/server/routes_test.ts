/**
 * Tests of what is served beside the connections, and of refusals as HTTP answers.
 * @module
 */
import assert from "node:assert/strict";
import { loadConfig } from "../../lib/config.ts";
import { Metrics } from "../../lib/metrics.ts";
import { Refusal, REFUSALS } from "../../lib/server/refusal.ts";
import { serveRoute } from "../../lib/server/routes.ts";

interface Asked {
  readonly path: string;
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly remoteHost?: string | null;
  readonly settings?: Readonly<Record<string, string>>;
  readonly isDraining?: boolean;
  readonly storage?: () => Promise<boolean>;
  readonly metrics?: Metrics;
}

/** The answer to a request; a refusal is the status and the reason. */
async function ask(asked: Asked): Promise<{ status: number; body: string; type: string | null } | null> {
  const { path, method = "GET", headers = {}, remoteHost = "127.0.0.1", settings = {} } = asked;
  const status = {
    isDraining: asked.isDraining ?? false,
    checkStorage: asked.storage ?? (() => Promise.resolve(true)),
  };
  const context = { config: loadConfig(settings), metrics: asked.metrics ?? new Metrics(), status };
  const request = new Request(`http://localhost${path}`, { method, headers });
  try {
    const response = await serveRoute(request, remoteHost, context);
    if (response === null) return null;
    assert.equal(response.headers.get("cache-control"), "no-store");
    return {
      status: response.status,
      body: await response.text(),
      type: response.headers.get("content-type"),
    };
  } catch (error) {
    assert.ok(error instanceof Refusal);
    return { status: error.status, body: error.reason, type: null };
  }
}

Deno.test("/ tells a person what this is", async () => {
  const answer = await ask({ path: "/" });
  assert.equal(answer?.status, 200);
  assert.match(answer.body, /messaging-server [0-9]+\.[0-9]+\.[0-9]+[\s\S]*\/healthz/);
});

Deno.test("/healthz is well as long as the process lives", async () => {
  const storage = () => Promise.reject(new Error("not to be asked"));
  assert.equal((await ask({ path: "/healthz", isDraining: true, storage }))?.status, 200);
});

Deno.test("/readyz is ready when storage answers, and not while the server stops", async () => {
  const statuses = await Promise.all([
    ask({ path: "/readyz" }),
    ask({ path: "/readyz", storage: () => Promise.resolve(false) }),
    ask({ path: "/readyz", isDraining: true }),
  ]);
  assert.deepEqual(statuses.map((answer) => [answer?.status, answer?.body]), [
    [200, "ok\n"],
    [503, "unavailable"],
    [503, "draining"],
  ]);
});

const TOKEN = "0123456789abcdef";
const METRICS: readonly (readonly [what: string, status: number, asked: Omit<Asked, "path">])[] = [
  ["this machine", 200, {}],
  ["this machine by IPv6", 200, { remoteHost: "::1" }],
  ["this machine by IPv4, on a socket for IPv6", 200, { remoteHost: "::ffff:127.0.0.1" }],
  ["another machine by IPv4, on a socket for IPv6", 403, { remoteHost: "::ffff:10.0.0.5" }],
  ["another machine", 403, { remoteHost: "10.0.0.5" }],
  ["who knows where", 403, { remoteHost: null }],
  ["a proxy on this machine", 403, { headers: { "x-forwarded-for": "10.0.0.5" } }],
  ["another proxy on this machine", 403, { headers: { forwarded: "for=10.0.0.5" } }],
  ["another machine with the token", 200, {
    remoteHost: "10.0.0.5",
    settings: { METRICS_TOKEN: TOKEN },
    headers: { authorization: `Bearer ${TOKEN}` },
  }],
  ["this machine without the token", 401, { settings: { METRICS_TOKEN: TOKEN } }],
  ["another token of that length", 401, {
    settings: { METRICS_TOKEN: TOKEN },
    headers: { authorization: `Bearer ${TOKEN.slice(1)}x` },
  }],
  ["a part of the token", 401, {
    settings: { METRICS_TOKEN: TOKEN },
    headers: { authorization: `Bearer ${TOKEN.slice(1)}` },
  }],
];

for (const [what, status, asked] of METRICS) {
  Deno.test(`/metrics answers ${status} to ${what}`, async () => {
    assert.equal((await ask({ path: "/metrics", ...asked }))?.status, status);
  });
}

Deno.test("/metrics shows what was counted", async () => {
  const metrics = new Metrics({ connections: { help: "Open connections", value: () => 3 } });
  metrics.counts.messagesAccepted = 7;
  Metrics.count(metrics.errors, "mailbox_full");
  Metrics.count(metrics.closes, 4409);
  Metrics.count(metrics.refusals, 401);
  metrics.commitSeconds.observe(0.01);
  const { body = "", type } = await ask({ path: "/metrics", metrics }) ?? {};
  assert.match(type ?? "", /^text\/plain; version=0\.0\.4/);
  for (
    const line of [
      "messaging_connections 3",
      "messaging_messages_accepted_total 7",
      'messaging_errors_total{name="mailbox_full"} 1',
      'messaging_closes_total{code="4409"} 1',
      'messaging_upgrades_refused_total{status="401"} 1',
      "messaging_commit_seconds_count 1",
    ]
  ) assert.ok(body.split("\n").includes(line), line);
  const again = await ask({ path: "/metrics", metrics });
  assert.match(again?.body ?? "", /messages_accepted_total 7\n/, "a look counts nothing");
});

Deno.test("serveRoute() leaves every other request to the connections", async () => {
  for (const path of ["/x/1", "/healthz/", "/metrics/1", "//"]) assert.equal(await ask({ path }), null, path);
  for (const method of ["POST", "DELETE"]) {
    assert.equal(await ask({ path: "/healthz", method }), null, method);
  }
  assert.equal((await ask({ path: "/healthz", method: "HEAD" }))?.status, 200);
});

for (const [reason, status] of Object.entries(REFUSALS)) {
  Deno.test(`Refusal ${reason} is ${status}, with a line of JSON`, async () => {
    const response = new Refusal(reason as keyof typeof REFUSALS, 'a "sentence"', 7).toResponse();
    assert.equal(response.status, status);
    assert.equal(response.headers.get("content-type"), "application/json");
    assert.equal(response.headers.get("retry-after"), "7");
    const body = await response.text();
    assert.equal(body.indexOf("\n"), body.length - 1, "one line");
    assert.deepEqual(JSON.parse(body), { error: reason, message: 'a "sentence"' });
  });
}

Deno.test("Refusal has the headers that RFC 9110 asks for", () => {
  const { headers } = new Refusal("unauthorized", "").toResponse();
  assert.match(headers.get("www-authenticate") ?? "", /^Bearer /);
  assert.equal(headers.get("retry-after"), null);
  const upgrade = new Refusal("upgrade_required", "").toResponse().headers;
  assert.deepEqual([upgrade.get("upgrade"), upgrade.get("sec-websocket-version")], ["websocket", "13"]);
});
