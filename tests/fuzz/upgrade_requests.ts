/**
 * Requests for an upgrade, in bytes: each part is right or wrong in some way, and what is due for the whole follows from
 * the table of protocol §1.
 */
import type { Random } from "../process/random.ts";
import { makeCredentials } from "./tokens.ts";

/** A request, and what is due. */
export interface HostileRequest {
  /** In characters of one byte each. */
  readonly text: string;
  /** The status that is due. `refused`: any 4xx, or the end of the connection. `any`: also 200 or 101. */
  readonly due: number | "refused" | "any";
  /** What is echoed where the status is 101. */
  readonly subprotocol: string | null;
  /** The token in it, which no answer may repeat. */
  readonly token: string;
  readonly what: string;
}

/** A part of a request, with the status that it alone would lead to; 101 if it is as it should be. */
interface Part {
  readonly lines: string;
  readonly status: number;
}

/** A request up to this length is read by every parser; one that is longer may be refused for that alone. */
const HEADERS_SURE = 50_000;

const KEY = "dGhlIHNhbXBsZSBub25jZQ==";
const part = (lines: string, status = 101): Part => ({ lines, status });

function makePath(random: Random, userId: string, deviceId: number): Part {
  const good = [
    `/${userId}/${deviceId}`,
    `/${userId.toUpperCase()}/${deviceId}`,
    `/${userId}/${deviceId}/`,
    `/${userId}/${deviceId}?token=x&a=/../b`,
    `http://elsewhere.example/${userId}/${deviceId}`,
    `ftp://[/${userId}/${deviceId}`,
  ];
  if (random.chance(0.8)) return part(random.pick(good));
  return random.pick([
    part(`/${userId}`, 404),
    part(`/${userId}/${deviceId}/x`, 404),
    part(`//${userId}/${deviceId}`, 404),
    part(`/../${userId}/${deviceId}`, 404),
    part(`/%2e/${userId}/${deviceId}`, 404),
    part(`/${userId}\\${deviceId}`, 404),
    part(`/${"a/".repeat(3 + random.integer(2_000))}`, 404),
    part("/favicon.ico", 404),
    part(`/${userId}/%3${deviceId % 10}`, 400),
    part(`/%7b${userId}%7d/${deviceId}`, 400),
    part(`/${userId}/${random.pick(["-1", "01", "1e3", "4294967296", "0x1", "%00", "1%20", "\u0661"])}`, 400),
    part(`/${random.pick(["me", "__proto__", "%zz", "a".repeat(30_000)])}/${deviceId}`, 400),
    part(`/${userId.slice(0, 14)}1${userId.slice(15)}/${deviceId}`, 400),
  ].filter(({ lines }) => /^[\x21-\x7e]*$/.test(lines)));
}

function makeHost(random: Random): Part {
  if (random.chance(0.92)) return part(random.pick(["Host: x\r\n", "host: [::1]:8080\r\n", "Host:\r\n", ""]));
  const host = random.pick([
    "a b",
    "a/b",
    "x/healthz?",
    "x#",
    "a@b",
    "\\",
    "a,b",
    "\u00ff",
    "<x>",
    "x?/metrics",
  ]);
  return part(`Host: ${host}\r\n`, 400);
}

function makeUpgrade(random: Random): Part {
  const lines = (
    upgrade: string | null,
    connection: string | null,
    version: string | null,
    key: string | null,
  ) =>
    Object.entries({
      Upgrade: upgrade,
      Connection: connection,
      "Sec-WebSocket-Version": version,
      "Sec-WebSocket-Key": key,
    })
      .map(([name, value]) => value === null ? "" : `${name}: ${value}\r\n`).join("");
  const good = [
    lines("websocket", "Upgrade", "13", KEY),
    lines("WebSocket", "keep-alive, upgrade", "13", KEY),
    lines("websocket, x", " Upgrade ", "13", KEY),
  ];
  if (random.chance(0.85)) return part(random.pick(good));
  return random.pick([
    part(lines(null, "Upgrade", "13", KEY), 426),
    part(lines("websocket", null, "13", KEY), 426),
    part(lines("h2c", "Upgrade", "13", KEY), 426),
    part(lines("websocket", "close", "13", KEY), 426),
    part(lines("websocket", "Upgrade", null, KEY), 426),
    part(lines("websocket", "Upgrade", random.pick(["8", "14", "013", "13, 8", "-1", ""]), KEY), 426),
    part(lines("websocket", "Upgrade", "13", null), 426),
    part(
      lines(
        "websocket",
        "Upgrade",
        "13",
        random.pick(["", "x", KEY.slice(1), `${KEY}=`, "\u00ff".repeat(24)]),
      ),
      426,
    ),
    part(`${lines("websocket", "Upgrade", "13", KEY)}Sec-WebSocket-Key: ${KEY}\r\n`, 426),
    part(`${lines("websocket", "Upgrade", "13", KEY)}Sec-WebSocket-Version: 8\r\n`, 426),
  ]);
}

