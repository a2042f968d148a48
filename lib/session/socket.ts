/**
 * The socket as a session sees it: an engine's, or a test's.
 * @module
 */

/** One open connection to a peer. */
export interface Socket {
  /** Bytes that were handed to `send` and have not left the process. */
  readonly bufferedAmount: number;
  /** Queues one binary message. Never blocks, never throws; after the end it does nothing. */
  send(bytes: Uint8Array<ArrayBuffer>): void;
  /** Starts the closing handshake; harmless if it has begun. */
  close(code: number, reason: string): void;
  /** Reads nothing more from the peer for now, so that it can send no faster. Some engines can't, and read on. */
  pause(): void;
  /** Reads again. */
  resume(): void;
}
