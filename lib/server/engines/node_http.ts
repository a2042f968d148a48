/**
 * Requests and answers of `node:http` in the terms that all engines share.
 * @module
 */
import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerOptions,
  type ServerResponse,
  STATUS_CODES,
} from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { Socket as TcpSocket } from "node:net";
import type { Config } from "../../config.ts";
import { type Asked, CLOSE_MS } from "../engine.ts";
import { listenError, readCertificate } from "../listen_error.ts";

/** How long each part of a request may take, in milliseconds. */
const TIMES = {
  headersTimeout: 10_000,
  requestTimeout: 10_000,
  keepAliveTimeout: 5_000,
  connectionsCheckingInterval: 1_000,
} as const;

/** How long TLS may take to begin, in milliseconds. */
const TLS_HANDSHAKE_MS = 10_000;

/** TCP connections that are no sessions: requests under way, and closes. */
const OTHERS_MAX = 1_024;

/**
 * Makes a server that does not listen yet.
 *
 * @throws {ListenError} if the certificate or its key can't be used.
 */
export function createHttpServer(config: Config): Server {
  // What the server says of a request without a Host is for all engines to say.
  const options: ServerOptions = { ...TIMES, requireHostHeader: false };
  const certificate = readCertificate(config);
  if (certificate !== null) checkCertificate(config, certificate);
  const http = certificate === null
    ? createServer(options)
    : createTlsServer({ ...options, ...certificate, handshakeTimeout: TLS_HANDSHAKE_MS });
  http.maxConnections = config.connectionsMax + OTHERS_MAX;
  http.on("clientError", (error: Error & { readonly code?: string }, tcp: TcpSocket) => {
    answerUpgrade(tcp, new Response(null, { status: statusOf(error.code) })).catch(() => tcp.destroy());
  });
  return http;
}

/** `node:https` would find out at the first connection. */
function checkCertificate(
  config: Config,
  certificate: { readonly cert: string; readonly key: string },
): void {
  try {
    Deno.listenTls({ hostname: config.host, port: 0, ...certificate }).close();
  } catch (error) {
    throw listenError(config, error);
  }
}

function statusOf(code: string | undefined): number {
  if (code === "ERR_HTTP_REQUEST_TIMEOUT") return 408;
  return code === "HPE_HEADER_OVERFLOW" ? 431 : 400;
}

/** What is asked, as Deno's server would tell it. */
export function askedOf(request: IncomingMessage): Asked {
  const headers = new Headers();
  const { rawHeaders, method = "GET", url: target = "" } = request;
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    headers.append(rawHeaders[i] ?? "", rawHeaders[i + 1] ?? "");
  }
  // Most targets are a path; a proxy may send the whole URL.
  const url = target.startsWith("/") ? `http://${headers.get("host") || "localhost"}${target}` : target;
  return { method, url, headers };
}

/** The address of the other end. */
export function hostOf({ remoteAddress }: TcpSocket): string | null {
  return remoteAddress ?? null;
}

/** Answers a request that is no upgrade. */
export async function answerRequest(
  request: IncomingMessage,
  response: ServerResponse,
  answer: Response,
): Promise<void> {
  const body = new Uint8Array(await answer.arrayBuffer());
  const headers: Record<string, string | number> = Object.fromEntries(answer.headers);
  headers["content-length"] = body.length;
  // Nobody reads what such a request brings along.
  if (request.method !== "GET" && request.method !== "HEAD") headers["connection"] = "close";
  response.writeHead(answer.status, headers).end(body);
}

/** Answers a request whose connection is out of the hands of `node:http`, and ends the connection. */
export async function answerUpgrade(tcp: TcpSocket, answer: Response): Promise<void> {
  const body = new Uint8Array(await answer.arrayBuffer());
  if (!tcp.writable) return void tcp.destroy();
  const headers = new Headers(answer.headers);
  headers.set("content-length", `${body.length}`);
  headers.set("connection", "close");
  const lines = [...headers]
    .map(([name, value]) => `${name}: ${value}\r\n`);
  const patience = setTimeout(() => tcp.destroy(), CLOSE_MS);
  tcp.once("close", () => clearTimeout(patience));
  tcp.on("error", () => tcp.destroy());
  tcp.write(`HTTP/1.1 ${answer.status} ${STATUS_CODES[answer.status] ?? ""}\r\n${lines.join("")}\r\n`);
  tcp.end(body);
  tcp.resume(); // otherwise its end is not seen
}
