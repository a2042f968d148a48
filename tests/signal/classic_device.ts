/**
 * A device on the classic library: X3DH without Kyber, as the first clients of this server were built.
 *
 * `signedPreKey` = id, public, signature; an entry of `preKeys` = id, public.
 * @module
 */
import { randomInt } from "node:crypto";
import {
  type DeviceType,
  EncryptionResultMessageType,
  KeyHelper,
  type KeyPairType,
  SessionBuilder,
  SessionCipher,
  SignalProtocolAddress,
  type SignedPreKeyPairType,
} from "../support/libsignal_classic.ts";
import type { Address } from "../../lib/address.ts";
import type { PreKeyBundle } from "../../lib/client/mod.ts";
import { BlobReader, BlobWriter, labelCiphertext, readCiphertext } from "./blobs.ts";
import { ClassicStore } from "./classic_store.ts";
import type { Device, RegisteredKeys } from "./device.ts";

const SIGNED_PREKEY_ID = 1;
/** The library takes the id 0 for "no one-time prekey": the two sides would compute different secrets. */
const FIRST_ONE_TIME_ID = 1;

/** One installation. */
export class ClassicDevice implements Device {
  readonly address: Address;
  readonly registrationId: number;
  readonly #identity: KeyPairType;
  readonly #signedPreKey: SignedPreKeyPairType;
  readonly #store: ClassicStore;
  #nextOneTimeId = FIRST_ONE_TIME_ID;

  private constructor(address: Address, identity: KeyPairType, signedPreKey: SignedPreKeyPairType) {
    this.address = address;
    // Not KeyHelper's: it may give 0, which its protobuf cannot tell from "none".
    this.registrationId = randomInt(1, 0x4000);
    this.#identity = identity;
    this.#signedPreKey = signedPreKey;
    this.#store = new ClassicStore(identity, this.registrationId);
  }

  /** A new installation. */
  static async install(address: Address): Promise<ClassicDevice> {
    const identity = await KeyHelper.generateIdentityKeyPair();
    const signedPreKey = await KeyHelper.generateSignedPreKey(identity, SIGNED_PREKEY_ID);
    const device = new ClassicDevice(address, identity, signedPreKey);
    await device.#store.storeSignedPreKey(signedPreKey.keyId, signedPreKey.keyPair);
    return device;
  }

  async keys(oneTimePreKeys: number): Promise<RegisteredKeys> {
    const { keyId, keyPair, signature } = this.#signedPreKey;
    const preKeys: Uint8Array[] = [];
    for (let made = 0; made < oneTimePreKeys; made++) preKeys.push(await this.#makeOneTimePreKey());
    return {
      registrationId: this.registrationId,
      identityKey: new Uint8Array(this.#identity.pubKey),
      signedPreKey: new BlobWriter()
        .uint32(keyId).bytes(new Uint8Array(keyPair.pubKey)).bytes(new Uint8Array(signature))
        .finish(),
      preKeys,
    };
  }

  async startSession(bundle: PreKeyBundle): Promise<void> {
    await new SessionBuilder(this.#store, protocolAddress(bundle)).processPreKey(classicBundle(bundle));
  }

  async encrypt(to: Address, text: string): Promise<Uint8Array> {
    const plaintext = new TextEncoder().encode(text).buffer;
    const { type, body } = await this.#cipher(to).encrypt(plaintext);
    if (body === undefined) throw new Error("the library gave no ciphertext");
    // The body is a string with one character for each byte.
    return labelCiphertext(type, Uint8Array.from(body, (character) => character.charCodeAt(0)));
  }

  async decrypt(from: Address, ciphertext: Uint8Array): Promise<string> {
    const { kind, body } = readCiphertext(ciphertext);
    return new TextDecoder().decode(await this.#decryptKind(kind, this.#cipher(from), body.buffer));
  }

  #decryptKind(kind: number, cipher: SessionCipher, body: ArrayBuffer): Promise<ArrayBuffer> {
    switch (kind) {
      case EncryptionResultMessageType.PreKeyWhisperMessage:
        return cipher.decryptPreKeyWhisperMessage(body);
      case EncryptionResultMessageType.WhisperMessage:
        return cipher.decryptWhisperMessage(body);
      default:
        throw new Error(`a ciphertext of unknown kind ${kind}`);
    }
  }

  #cipher(peer: Address): SessionCipher {
    return new SessionCipher(this.#store, protocolAddress(peer));
  }

  async #makeOneTimePreKey(): Promise<Uint8Array> {
    const { keyId, keyPair } = await KeyHelper.generatePreKey(this.#nextOneTimeId++);
    await this.#store.storePreKey(keyId, keyPair);
    return new BlobWriter().uint32(keyId).bytes(new Uint8Array(keyPair.pubKey)).finish();
  }
}

function classicBundle(bundle: PreKeyBundle): DeviceType {
  const always = new BlobReader(bundle.signedPreKey);
  const signedPreKey = {
    keyId: always.uint32(),
    publicKey: always.bytes().buffer,
    signature: always.bytes().buffer,
  };
  always.end();

  const device: DeviceType = {
    registrationId: bundle.registrationId,
    identityKey: new Uint8Array(bundle.identityKey).buffer,
    signedPreKey,
  };
  if (bundle.preKey !== null) {
    const oneTime = new BlobReader(bundle.preKey);
    device.preKey = { keyId: oneTime.uint32(), publicKey: oneTime.bytes().buffer };
    oneTime.end();
  }
  return device;
}

function protocolAddress({ userId, deviceId }: Address): SignalProtocolAddress {
  return new SignalProtocolAddress(userId, deviceId);
}
