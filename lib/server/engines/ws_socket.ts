/**
 * A connection of the `ws` package as a session's socket.
 *
 * Nothing here may throw to the outside: it would end the process. So every handler is wrapped.
 * @module
 */
import type { Socket as TcpSocket } from "node:net";
import { logger } from "../../log.ts";
import { CLOSE } from "../../protocol/mod.ts";
import type { Session, Socket } from "../../session/mod.ts";
import { ABNORMAL, CLOSE_MS, type Connected, countedCode, cutReason } from "../engine.ts";
import type { Corks } from "./corks.ts";
import type { StrictWebSocket } from "./strict_web_socket.ts";

const log = logger("server");

/** As in `WebSocket.OPEN`. */
const OPEN = 1;

/** One connection, from its handshake on. */
export class WsSocket implements Socket {
  readonly #session: Session | null = null;
  #hasEnded = false;
  #isPaused = false;
  /** When something last came, or reading began again; and how many bytes had come by then. */
  #heardAt = performance.now();
  #bytesRead = 0;
  #pingedAt: number | null = null;
  #patience: ReturnType<typeof setTimeout> | undefined;

  /** @param gone told when nothing is left of it. */
  constructor(
    private readonly webSocket: StrictWebSocket,
    private readonly tcp: TcpSocket,
    private readonly corks: Corks,
    private readonly connected: Connected,
    private readonly gone: (socket: WsSocket) => void,
  ) {
    webSocket.binaryType = "arraybuffer";
    webSocket.on("message", (data, isBinary) =>
      this.#guarded(() => {
        this.#session?.receive(isBinary ? new Uint8Array(data) : "");
      }));
    webSocket.on("error", () => this.#guarded(() => this.#failed()));
    webSocket.on("close", (code) => this.#guarded(() => this.#end(webSocket.fault ?? code)));
    // A peer that has said all, and does not read, would otherwise stay.
    tcp.once("end", () => this.#beginToWait());
    try {
      this.#session = connected.opened(this);
    } catch (error) {
      this.#incident(error);
    }
  }

  get bufferedAmount(): number {
    return this.webSocket.readyState === OPEN ? this.webSocket.bufferedAmount : 0;
  }

  send(bytes: Uint8Array<ArrayBuffer>): void {
    if (this.webSocket.readyState !== OPEN) return;
    this.corks.cork(this.tcp);
    this.webSocket.send(bytes);
  }

  close(code: number, reason: string): void {
    if (this.webSocket.readyState !== OPEN) return;
    this.resume(); // the answer must be read
    this.webSocket.close(code, cutReason(reason));
  }

  pause(): void {
    if (this.#isPaused || this.webSocket.readyState !== OPEN) return;
    this.#isPaused = true;
    this.webSocket.pause();
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#heardAt = performance.now();
    this.webSocket.resume();
  }

  /** Pings a peer that has said nothing for half the time, and cuts one that does not answer in the other half. */
  tick(now: number, idlePingMs: number): void {
    if (this.webSocket.readyState !== OPEN || this.#isPaused) return;
    const { bytesRead } = this.tcp;
    if (bytesRead !== this.#bytesRead) {
      this.#bytesRead = bytesRead;
      this.#heardAt = now;
      this.#pingedAt = null;
    } else if (this.#pingedAt !== null) {
      if (now - this.#pingedAt >= idlePingMs / 2) this.cut();
    } else if (now - this.#heardAt >= idlePingMs / 2) {
      this.#pingedAt = now;
      this.webSocket.ping();
    }
  }

  /** Ends it at once, whatever the peer does. */
  cut(): void {
    this.#guarded(() => this.#end(ABNORMAL));
    this.webSocket.terminate();
  }

  /** The peer broke the rules of WebSockets, and is being told so; or the network failed. */
  #failed(): void {
    this.#beginToWait();
    // Nothing can be sent any more, so the session need not wait for the peer.
    this.#session?.closed(countedCode(this.webSocket.fault ?? ABNORMAL));
  }

  #beginToWait(): void {
    if (this.#hasEnded) return;
    this.#patience ??= setTimeout(() => this.cut(), CLOSE_MS);
  }

  #end(code: number): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    clearTimeout(this.#patience);
    this.gone(this);
    try {
      this.#session?.closed(countedCode(code));
    } finally {
      this.connected.ended(this.#session);
    }
  }

  #guarded(what: () => void): void {
    try {
      what();
    } catch (error) {
      this.#incident(error);
    }
  }

  #incident(error: unknown): void {
    log.error("incident: a socket handler failed: {reason}", { reason: String(error) });
    this.close(CLOSE.internalError, "");
  }
}
