/** The HTTP request that asks for a WebSocket, with every header in the test's hand. */
import { createHash } from "node:crypto";

/** What differs from a proper request. */
export interface HandshakeOptions {
  /** Default: GET. */
  readonly method?: string;
  /** Headers to add or, with `null`, to leave out. Names in lower case. */
  readonly headers?: Readonly<Record<string, string | null>>;
}

/** What the server answered. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  /** Empty after an upgrade. */
  readonly body: string;
  /** The open connection after an upgrade, otherwise `null`. */
  readonly upgraded: { readonly conn: Deno.TcpConn; readonly rest: Uint8Array } | null;
}

/** A key that is right; its answer is fixed. */
const KEY = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT = createHash("sha1").update(`${KEY}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");

/** Sends the request and reads the answer. Whoever gets an upgraded connection must close it. */
export async function handshake(url: string, path: string, options: HandshakeOptions = {}): Promise<Answer> {
  const { hostname, port } = new URL(url);
  const conn = await Deno.connect({ hostname, port: Number(port) });
  conn.setNoDelay(true);
  try {
    await conn.write(new TextEncoder().encode(requestText(`${hostname}:${port}`, path, options)));
    const answer = await readAnswer(conn);
    if (answer.upgraded === null) conn.close();
    return answer;
  } catch (error) {
    conn.close();
    throw error;
  }
}

/** The request as text. */
export function requestText(
  host: string,
  path: string,
  { method = "GET", headers = {} }: HandshakeOptions,
): string {
  const all: Record<string, string | null> = {
    host,
    "upgrade": "websocket",
    "connection": "Upgrade",
    "sec-websocket-version": "13",
    "sec-websocket-key": KEY,
    ...headers,
  };
  const lines = Object.entries(all).flatMap(([name, value]) => value === null ? [] : [`${name}: ${value}`]);
  return [`${method} ${path} HTTP/1.1`, ...lines, "", ""].join("\r\n");
}

async function readAnswer(conn: Deno.TcpConn): Promise<Answer> {
  let bytes = new Uint8Array();
  const more = async (what: string) => {
    const piece = new Uint8Array(16_384);
    const count = await conn.read(piece);
    if (count === null) throw new Error(`the server hung up before ${what}`);
    bytes = new Uint8Array([...bytes, ...piece.subarray(0, count)]);
  };
  let end = -1;
  while ((end = new TextDecoder("latin1").decode(bytes).indexOf("\r\n\r\n")) < 0) await more("its answer");
  const [first = "", ...lines] = new TextDecoder("latin1").decode(bytes.subarray(0, end)).split("\r\n");
  const status = Number(/^HTTP\/1\.1 ([0-9]{3})/.exec(first)?.[1]);
  const headers = new Headers(
    lines.map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1)]),
  );
  const start = end + 4;
  if (status === 101) {
    if (headers.get("sec-websocket-accept") !== ACCEPT) throw new Error("wrong Sec-WebSocket-Accept");
    return { status, headers, body: "", upgraded: { conn, rest: bytes.subarray(start) } };
  }
  const length = Number(headers.get("content-length") ?? 0);
  while (bytes.length < start + length) await more("the end of its body");
  const body = new TextDecoder().decode(bytes.subarray(start, start + length));
  return { status, headers, body, upgraded: null };
}
