/**
 * The messages of the protocol as values, the same for every version: what a codec makes of bytes and bytes of.
 * @module
 */
import type {
  Accepted,
  DeviceKeys,
  OutgoingMessage,
  OutgoingMessages,
  PreKeyBundle,
  PreKeyRequest,
  StoredMessage,
  UserDevice,
} from "../domain.ts";
import type { DeviceMismatch } from "../errors.ts";
import type { Allocate, Version } from "./envelope.ts";

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
  hello: 9,
  userMessages: 10,
  queueEmpty: 11,
  requestDevices: 12,
  devices: 13,
} as const;

/** What a client sends. */
export type ClientMessage =
  /** The message of the server that has the envelope's sequence was received for good. */
  | { readonly type: "ack" }
  /** The message of the server that has the envelope's sequence is refused: it stays stored. */
  | { readonly type: "error"; readonly code: number; readonly description: string }
  | { readonly type: "register"; readonly keys: DeviceKeys }
  | {
    readonly type: "unregister";
    /** Another device of one's own user; absent: the one that is connected. */
    readonly deviceId?: number;
  }
  | { readonly type: "request_prekeys"; readonly request: PreKeyRequest }
  | { readonly type: "user_message"; readonly message: OutgoingMessage }
  | { readonly type: "user_messages"; readonly messages: OutgoingMessages }
  | { readonly type: "request_devices"; readonly userId: string };

/** What a server sends. */
export type ServerMessage =
  | {
    readonly type: "ack";
    /** To a send: what became of it. */
    readonly accepted?: Accepted;
    /** To a Register: how many one-time prekeys went into the pool, and how many were known before. */
    readonly registered?: { readonly stored: number; readonly skipped: number };
  }
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
  }
  | { readonly type: "hello"; readonly hello: Hello }
  | {
    readonly type: "queue_empty";
    /** How many messages expired undelivered, or found the mailbox full, since this was last told. */
    readonly lost: number;
  }
  | { readonly type: "devices"; readonly userId: string; readonly devices: readonly UserDevice[] };

/** What a server says of itself, and of the device, when a connection opens. */
export interface Hello {
  /** Name and version of the server. */
  readonly server: string;
  /** The server's clock, milliseconds since the epoch. */
  readonly time: number;
  /** Bytes of one ciphertext. */
  readonly messageBytesMax: number;
  /** Bytes of one WebSocket message of the client. */
  readonly envelopesBytesMax: number;
  /** Messages that are delivered and not acknowledged. */
  readonly window: number;
  /** Requests that are not answered. */
  readonly inFlightMax: number;
  /** One-time prekeys that are kept for a device. */
  readonly preKeysMax: number;
  /** Devices of one user. */
  readonly devicesMax: number;
  /** How long a message is kept. */
  readonly retentionSeconds: number;
  /** The registration ID of this device; `null` if it is not registered. */
  readonly registrationId: number | null;
  /** One-time prekeys of this device that are left. */
  readonly preKeysStored: number;
}

/** One version of the wire: all that depends on the version, and nothing else. */
export interface Codec {
  /** Which version this is. */
  readonly version: Version;
  /** Whether a server may put several envelopes into one WebSocket message. */
  readonly gathers: boolean;
  /** Whether connections are greeted with Hello, and told when the queue is empty. */
  readonly announces: boolean;
  /**
   * Reads what a client sent.
   *
   * @throws {RequestError} `unknown_type`, `unmarshal`, `invalid_user_id` or `too_large`; nothing else.
   */
  decodeClientMessage(type: number, payload: Uint8Array): ClientMessage;
  /**
   * Makes the whole envelope for what a server sends.
   *
   * @param room where the envelopes are made of which there are many; without it each has bytes of its own.
   * @returns `null` if the version has no such message, which is then left out.
   */
  encodeServerMessage(
    message: ServerMessage,
    sequence: number,
    room?: Allocate,
  ): Uint8Array<ArrayBuffer> | null;
  /** Makes the whole envelope for what a client sends. */
  encodeClientMessage(message: ClientMessage, sequence: number): Uint8Array<ArrayBuffer>;
  /**
   * Reads what a server sent.
   *
   * @throws {RequestError} as `decodeClientMessage` does.
   */
  decodeServerMessage(type: number, payload: Uint8Array): ServerMessage;
}
