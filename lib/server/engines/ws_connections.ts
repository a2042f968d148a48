/**
 * All connections of the `ws` package: made here, and looked after once a second.
 * @module
 */
import type { IncomingMessage } from "node:http";
import type { Socket as TcpSocket } from "node:net";
// @ts-types="./ws.d.ts"
import { WebSocketServer } from "ws";
import type { Config } from "../../config.ts";
import { CLOSE_MS, type Connected } from "../engine.ts";
import { Corks } from "./corks.ts";
import { StrictWebSocket } from "./strict_web_socket.ts";
import { WsSocket } from "./ws_socket.ts";

/** The most pieces of one message, be it packets or fragments: one of 1 MiB comes in under a thousand packets. */
const PIECES_MAX = 8_192;

/** How often it looks for peers that have gone silent. */
const TICK_MS = 1_000;

/** What is to become a connection. */
export interface Handshake {
  readonly request: IncomingMessage;
  readonly tcp: TcpSocket;
  /** What the peer sent behind its request. */
  readonly head: Uint8Array;
  readonly subprotocol: string | null;
}

/** The open connections. */
export class WsConnections {
  readonly #sockets = new Set<WsSocket>();
  readonly #corks = new Corks();
  readonly #server: WebSocketServer<StrictWebSocket>;
  readonly #ticking: ReturnType<typeof setInterval>;
  /** Echoed in the handshake that is under way: one call, start to end. */
  #subprotocol: string | null = null;

  constructor({ frameBytesMax, idlePingMs }: Config) {
    this.#server = new WebSocketServer({
      noServer: true,
      WebSocket: StrictWebSocket,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload: frameBytesMax,
      maxFragments: PIECES_MAX,
      maxBufferedChunks: PIECES_MAX,
      closeTimeout: CLOSE_MS,
    });
    this.#server.on("headers", (lines) => {
      if (this.#subprotocol !== null) lines.push(`Sec-WebSocket-Protocol: ${this.#subprotocol}`);
    });
    this.#ticking = setInterval(() => {
      const now = performance.now();
      for (const socket of this.#sockets) socket.tick(now, idlePingMs);
    }, TICK_MS);
  }

  /** Upgrades a request that has been admitted. */
  upgrade({ request, tcp, head, subprotocol }: Handshake, connected: Connected): void {
    // These two have been judged, and more leniently than the package would.
    request.headers.upgrade = "websocket";
    delete request.headers["sec-websocket-protocol"];
    this.#subprotocol = subprotocol;
    let isOpen = false;
    this.#server.handleUpgrade(request, tcp, head, (webSocket) => {
      isOpen = true;
      const gone = (socket: WsSocket) => void this.#sockets.delete(socket);
      this.#sockets.add(new WsSocket(webSocket, tcp, this.#corks, connected, gone));
    });
    if (!isOpen) connected.ended(null);
  }

  /** Cuts whoever is left. */
  stop(): void {
    clearInterval(this.#ticking);
    for (const socket of this.#sockets) socket.cut();
  }
}
