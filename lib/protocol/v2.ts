/**
 * Version 2 of the wire: what a current client needs (protocol §4).
 * @module
 */
import type { Codec } from "./messages.ts";
import { decodeClientMessage, encodeClientMessage } from "./v2_client.ts";
import { decodeServerMessage, encodeServerMessage } from "./v2_server.ts";

/** The codec of version 2. */
export const v2: Codec = {
  version: 2,
  gathers: true,
  announces: true,
  decodeClientMessage,
  encodeServerMessage,
  encodeClientMessage,
  decodeServerMessage,
};
