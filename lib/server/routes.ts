/**
 * What is served beside the connections: health, metrics, and a word to whoever looks in with a browser.
 * @module
 */
import { timingSafeEqual } from "node:crypto";
import { type Config, isLoopback } from "../config.ts";
import type { Metrics } from "../metrics.ts";
import { VERSION } from "../version.ts";
import type { Asked } from "./engine.ts";
import { Refusal } from "./refusal.ts";
import { readPath } from "./request_path.ts";

/** How long storage may take for the server to count as ready. */
export const READY_MS = 1_000;

/** Headers of which proxies set one or the other; one that sets none needs METRICS_TOKEN. */
const FORWARDED = ["x-forwarded-for", "x-forwarded-host", "x-real-ip", "forwarded", "via"] as const;

/** What the routes ask of the server. */
export interface Status {
  readonly isDraining: boolean;
  /** Resolves if storage answers; rejects, or takes too long, otherwise. */
  checkStorage(): Promise<boolean>;
}

const WELCOME = `messaging-server ${VERSION}

Stores and forwards end-to-end-encrypted messages, and hands out the keys that start them. It never sees a plaintext.

Connections:  WebSocket at /<userID>/<deviceID>, with a bearer token
Health:       /healthz (the process), /readyz (with its storage)
Metrics:      /metrics (from this machine, or with METRICS_TOKEN)

How to run it and how to write a client: README.md and lib/protocol/README.md in the server's source.
`;

function text(body: string, status = 200, type = "text/plain; charset=utf-8"): Response {
  return new Response(body, { status, headers: { "content-type": type, "cache-control": "no-store" } });
}

/** Serves what is not a connection, or `null` if the path is not one of these. */
export async function serveRoute(
  request: Asked,
  remoteHost: string | null,
  context: { readonly config: Config; readonly metrics: Metrics; readonly status: Status },
): Promise<Response | null> {
  const path = readPath(request);
  if (request.method !== "GET" && request.method !== "HEAD") return null;
  switch (path) {
    case "/":
      return text(WELCOME);
    case "/healthz":
      return text("ok\n");
    case "/readyz": {
      if (context.status.isDraining) throw new Refusal("draining", "the server is stopping");
      const isReady = await context.status.checkStorage();
      if (!isReady) throw new Refusal("unavailable", `storage did not answer within ${READY_MS} ms`);
      return text("ok\n");
    }
    case "/metrics":
      requireReader(request, remoteHost, context.config);
      return text(await context.metrics.text(), 200, "text/plain; version=0.0.4; charset=utf-8");
    default:
      return null;
  }
}

function requireReader(request: Asked, remoteHost: string | null, { metricsToken }: Config): void {
  if (metricsToken !== undefined) {
    const presented = new TextEncoder().encode(request.headers.get("authorization") ?? "");
    const expected = new TextEncoder().encode(`Bearer ${metricsToken}`);
    if (presented.length === expected.length && timingSafeEqual(presented, expected)) return;
    throw new Refusal("unauthorized", "metrics need the bearer token that METRICS_TOKEN sets");
  }
  // What a proxy on this machine forwards comes from elsewhere.
  const isForwarded = FORWARDED.some((name) => request.headers.has(name));
  if (isForwarded || remoteHost === null || !isLoopback(remoteHost)) {
    throw new Refusal("forbidden", "metrics are for this machine only, unless METRICS_TOKEN is set");
  }
}
