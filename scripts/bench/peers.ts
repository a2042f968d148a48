/**
 * Devices of the load: connected over bare sockets, with a token, on the version that is measured.
 * @module
 */
import type { Version } from "../../lib/protocol/mod.ts";
import { eachEnvelope, type EnvelopeHandler } from "./envelopes.ts";
import { benchToken, type Target } from "./processes.ts";
import { RawSocket } from "./raw_socket.ts";

/** What a peer may differ in. */
export interface PeerOptions {
  readonly version?: Version;
  readonly neverReads?: boolean;
  readonly bufferBytes?: number;
}

/** Connects device 1 of a user. What `listen` returns hears every envelope. */
export async function connectPeer(
  target: Target,
  userId: string,
  listen: (socket: RawSocket) => EnvelopeHandler,
  options: PeerOptions = {},
): Promise<RawSocket> {
  const { version = 2, ...rest } = options;
  const token = await benchToken(userId);
  const path = `/${userId}/1`;
  return await RawSocket.connect(
    { url: target.url, path, token, subprotocol: `messaging.v${version}`, ...rest },
    (socket) => {
      const handle = listen(socket);
      return (message) => eachEnvelope(message, handle);
    },
  );
}

/** Hears nothing. */
export const deaf = (): EnvelopeHandler => () => {};

/** Does something for each, so many at a time. */
export async function forEachOf<T>(
  items: readonly T[],
  atATime: number,
  work: (item: T, index: number) => Promise<void>,
): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < items.length) {
      const index = next++;
      const item = items[index];
      if (item !== undefined) await work(item, index);
    }
  };
  await Promise.all(Array.from({ length: Math.min(atATime, items.length) }, worker));
}
