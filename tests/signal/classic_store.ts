/**
 * ClassicStore: what the classic library asks its host to keep, in memory and for one device.
 *
 * The library names a peer `user.device` when it saves an identity and `user` when it asks whether one is
 * trusted, so an identity here belongs to the user: enough for peers with one device.
 * @module
 */
import {
  type Direction,
  type KeyPairType,
  type SessionRecordType,
  SignalProtocolAddress,
  type StorageType,
} from "../support/libsignal_classic.ts";

/** Keys and sessions of one installation. */
export class ClassicStore implements StorageType {
  readonly #own: KeyPairType;
  readonly #registrationId: number;
  readonly #identities = new Map<string, Uint8Array>();
  readonly #sessions = new Map<string, SessionRecordType>();
  readonly #preKeys = new Map<string, KeyPairType>();
  readonly #signedPreKeys = new Map<string, KeyPairType>();

  constructor(own: KeyPairType, registrationId: number) {
    this.#own = own;
    this.#registrationId = registrationId;
  }

  readonly getIdentityKeyPair = (): Promise<KeyPairType> => Promise.resolve(this.#own);

  readonly getLocalRegistrationId = (): Promise<number> => Promise.resolve(this.#registrationId);

  readonly isTrustedIdentity = (user: string, key: ArrayBuffer, _direction: Direction): Promise<boolean> => {
    const known = this.#identities.get(user);
    return Promise.resolve(known === undefined || sameBytes(known, new Uint8Array(key)));
  };

  readonly saveIdentity = (address: string, key: ArrayBuffer): Promise<boolean> => {
    const user = SignalProtocolAddress.fromString(address).name;
    const before = this.#identities.get(user);
    this.#identities.set(user, new Uint8Array(key));
    return Promise.resolve(before !== undefined && !sameBytes(before, new Uint8Array(key)));
  };

  readonly loadSession = (address: string): Promise<SessionRecordType | undefined> =>
    Promise.resolve(this.#sessions.get(address));

  readonly storeSession = (address: string, record: SessionRecordType): Promise<void> => {
    this.#sessions.set(address, record);
    return Promise.resolve();
  };

  readonly loadPreKey = (id: number | string): Promise<KeyPairType | undefined> =>
    Promise.resolve(this.#preKeys.get(`${id}`));

  readonly storePreKey = (id: number | string, keyPair: KeyPairType): Promise<void> => {
    this.#preKeys.set(`${id}`, keyPair);
    return Promise.resolve();
  };

  readonly removePreKey = (id: number | string): Promise<void> => {
    this.#preKeys.delete(`${id}`);
    return Promise.resolve();
  };

  readonly loadSignedPreKey = (id: number | string): Promise<KeyPairType | undefined> =>
    Promise.resolve(this.#signedPreKeys.get(`${id}`));

  readonly storeSignedPreKey = (id: number | string, keyPair: KeyPairType): Promise<void> => {
    this.#signedPreKeys.set(`${id}`, keyPair);
    return Promise.resolve();
  };

  readonly removeSignedPreKey = (id: number | string): Promise<void> => {
    this.#signedPreKeys.delete(`${id}`);
    return Promise.resolve();
  };
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}
