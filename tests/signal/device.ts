/**
 * Device: what the flow tests need of one Signal installation, whichever library it is built on.
 *
 * A device knows keys and sessions and no server; `messenger.ts` joins it to a connection.
 * @module
 */
import type { Address } from "../../lib/address.ts";
import type { PreKeyBundle } from "../../lib/client/mod.ts";

/** What a device hands to `Connection.register()`. */
export interface RegisteredKeys {
  readonly registrationId: number;
  readonly identityKey: Uint8Array;
  readonly signedPreKey: Uint8Array;
  readonly preKeys: Uint8Array[];
}

/** One installation of a client. */
export interface Device {
  readonly address: Address;
  /** The public keys, with so many one-time prekeys that never left the device before. */
  keys(oneTimePreKeys: number): Promise<RegisteredKeys>;
  /** Prepares a session with the device that the bundle is of; its first message tells the other side. */
  startSession(bundle: PreKeyBundle): Promise<void>;
  encrypt(to: Address, text: string): Promise<Uint8Array>;
  decrypt(from: Address, ciphertext: Uint8Array): Promise<string>;
}
