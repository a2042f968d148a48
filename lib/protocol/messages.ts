/**
 * The messages of the protocol as values, the same for every version: what a codec makes of bytes and bytes of.
 * @module
 */
import type { DeviceKeys, OutgoingMessage, PreKeyBundle, StoredMessage } from "../domain.ts";
import type { DeviceMismatch } from "../errors.ts";
import type { Version } from "./envelope.ts";

/** The type codes of both versions (protocol §3, §4). */
export const TYPE = {
  ack: 1,
  error: 2,
  register: 3,
  unregister: 4,
  requestPreKeys: 5,
  preKey: 6,
  preKeysLow: 7,
  userMessage: 8,
} as const;

/** What a client sends. */
export type ClientMessage =
  /** The message of the server that has the envelope's sequence was received for good. */
  | { readonly type: "ack" }
  /** The message of the server that has the envelope's sequence is refused: it stays stored. */
  | { readonly type: "error"; readonly code: number; readonly description: string }
  | { readonly type: "register"; readonly keys: DeviceKeys }
  | { readonly type: "unregister" }
  | { readonly type: "request_prekeys"; readonly userId: string; readonly knownDeviceIds: readonly number[] }
  | { readonly type: "user_message"; readonly message: OutgoingMessage };

/** What a server sends. */
export type ServerMessage =
  | { readonly type: "ack" }
  | {
    readonly type: "error";
    /** The code of protocol §3. */
    readonly code: number;
    readonly description: string;
    /** Milliseconds until a repeat makes sense. */
    readonly retryAfterMs?: number;
    readonly mismatch?: DeviceMismatch;
  }
  | {
    readonly type: "prekey";
    readonly bundle: PreKeyBundle;
    /** How many PreKey messages of this answer still follow. */
    readonly more: number;
  }
  | {
    readonly type: "prekeys_low";
    /** How many new one-time prekeys the server asks for, uint16. */
    readonly wanted: number;
  }
  | {
    readonly type: "user_message";
    readonly message: Pick<StoredMessage, "from" | "messageId" | "timestamp" | "ciphertext">;
  };

/** One version of the wire: all that depends on the version, and nothing else. */
export interface Codec {
  /** Which version this is. */
  readonly version: Version;
  /**
   * Reads what a client sent.
   *
   * @throws {RequestError} `unknown_type`, `unmarshal`, `invalid_user_id` or `too_large`; nothing else.
   */
  decodeClientMessage(type: number, payload: Uint8Array): ClientMessage;
  /**
   * Makes the whole envelope for what a server sends.
   *
   * @returns `null` if the version has no such message, which is then left out.
   */
  encodeServerMessage(message: ServerMessage, sequence: number): Uint8Array<ArrayBuffer> | null;
  /** Makes the whole envelope for what a client sends. */
  encodeClientMessage(message: ClientMessage, sequence: number): Uint8Array<ArrayBuffer>;
  /**
   * Reads what a server sent.
   *
   * @throws {RequestError} as `decodeClientMessage` does.
   */
  decodeServerMessage(type: number, payload: Uint8Array): ServerMessage;
}
