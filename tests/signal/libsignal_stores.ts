/**
 * The stores that libsignal asks its host for, each in memory and for one device.
 *
 * Sessions are kept as bytes, as a real client keeps them: nothing survives by sharing a native object.
 * @module
 */
import {
  type Direction,
  IdentityChange,
  type IdentityKeyPair,
  IdentityKeyStore,
  type KyberPreKeyRecord,
  KyberPreKeyStore,
  type PreKeyRecord,
  PreKeyStore,
  type PrivateKey,
  type ProtocolAddress,
  type PublicKey,
  SessionRecord,
  SessionStore,
  type SignedPreKeyRecord,
  SignedPreKeyStore,
} from "../support/libsignal.ts";

/** Own identity, and those of others: the first one seen is trusted until it is forgotten. */
export class IdentityKeys extends IdentityKeyStore {
  readonly #own: IdentityKeyPair;
  readonly #registrationId: number;
  readonly #others = new Map<string, PublicKey>();

  constructor(own: IdentityKeyPair, registrationId: number) {
    super();
    this.#own = own;
    this.#registrationId = registrationId;
  }

  override getIdentityKey(): Promise<PrivateKey> {
    return Promise.resolve(this.#own.privateKey);
  }

  override getLocalRegistrationId(): Promise<number> {
    return Promise.resolve(this.#registrationId);
  }

  override saveIdentity(name: ProtocolAddress, key: PublicKey): Promise<IdentityChange> {
    const before = this.#others.get(name.toString());
    this.#others.set(name.toString(), key);
    const same = before === undefined || before.equals(key);
    return Promise.resolve(same ? IdentityChange.NewOrUnchanged : IdentityChange.ReplacedExisting);
  }

  override isTrustedIdentity(name: ProtocolAddress, key: PublicKey, _direction: Direction): Promise<boolean> {
    return Promise.resolve(this.#others.get(name.toString())?.equals(key) ?? true);
  }

  override getIdentity(name: ProtocolAddress): Promise<PublicKey | null> {
    return Promise.resolve(this.#others.get(name.toString()) ?? null);
  }

  /** The user has agreed that the device behind the address is another one now. */
  forget(name: ProtocolAddress): void {
    this.#others.delete(name.toString());
  }
}

/** One session record for each address. */
export class Sessions extends SessionStore {
  readonly #records = new Map<string, Uint8Array<ArrayBuffer>>();

  override saveSession(name: ProtocolAddress, record: SessionRecord): Promise<void> {
    this.#records.set(name.toString(), record.serialize());
    return Promise.resolve();
  }

  override getSession(name: ProtocolAddress): Promise<SessionRecord | null> {
    const record = this.#records.get(name.toString());
    return Promise.resolve(record === undefined ? null : SessionRecord.deserialize(record));
  }

  override async getExistingSessions(addresses: ProtocolAddress[]): Promise<SessionRecord[]> {
    const records = await Promise.all(addresses.map((address) => this.getSession(address)));
    return records.filter((record) => record !== null);
  }
}

/** One-time EC prekeys. */
export class PreKeys extends PreKeyStore {
  readonly #records = new Map<number, PreKeyRecord>();

  override savePreKey(id: number, record: PreKeyRecord): Promise<void> {
    this.#records.set(id, record);
    return Promise.resolve();
  }

  override getPreKey(id: number): Promise<PreKeyRecord> {
    return found(this.#records.get(id), `one-time prekey ${id}`);
  }

  override removePreKey(id: number): Promise<void> {
    this.#records.delete(id);
    return Promise.resolve();
  }
}

/** Signed EC prekeys. */
export class SignedPreKeys extends SignedPreKeyStore {
  readonly #records = new Map<number, SignedPreKeyRecord>();

  override saveSignedPreKey(id: number, record: SignedPreKeyRecord): Promise<void> {
    this.#records.set(id, record);
    return Promise.resolve();
  }

  override getSignedPreKey(id: number): Promise<SignedPreKeyRecord> {
    return found(this.#records.get(id), `signed prekey ${id}`);
  }
}

/** Kyber prekeys: a one-time key is gone after use; the last-resort key stays, but takes no base key twice. */
export class KyberPreKeys extends KyberPreKeyStore {
  readonly #records = new Map<number, KyberPreKeyRecord>();
  readonly #lastResortId: number;
  readonly #usedBaseKeys = new Set<string>();

  constructor(lastResortId: number) {
    super();
    this.#lastResortId = lastResortId;
  }

  override saveKyberPreKey(id: number, record: KyberPreKeyRecord): Promise<void> {
    this.#records.set(id, record);
    return Promise.resolve();
  }

  override getKyberPreKey(id: number): Promise<KyberPreKeyRecord> {
    return found(this.#records.get(id), `Kyber prekey ${id}`);
  }

  override markKyberPreKeyUsed(id: number, signedPreKeyId: number, baseKey: PublicKey): Promise<void> {
    if (id !== this.#lastResortId) {
      this.#records.delete(id);
      return Promise.resolve();
    }
    // Without this a replayed first message would set the session up again.
    const use = `${signedPreKeyId} ${baseKey.serialize().toHex()}`;
    if (this.#usedBaseKeys.has(use)) return Promise.reject(new Error("this base key was used before"));
    this.#usedBaseKeys.add(use);
    return Promise.resolve();
  }
}

function found<T>(record: T | undefined, what: string): Promise<T> {
  if (record === undefined) return Promise.reject(new Error(`there is no ${what}`));
  return Promise.resolve(record);
}
