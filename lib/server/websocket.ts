/**
 * Deno's own WebSocket as a session's socket.
 *
 * After `Deno.upgradeWebSocket` nothing may throw: it would stop the whole server. So every handler is wrapped here.
 * @module
 */
import { logger } from "../log.ts";
import { CLOSE } from "../protocol/mod.ts";
import type { Session, Socket } from "../session/mod.ts";

const log = logger("server");

/** The longest reason that fits a close frame. */
const REASON_BYTES_MAX = 123;

/** What a TCP connection that was cut reports, in the words of RFC 6455. */
const ABNORMAL = 1006;

/** A peer's own close codes may be anything; these are told apart in the metrics. */
const KNOWN_CODES: ReadonlySet<number> = new Set([1005, ABNORMAL, ...Object.values(CLOSE)]);

class DenoSocket implements Socket {
  constructor(private readonly webSocket: WebSocket) {}

  get bufferedAmount(): number {
    return this.webSocket.readyState === WebSocket.OPEN ? this.webSocket.bufferedAmount : 0;
  }

  send(bytes: Uint8Array<ArrayBuffer>): void {
    if (this.webSocket.readyState === WebSocket.OPEN) this.webSocket.send(bytes);
  }

  close(code: number, reason: string): void {
    if (this.webSocket.readyState !== WebSocket.OPEN) return;
    this.webSocket.close(
      code,
      new TextDecoder().decode(new TextEncoder().encode(reason).slice(0, REASON_BYTES_MAX)),
    );
  }
}

/** What a connection tells its owner. */
export interface Connected {
  /** The handshake is over: make the session. */
  opened(socket: Socket): Session;
  /** The connection is over, whether or not it was ever open. Called once. */
  ended(session: Session | null): void;
}

/** Upgrades a request that has been admitted. */
export function upgrade(
  request: Request,
  options: { readonly subprotocol: string | null; readonly idleTimeoutSeconds: number },
  connected: Connected,
): Response {
  const { socket: webSocket, response } = Deno.upgradeWebSocket(request, {
    idleTimeout: options.idleTimeoutSeconds,
  });
  // The option of the call compares the client's list byte by byte, and misses what has no space after its comma.
  if (options.subprotocol !== null) response.headers.set("sec-websocket-protocol", options.subprotocol);
  webSocket.binaryType = "arraybuffer";
  let session: Session | null = null;
  let hasEnded = false;
  const guarded = (what: () => void) => {
    try {
      what();
    } catch (error) {
      log.error("a socket handler failed: {reason}", { reason: String(error) });
      webSocket.close(CLOSE.internalError);
    }
  };
  webSocket.onopen = () =>
    guarded(() => {
      session = connected.opened(new DenoSocket(webSocket));
    });
  webSocket.onmessage = ({ data }: MessageEvent<unknown>) =>
    guarded(() => session?.receive(data instanceof ArrayBuffer ? new Uint8Array(data) : String(data)));
  const end = (code: number) =>
    guarded(() => {
      if (hasEnded) return; // an idle timeout reports twice
      hasEnded = true;
      session?.closed(KNOWN_CODES.has(code) ? code : code === 0 ? ABNORMAL : 1005);
      connected.ended(session);
    });
  webSocket.onclose = ({ code }) => end(code);
  webSocket.onerror = (event) => {
    event.preventDefault();
    if (webSocket.readyState === WebSocket.CLOSED) end(ABNORMAL);
  };
  return response;
}
