/**
 * The part of the `ws` package that its engine uses, in types: the package has none of its own.
 * @module
 */
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";

/** One end of a connection. */
export class WebSocket {
  readonly readyState: 0 | 1 | 2 | 3;
  /** Bytes that wait in this process. */
  readonly bufferedAmount: number;
  binaryType: "arraybuffer";
  send(bytes: Uint8Array): void;
  ping(): void;
  close(code?: number, reason?: string): void;
  /** Cuts the TCP connection. */
  terminate(): void;
  pause(): void;
  resume(): void;
  /** With `arraybuffer`; a text comes as bytes of another kind. */
  on(event: "message", listener: (bytes: ArrayBuffer, isBinary: boolean) => void): this;
  on(event: "close", listener: (code: number) => void): this;
  /** What the peer did wrong, or the network; `close` follows. */
  on(event: "error", listener: (error: Error) => void): this;
}

/** What makes connections of upgrades. */
export class WebSocketServer<T extends WebSocket> {
  constructor(options: {
    readonly noServer: true;
    /** What is made of each connection. */
    readonly WebSocket: new () => T;
    readonly clientTracking: boolean;
    readonly perMessageDeflate: false;
    /** Bytes of a message, all its fragments together. */
    readonly maxPayload: number;
    /** Fragments of a message. */
    readonly maxFragments: number;
    /** Pieces that a frame which is not complete came in. */
    readonly maxBufferedChunks: number;
    /** How long a peer may take to answer a close, in milliseconds; then it is cut. */
    readonly closeTimeout: number;
  });
  /** Before the answer to a handshake is sent: its lines may be added to. */
  on(event: "headers", listener: (lines: string[], request: IncomingMessage) => void): this;
  /** Calls back at once, or never if the connection is gone. */
  handleUpgrade(
    request: IncomingMessage,
    socket: Socket,
    head: Uint8Array,
    upgraded: (webSocket: T) => void,
  ): void;
}