/** The versions that are offered: the entries, the status, and what is echoed. */
function makeOffer(random: Random): { names: string[]; status: number; echoed: string | null } {
  const die = random.next();
  const offer = (names: string[], echoed: string | null, status = 101) => ({ names, status, echoed });
  if (die < 0.3) return offer([], null);
  if (die < 0.85) {
    return random.pick([
      offer(["messaging.v1"], "messaging.v1"),
      offer(["messaging.v2"], "messaging.v2"),
      offer(["messaging.v1", "messaging.v2"], "messaging.v2"),
      offer(["messaging.v3", "messaging.v1", "", "messaging.v1"], "messaging.v1"),
      offer(["\u00ff", "messaging.v2"], "messaging.v2"),
    ]);
  }
  return random.pick([
    offer(["messaging.v3"], null, 400),
    offer(["Messaging.V2"], null, 400),
    offer(["messaging.v2;q=1"], null, 400),
    offer(["__proto__"], null, 400),
    offer(Array.from({ length: 17 + random.integer(300) }, () => "messaging.v2"), null, 400),
  ]);
}

/** What no HTTP request may be like: whoever parses it decides how to refuse it. */
function makeBroken(random: Random, request: string): string {
  const withLine = (line: string) => request.replace("\r\n", `\r\n${line}\r\n`);
  return random.pick([
    () => withLine("Content-Length: 5\r\nContent-Length: 6"),
    () => withLine("Content-Length: -1"),
    () => withLine("Transfer-Encoding: chunked\r\nContent-Length: 3"),
    () => withLine("a b: c"),
    () => withLine(": x"),
    () => withLine("x: a\u0000b"),
    () => withLine(" folded"),
    () => withLine(Array.from({ length: 150 + random.integer(5_000) }, (_, i) => `x-${i}: y`).join("\r\n")),
    () => withLine(`x: ${"y".repeat(600_000)}`),
    () => withLine("Host: a\r\nHost: b"),
    () => request.replace("HTTP/1.1", random.pick(["HTTP/2.0", "HTTP/9.9", "HTP/1.1", "", "HTTP/1.1 x"])),
    () => request.replace(/^\S+ /, random.pick(["", "G\u00c4T ", "GET\t", "\u0000 ", "GET GET "])),
  ])();
}

/** Makes a request. */
export function makeRequest(random: Random, users: readonly string[]): HostileRequest {
  const userId = random.pick(users);
  const deviceId = random.pick([0, 1, 7, 0xffff_ffff]);
  const path = makePath(random, userId, deviceId);
  const host = makeHost(random);
  const upgrade = makeUpgrade(random);
  const offer = makeOffer(random);
  const credentials = makeCredentials(random, userId, deviceId);
  const method = random.chance(0.94)
    ? part("GET")
    : part(random.pick(["POST", "PUT", "HEAD", "OPTIONS", "TRACE", "get", "PRI", "X-Y"]), 426);
  const names = [...offer.names, ...credentials.bearer];
  const joint = random.pick([", ", ",", " , "]);
  const protocols = names.length === 0
    ? ""
    : random.chance(0.8)
    ? `Sec-WebSocket-Protocol: ${names.join(joint)}\r\n`
    : names.map((name) => `Sec-WebSocket-Protocol: ${name}\r\n`).join("");
  const version = random.chance(0.97) ? "HTTP/1.1" : "HTTP/1.0";
  const headers = [host.lines, upgrade.lines, protocols, credentials.header].map((lines) =>
    [random.next(), lines] as const
  )
    .sort(([a], [b]) => a - b).map(([, lines]) => lines).join("");
  const text = `${method.lines} ${path.lines} ${version}\r\n${headers}\r\n`;
  // One header a name, or a token in several places, passes the limits of the parser.
  const isFlood = protocols.split("\r\n").length > 90 || text.length > HEADERS_SURE;
  const parts = [
    host.status,
    path.status,
    offer.status,
    names.length > 16 ? 400 : 101,
    method.status,
    upgrade.status,
    credentials.due,
  ];
  const request = { subprotocol: offer.echoed, token: credentials.token, what: credentials.what };
  const die = random.next();
  if (die < 0.08) return { ...request, text: makeBroken(random, text), due: "refused", what: "broken HTTP" };
  if (die < 0.2) return { ...request, text: mutateText(random, text), due: "any", what: "mutated" };
  return { ...request, text, due: isFlood ? "refused" : parts.find((status) => status !== 101) ?? 101 };
}

/** Changes some characters. */
function mutateText(random: Random, text: string): string {
  let result = text;
  for (let n = 1 + random.integer(4); n > 0; n--) {
    const at = random.integer(result.length + 1);
    const to = at + random.integer(6);
    const put = random.pick([
      "",
      " ",
      "\r\n",
      "\r\n\r\n",
      "\u0000",
      "\u00ff",
      ":",
      "%",
      "/",
      ",",
      "\t",
      "GET ",
    ]);
    result = result.slice(0, at) + put + result.slice(random.chance(0.5) ? at : to);
  }
  return result;
}
