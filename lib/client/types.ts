/**
 * What the client library takes and gives.
 * @module
 */
import type { DeviceMismatch } from "../protocol/mod.ts";

/** One device of one user. */
export interface DeviceAddress {
  /** UUID version 4. */
  readonly userId: string;
  /** uint32. */
  readonly deviceId: number;
}

/** What a device registers. All key material is opaque to the server. */
export interface RegistrationKeys {
  /** uint32; names this installation of the client. */
  readonly registrationId: number;
  /** The public identity key. */
  readonly identityKey: Uint8Array;
  /** The signed prekey, with whatever else belongs into every bundle. */
  readonly signedPreKey: Uint8Array;
  /** One-time prekeys to add to the pool, oldest first. */
  readonly preKeys: readonly Uint8Array[];
  /** Whether they replace the pool rather than add to it. Version 2 only. */
  readonly replace?: boolean;
}

/** How a message is sent. */
export interface SendOptions {
  /** 16 bytes. Keep them for a repeat. Default: random. */
  readonly messageId?: Uint8Array;
  /** This may have been accepted before: it is stored once. */
  readonly retry?: boolean;
  /** Of use for ten seconds only. */
  readonly transient?: boolean;
  /** Seconds until it is of no use. Default: the server's retention. */
  readonly ttlSeconds?: number;
}

/** The ciphertext for one device of a user, and the installation that it was encrypted for. */
export interface DeviceCiphertext {
  /** uint32. */
  readonly deviceId: number;
  /** As the device's bundle, or a ServerError's `mismatch`, says. */
  readonly registrationId: number;
  /** Opaque bytes. */
  readonly ciphertext: Uint8Array;
}

/** What is needed to start a session with one device. */
export interface PreKeyBundle extends DeviceAddress {
  /** uint32; names the installation of the client. */
  readonly registrationId: number;
  /** The public identity key. */
  readonly identityKey: Uint8Array;
  /** The signed prekey as registered. */
  readonly signedPreKey: Uint8Array;
  /** `null` if the device has none left. */
  readonly preKey: Uint8Array | null;
}

/** A message that arrived. */
export interface ReceivedMessage {
  /** The sender, as the server authenticated it. */
  readonly from: DeviceAddress;
  /** 16 bytes, the sender's own: drop what comes again with the same ones. All zero on version 1. */
  readonly messageId: Uint8Array;
  /** When the server accepted it, milliseconds since the epoch; 0 on version 1. */
  readonly timestamp: number;
  /** What the sender handed in. */
  readonly ciphertext: Uint8Array;
}

/** How to connect, and whom to tell. */
export interface ConnectionOptions extends DeviceAddress {
  /** The server, such as `wss://chat.example.org`. */
  readonly url: string;
  /** The newest version to use. Default: 2; a server that has only version 1 gets that. */
  readonly version?: 1 | 2;
  /** The bearer token; absent for a server with AUTH_MODE=none. */
  readonly token?: string;
  /** How long a request may take, milliseconds. Default: 10,000. */
  readonly deadlineMs?: number;
  /** A message arrived. It is acknowledged when this is done, and comes again if it throws. */
  onMessage?(message: ReceivedMessage): void | Promise<void>;
  /** The server asks for so many new one-time prekeys. */
  onPreKeysLow?(wanted: number): void;
  /** Everything that waited has been handed over; so many messages expired or found the mailbox full meanwhile. */
  onQueueEmpty?(lost: number): void;
  /** The connection is over. */
  onClose?(code: number, reason: string): void;
}

/** The server answered a request with an Error (the codes are those of the protocol, §3). */
export class ServerError extends Error {
  /** Tells it from other errors. */
  override readonly name = "ServerError";

  /**
   * Repeats what the server said.
   *
   * @param retryAfterMs when to try again, where the server says so.
   * @param mismatch what differs between the devices of a send and those that there are (code 107).
   */
  constructor(
    readonly code: number,
    readonly description: string,
    readonly retryAfterMs?: number,
    readonly mismatch?: DeviceMismatch,
  ) {
    super(`${code}: ${description}`);
  }
}

/** The connection ended, or could not be opened, before the answer came: the request may have been carried out. */
export class DisconnectedError extends Error {
  /** Tells it from other errors. */
  override readonly name = "DisconnectedError";

  /**
   * Tells how the connection ended.
   *
   * @param code the close code, 1006 if there was none.
   */
  constructor(readonly code: number, readonly reason: string) {
    super(`disconnected: ${code} ${reason}`);
  }
}
