/**
 * The wire protocol: envelopes, messages and their versions. The normative text is `README.md` beside this file.
 * @module
 */
export * from "./close_codes.ts";
export * from "./envelope.ts";
export * from "./messages.ts";
export type {
  Accepted,
  DeviceKeys,
  Outgoing,
  OutgoingMessage,
  OutgoingMessages,
  PreKeyBundle,
  PreKeyRequest,
  StoredMessage,
  UserDevice,
} from "../domain.ts";
export type { Address } from "../address.ts";
export type { DeviceMismatch } from "../errors.ts";
export { checkShape } from "./messagepack.ts";
export { v1 } from "./v1.ts";
export { v2 } from "./v2.ts";

import type { Codec } from "./messages.ts";
import { v1 } from "./v1.ts";
import { v2 } from "./v2.ts";

/** The subprotocol that a client offers, and the server echoes, for each version (protocol §1). */
export const SUBPROTOCOLS: ReadonlyMap<string, Codec> = new Map([["messaging.v1", v1], ["messaging.v2", v2]]);
