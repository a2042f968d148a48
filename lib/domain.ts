/**
 * The values that the server is about: devices, keys and messages, whatever version of the protocol carried them.
 * @module
 */
import type { Address } from "./address.ts";

/** A registered device as others see it. */
export interface UserDevice {
  /** uint32. */
  readonly deviceId: number;
  /** uint32; names one installation of the client on the device. */
  readonly registrationId: number;
  /** The public identity key: opaque bytes. */
  readonly identityKey: Uint8Array;
}

/** What an owner registers for its device. All key material is opaque. */
export interface DeviceKeys {
  /** uint32; names this installation. */
  readonly registrationId: number;
  /** The public identity key. */
  readonly identityKey: Uint8Array;
  /** The signed prekey, with whatever else belongs into every bundle. */
  readonly signedPreKey: Uint8Array;
  /** One-time prekeys, oldest first. */
  readonly preKeys: readonly Uint8Array[];
  /** Whether the one-time prekeys replace the pool rather than add to it. */
  readonly replace: boolean;
}

/** What a sender needs to start a session with one device. */
export interface PreKeyBundle extends UserDevice {
  /** Whose device it is. */
  readonly userId: string;
  /** The signed prekey as registered. */
  readonly signedPreKey: Uint8Array;
  /** A one-time prekey that nobody else gets, or `null` if none is left. */
  readonly preKey: Uint8Array | null;
}

/** A request for the bundles of a user's devices. */
export interface PreKeyRequest {
  /** Whose devices. */
  readonly userId: string;
  /** Devices that are left out. */
  readonly knownDeviceIds: readonly number[];
  /** 16 bytes: a repeat with the same ones gets the same keys. */
  readonly claimId?: Uint8Array;
}

/** What became of a send. */
export interface Accepted {
  /** When the server accepted it, milliseconds since the epoch. */
  readonly at: number;
  /** Devices whose mailbox was full, and which were left out. */
  readonly fullDeviceIds: readonly number[];
}

/** What every send says, to one device or to all of a user. */
export interface Outgoing {
  /** Of use for a few seconds only (typing and the like). */
  readonly transient: boolean;
  /** The sender may have sent this before: it is stored once. */
  readonly retry: boolean;
  /** Seconds until it is of no use; 0 means the server's retention. */
  readonly ttlSeconds: number;
}

/** A message to all devices of a user, encrypted for each. */
export interface OutgoingMessages extends Outgoing {
  /** The recipient. */
  readonly userId: string;
  /** The sender's own 16 bytes for this message. */
  readonly messageId: Uint8Array;
  /** Only the devices that are named: none is missing. */
  readonly listedOnly: boolean;
  /** The ciphertext for each device, and the installation that it was encrypted for. */
  readonly devices: readonly {
    /** uint32. */
    readonly deviceId: number;
    /** uint32. */
    readonly registrationId: number;
    /** Opaque bytes. */
    readonly ciphertext: Uint8Array;
  }[];
}

/** A message as its sender hands it in. */
export interface OutgoingMessage extends Outgoing {
  /** The recipient. */
  readonly to: Address;
  /** The sender's own 16 bytes for this message; absent in version 1, where the server makes them. */
  readonly messageId?: Uint8Array;
  /** Opaque bytes. */
  readonly ciphertext: Uint8Array;
}

/** A message as it waits for, or goes to, its recipient. */
export interface StoredMessage {
  /** 16 bytes, time-ordered: its place in the mailbox. */
  readonly id: Uint8Array;
  /** The sender, as authenticated. */
  readonly from: Address;
  /** 16 bytes: the sender's, or made by the server. */
  readonly messageId: Uint8Array;
  /** When the server accepted it, milliseconds since the epoch. */
  readonly timestamp: number;
  /** From when on it must not be delivered, milliseconds since the epoch. */
  readonly expiresAt: number;
  /** Of use for a few seconds only. */
  readonly transient: boolean;
  /** Opaque bytes. */
  readonly ciphertext: Uint8Array;
}
