/**
 * Deno's own WebSocket as a session's socket.
 *
 * After `Deno.upgradeWebSocket` nothing may throw: it would stop the whole server. So every handler is wrapped here.
 * @module
 */
import { logger } from "../../log.ts";
import { CLOSE } from "../../protocol/mod.ts";
import type { Session, Socket } from "../../session/mod.ts";
import { ABNORMAL, CLOSE_MS, type Connected, countedCode, cutReason } from "../engine.ts";

const log = logger("server");

/** How long a handshake may take to end: then its place is given up. */
const HANDSHAKE_MS = 5_000;

class DenoSocket implements Socket {
  /** @param closing told when the closing handshake has begun from this side. */
  constructor(private readonly webSocket: WebSocket, private readonly closing: () => void) {}

  get bufferedAmount(): number {
    return this.webSocket.readyState === WebSocket.OPEN ? this.webSocket.bufferedAmount : 0;
  }

  send(bytes: Uint8Array<ArrayBuffer>): void {
    if (this.webSocket.readyState === WebSocket.OPEN) this.webSocket.send(bytes);
  }

  close(code: number, reason: string): void {
    if (this.webSocket.readyState !== WebSocket.OPEN) return;
    this.webSocket.close(code, cutReason(reason));
    this.closing();
  }

  /** Deno reads on all the same. */
  pause(): void {}

  resume(): void {}
}

/** Upgrades a request that has been admitted. */
export function upgrade(
  request: Request,
  options: {
    readonly subprotocol: string | null;
    readonly idleTimeoutSeconds: number;
    readonly stopped: AbortSignal;
  },
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
      log.error("incident: a socket handler failed: {reason}", { reason: String(error) });
      webSocket.close(CLOSE.internalError);
    }
  };
  const end = (code: number) =>
    guarded(() => {
      if (hasEnded) return; // an idle timeout reports twice
      hasEnded = true;
      clearTimeout(patience);
      options.stopped.removeEventListener("abort", giveUp);
      session?.closed(code === 0 ? ABNORMAL : countedCode(code));
      connected.ended(session);
    });
  // Deno waits for ever for a peer that is gone, be it in the handshake or after a close.
  const giveUp = () => end(ABNORMAL);
  let patience = setTimeout(giveUp, HANDSHAKE_MS);
  const closing = () => {
    patience = setTimeout(giveUp, CLOSE_MS);
  };
  options.stopped.addEventListener("abort", giveUp, { once: true });
  webSocket.onopen = () =>
    guarded(() => {
      if (hasEnded) return webSocket.close(CLOSE.goingAway);
      clearTimeout(patience);
      session = connected.opened(new DenoSocket(webSocket, closing));
    });
  webSocket.onmessage = ({ data }: MessageEvent<unknown>) =>
    guarded(() => session?.receive(data instanceof ArrayBuffer ? new Uint8Array(data) : String(data)));
  webSocket.onclose = ({ code }) => end(code);
  webSocket.onerror = (event) => {
    event.preventDefault();
    if (webSocket.readyState === WebSocket.CLOSED) end(ABNORMAL);
  };
  return response;
}
