/** The keys and messages of peers, made of numbers that tests can tell apart. */
import type { DeviceAddress } from "../../lib/client/mod.ts";
import type { ClientMessage, DeviceKeys } from "../../lib/protocol/mod.ts";

/** What a peer registers; what is not given is made from the registration ID. */
export interface KeyOptions {
  /** Default: 1. */
  readonly registrationId?: number;
  /** Default: one of its own for each registration ID. */
  readonly identityKey?: Uint8Array;
  /** Default: numbers 0 to 11. */
  readonly preKeys?: readonly Uint8Array[];
  readonly replace?: boolean;
}

/** How a message is sent. */
export interface SendHow {
  readonly messageId?: Uint8Array;
  readonly retry?: boolean;
  readonly transient?: boolean;
  readonly ttlSeconds?: number;
  /** Bytes of the ciphertext. Default: four. */
  readonly bytes?: number;
}

/** The keys of an installation. */
export function peerKeys(options: KeyOptions = {}): DeviceKeys {
  const { registrationId = 1, preKeys = manyKeys(12), replace = false } = options;
  return {
    registrationId,
    identityKey: options.identityKey ?? Uint8Array.of(1, registrationId & 0xff, registrationId >> 8),
    signedPreKey: Uint8Array.of(2),
    preKeys,
    replace,
  };
}

/** So many prekeys, told apart by their number. */
export function manyKeys(count: number, first = 0): Uint8Array[] {
  return range(count, first).map((n) => numbered(n));
}

/** So many numbers from `first` on. */
export function range(count: number, first = 0): number[] {
  return Array.from({ length: count }, (_, i) => first + i);
}

/** Sixteen random bytes: a message ID or a ClaimID. */
export function newId(): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(16));
}

/** Bytes that begin with a number. */
export function numbered(n: number, bytes = 4): Uint8Array {
  const numbered = new Uint8Array(bytes);
  new DataView(numbered.buffer).setUint32(0, n);
  return numbered;
}

/** The number again. */
export function numberOf(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
}

function complete({ messageId = newId(), retry = false, transient = false, ttlSeconds = 0 }: SendHow) {
  return { messageId, retry, transient, ttlSeconds };
}

/** A send to one device. */
export function sendWith(to: DeviceAddress, ciphertext: Uint8Array, how: SendHow = {}): ClientMessage {
  const padded = how.bytes === undefined ? ciphertext : numbered(numberOf(ciphertext), how.bytes);
  return { type: "user_message", message: { to, ciphertext: padded, ...complete(how) } };
}

/** A send to devices of a user, each with the registration ID that is expected of it. */
export function copyFor(
  userId: string,
  devices: Readonly<Record<number, number>>,
  ciphertext: Uint8Array,
  how: SendHow & { readonly listedOnly?: boolean } = {},
): ClientMessage {
  const padded = how.bytes === undefined ? ciphertext : numbered(numberOf(ciphertext), how.bytes);
  const copies = Object.entries(devices).map(([deviceId, registrationId]) => ({
    deviceId: Number(deviceId),
    registrationId,
    ciphertext: padded,
  }));
  const messages = { userId, devices: copies, listedOnly: how.listedOnly ?? false, ...complete(how) };
  return { type: "user_messages", messages };
}
