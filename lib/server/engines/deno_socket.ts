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

/** One connection, from its handshake on: one object, since there may be very many. */
export class DenoSocket implements Socket, EventListenerObject {
  #session: Session | null = null;
  #hasEnded = false;
  #patience: ReturnType<typeof setTimeout> | null = null;

  /** @param all where it is from now until it is over. */
  constructor(
    private readonly webSocket: WebSocket,
    private readonly connected: Connected,
    private readonly all: Set<DenoSocket>,
  ) {
    all.add(this);
    webSocket.binaryType = "arraybuffer";
    webSocket.addEventListener("open", this, { once: true });
    for (const type of ["message", "close", "error"]) webSocket.addEventListener(type, this);
    this.#beginToWait(HANDSHAKE_MS);
  }

  get bufferedAmount(): number {
    return this.webSocket.readyState === WebSocket.OPEN ? this.webSocket.bufferedAmount : 0;
  }

  send(bytes: Uint8Array<ArrayBuffer>): void {
    if (this.webSocket.readyState === WebSocket.OPEN) this.webSocket.send(bytes);
  }

  close(code: number, reason: string): void {
    if (this.webSocket.readyState !== WebSocket.OPEN) return;
    this.webSocket.close(code, cutReason(reason));
    this.#beginToWait(CLOSE_MS);
  }

  /** Deno reads on all the same. */
  pause(): void {}

  resume(): void {}

  /** Takes whatever Deno reports. */
  handleEvent(event: Event): void {
    try {
      if (event instanceof MessageEvent) this.#receive(event.data);
      else if (event instanceof CloseEvent) this.#end(event.code);
      else if (event.type === "open") this.#open();
      else {
        event.preventDefault();
        if (this.webSocket.readyState === WebSocket.CLOSED) this.#end(ABNORMAL);
      }
    } catch (error) {
      this.#incident(error);
    }
  }

  /** Does without the peer from here on. */
  giveUp(): void {
    try {
      this.#end(ABNORMAL);
    } catch (error) {
      this.#incident(error);
    }
  }

  #open(): void {
    if (this.#hasEnded) return this.webSocket.close(CLOSE.goingAway);
    this.#waitNoMore();
    this.#session = this.connected.opened(this);
  }

  #receive(data: unknown): void {
    this.#session?.receive(data instanceof ArrayBuffer ? new Uint8Array(data) : String(data));
  }

  #end(code: number): void {
    if (this.#hasEnded) return; // an idle timeout reports twice
    this.#hasEnded = true;
    this.#waitNoMore();
    this.all.delete(this);
    this.#session?.closed(code === 0 ? ABNORMAL : countedCode(code));
    this.connected.ended(this.#session);
  }

  /** Deno waits for ever for a peer that is gone, be it in the handshake or after a close. */
  #beginToWait(forMs: number): void {
    this.#patience = setTimeout(() => this.giveUp(), forMs);
  }

  #waitNoMore(): void {
    if (this.#patience !== null) clearTimeout(this.#patience);
    this.#patience = null;
  }

  #incident(error: unknown): void {
    log.error("incident: a socket handler failed: {reason}", { reason: String(error) });
    this.webSocket.close(CLOSE.internalError);
  }
}

/** Upgrades a request that has been admitted. */
export function upgrade(
  request: Request,
  options: { readonly subprotocol: string | null; readonly idleTimeoutSeconds: number },
  connected: Connected,
  sockets: Set<DenoSocket>,
): Response {
  const { socket, response } = Deno.upgradeWebSocket(request, { idleTimeout: options.idleTimeoutSeconds });
  // The option of the call compares the client's list byte by byte, and misses what has no space after its comma.
  if (options.subprotocol !== null) response.headers.set("sec-websocket-protocol", options.subprotocol);
  new DenoSocket(socket, connected, sockets);
  return response;
}
