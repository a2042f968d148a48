/**
 * An attacker, as a process of its own: `attacker.ts <kind> <url> <victim> <accomplice> <user> <token> <its token>`.
 *
 * It keeps eight connections of one account, on eight devices, writes as fast as its writes are taken, and connects again
 * as soon as it is thrown out or refused, whatever it was told.
 * @module
 */
import { FLOODS } from "./traffic.ts";

const CONNECTIONS = 8;

/** Between two attempts of each of them: it wants to hurt the server, not itself. */
const PAUSE_MS = 5;

/** How long one that fetches waits for what waits for it. */
const FETCH_MS = 50;

const wait = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** Opens a connection, or resolves to `null` if it is refused. */
async function open(url: string, path: string, token: string): Promise<Deno.TcpConn | null> {
  const { hostname, port, host } = new URL(url);
  const conn = await Deno.connect({ hostname, port: Number(port) });
  const lines = [
    `GET ${path} HTTP/1.1`,
    `Host: ${host}`,
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Protocol: messaging.v2",
    `Authorization: Bearer ${token}`,
    "X-Forwarded-For: 198.51.100.7", // as a proxy would say: it comes from one place
    "",
    "",
  ];
  try {
    await conn.write(new TextEncoder().encode(lines.join("\r\n")));
    const answer = new Uint8Array(4_096);
    const count = await conn.read(answer);
    if (count !== null && new TextDecoder().decode(answer.subarray(0, count)).startsWith("HTTP/1.1 101")) {
      return conn;
    }
  } catch {
    // cut in the middle: as good as refused
  }
  conn.close();
  return null;
}

async function readAll(conn: Deno.TcpConn): Promise<void> {
  const bytes = new Uint8Array(262_144);
  while (await conn.read(bytes) !== null);
}

/** Writes over and over, until somebody ends it. */
async function writeAll(conn: Deno.TcpConn, bytes: Uint8Array): Promise<void> {
  for (;;) {
    for (let sent = 0; sent < bytes.length;) sent += await conn.write(bytes.subarray(sent));
  }
}

if (import.meta.main) {
  const [kind = "", url = "", victim = "", accomplice = "", user = "", token = "", itsToken = ""] = Deno.args;
  const flood = FLOODS[kind]?.({ victim, accomplice });
  if (flood === undefined) throw new Error(`no such flood: ${kind}`);
  const attack = async (deviceId: number) => {
    const [path, presented] = flood.fetches
      ? [`/${accomplice}/1`, itsToken]
      : [`/${user}/${deviceId}`, token];
    for (;; await wait(PAUSE_MS)) {
      const conn = await open(url, path, presented).catch(() => null);
      if (conn === null) continue;
      const work = flood.bytes !== null
        ? writeAll(conn, flood.bytes)
        : flood.fetches
        ? wait(FETCH_MS)
        : Promise.resolve();
      const reading = readAll(conn).catch(() => {});
      await Promise.race([work.catch(() => {}), flood.bytes === null ? work : reading]);
      conn.close();
    }
  };
  // Whoever started this waits for a line with an address, as of a server.
  console.error(`listening on ${url}`);
  await Promise.all(Array.from({ length: CONNECTIONS }, (_, i) => attack(i + 1)));
}
