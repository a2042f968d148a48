/**
 * A device on today's libsignal: X3DH with Kyber, Double Ratchet with its post-quantum ratchet.
 *
 * It wants an EC and a Kyber key in one bundle, the server has one blob for both, so:
 * `signedPreKey` = id, public, signature of the signed EC prekey, then of the last-resort Kyber prekey;
 * an entry of `preKeys` = id, public of a one-time EC prekey, then id, public, signature of a one-time Kyber prekey.
 * @module
 */
import { randomInt } from "node:crypto";
import {
  CiphertextMessageType,
  IdentityKeyPair,
  KEMKeyPair,
  KEMPublicKey,
  KyberPreKeyRecord,
  PreKeyBundle as SignalBundle,
  PreKeyRecord,
  PreKeySignalMessage,
  PrivateKey,
  processPreKeyBundle,
  ProtocolAddress,
  PublicKey,
  signalDecrypt,
  signalDecryptPreKey,
  signalEncrypt,
  SignalMessage,
  SignedPreKeyRecord,
} from "../support/libsignal.ts";
import type { Address } from "../../lib/address.ts";
import type { PreKeyBundle } from "../../lib/client/mod.ts";
import { BlobReader, BlobWriter, labelCiphertext, readCiphertext } from "./blobs.ts";
import type { Device, RegisteredKeys } from "./device.ts";
import { IdentityKeys, KyberPreKeys, PreKeys, Sessions, SignedPreKeys } from "./libsignal_stores.ts";

const SIGNED_PREKEY_ID = 1;
const LAST_RESORT_KYBER_ID = 1;
const FIRST_ONE_TIME_ID = 2;
/** libsignal's registration ids have 14 bits, and 0 is none. */
const REGISTRATION_ID_MAX = 0x3ffc;

/** One installation: a new one has a new identity and a new registration id. */
export class LibsignalDevice implements Device {
  readonly address: Address;
  readonly registrationId = randomInt(1, REGISTRATION_ID_MAX + 1);
  readonly #self: ProtocolAddress;
  readonly #identity = IdentityKeyPair.generate();
  readonly #identityKeys = new IdentityKeys(this.#identity, this.registrationId);
  readonly #sessions = new Sessions();
  readonly #preKeys = new PreKeys();
  readonly #signedPreKeys = new SignedPreKeys();
  readonly #kyberPreKeys = new KyberPreKeys(LAST_RESORT_KYBER_ID);
  #signedPreKeyBlob: Promise<Uint8Array> | undefined;
  #nextOneTimeId = FIRST_ONE_TIME_ID;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(address: Address) {
    this.address = address;
    this.#self = protocolAddress(address);
  }

  async keys(oneTimePreKeys: number): Promise<RegisteredKeys> {
    // Made once: another signed prekey on a later call would be a rotation to the server.
    this.#signedPreKeyBlob ??= this.#makeSignedPreKeys();
    const preKeys: Uint8Array[] = [];
    for (let made = 0; made < oneTimePreKeys; made++) preKeys.push(await this.#makeOneTimePair());
    return {
      registrationId: this.registrationId,
      identityKey: this.#identity.publicKey.serialize(),
      signedPreKey: await this.#signedPreKeyBlob,
      preKeys,
    };
  }

  startSession(bundle: PreKeyBundle): Promise<void> {
    return this.#inTurn(() =>
      processPreKeyBundle(
        signalBundle(bundle),
        protocolAddress(bundle),
        this.#self,
        this.#sessions,
        this.#identityKeys,
      )
    );
  }

  encrypt(to: Address, text: string): Promise<Uint8Array> {
    return this.#inTurn(async () => {
      const plaintext = new TextEncoder().encode(text);
      const recipient = protocolAddress(to);
      const message = await signalEncrypt(
        plaintext,
        recipient,
        this.#self,
        this.#sessions,
        this.#identityKeys,
      );
      return labelCiphertext(message.type(), message.serialize());
    });
  }

  decrypt(from: Address, ciphertext: Uint8Array): Promise<string> {
    return this.#inTurn(async () => {
      const { kind, body } = readCiphertext(ciphertext);
      return new TextDecoder().decode(await this.#decryptKind(kind, protocolAddress(from), body));
    });
  }

  /** Lets the device behind an address have a new identity. */
  acceptNewIdentity(of: Address): void {
    this.#identityKeys.forget(protocolAddress(of));
  }

  /** The registration id that the session with an address was made for; `undefined` without a session. */
  async sessionRegistrationId(of: Address): Promise<number | undefined> {
    return (await this.#sessions.getSession(protocolAddress(of)))?.remoteRegistrationId();
  }

  #decryptKind(kind: number, sender: ProtocolAddress, body: Uint8Array<ArrayBuffer>) {
    switch (kind) {
      case CiphertextMessageType.PreKey:
        return signalDecryptPreKey(
          PreKeySignalMessage.deserialize(body),
          sender,
          this.#self,
          this.#sessions,
          this.#identityKeys,
          this.#preKeys,
          this.#signedPreKeys,
          this.#kyberPreKeys,
        );
      case CiphertextMessageType.Whisper: {
        const message = SignalMessage.deserialize(body);
        return signalDecrypt(message, sender, this.#self, this.#sessions, this.#identityKeys);
      }
      default:
        throw new Error(`a ciphertext of unknown kind ${kind}`);
    }
  }

  async #makeSignedPreKeys(): Promise<Uint8Array> {
    const privateKey = PrivateKey.generate();
    const publicKey = privateKey.getPublicKey();
    const signature = this.#identity.privateKey.sign(publicKey.serialize());
    const signed = SignedPreKeyRecord.new(SIGNED_PREKEY_ID, Date.now(), publicKey, privateKey, signature);
    await this.#signedPreKeys.saveSignedPreKey(signed.id(), signed);

    const lastResort = await this.#makeKyberPreKey(LAST_RESORT_KYBER_ID);
    return new BlobWriter()
      .uint32(signed.id()).bytes(publicKey.serialize()).bytes(signature)
      .uint32(lastResort.id()).bytes(lastResort.publicKey().serialize()).bytes(lastResort.signature())
      .finish();
  }

  async #makeOneTimePair(): Promise<Uint8Array> {
    const id = this.#nextOneTimeId++;
    const privateKey = PrivateKey.generate();
    const ec = PreKeyRecord.new(id, privateKey.getPublicKey(), privateKey);
    await this.#preKeys.savePreKey(id, ec);

    const kyber = await this.#makeKyberPreKey(id);
    return new BlobWriter()
      .uint32(ec.id()).bytes(ec.publicKey().serialize())
      .uint32(kyber.id()).bytes(kyber.publicKey().serialize()).bytes(kyber.signature())
      .finish();
  }

  async #makeKyberPreKey(id: number): Promise<KyberPreKeyRecord> {
    const keyPair = KEMKeyPair.generate();
    const signature = this.#identity.privateKey.sign(keyPair.getPublicKey().serialize());
    const record = KyberPreKeyRecord.new(id, Date.now(), keyPair, signature);
    await this.#kyberPreKeys.saveKyberPreKey(id, record);
    return record;
  }

  /** libsignal loads a session, works on it and saves it: two at once would lose a step of the ratchet. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(work, work);
    this.#turn = done;
    return done;
  }
}

/** The bundle in libsignal's form; the last-resort Kyber key stands in where no one-time pair was left. */
function signalBundle(bundle: PreKeyBundle): SignalBundle {
  const always = new BlobReader(bundle.signedPreKey);
  const signed = { id: always.uint32(), publicKey: always.bytes(), signature: always.bytes() };
  let kyber = { id: always.uint32(), publicKey: always.bytes(), signature: always.bytes() };
  always.end();

  let oneTime: { id: number; publicKey: PublicKey } | undefined;
  if (bundle.preKey !== null) {
    const pair = new BlobReader(bundle.preKey);
    oneTime = { id: pair.uint32(), publicKey: PublicKey.deserialize(pair.bytes()) };
    kyber = { id: pair.uint32(), publicKey: pair.bytes(), signature: pair.bytes() };
    pair.end();
  }
  return SignalBundle.new(
    bundle.registrationId,
    bundle.deviceId,
    oneTime?.id ?? null,
    oneTime?.publicKey ?? null,
    signed.id,
    PublicKey.deserialize(signed.publicKey),
    signed.signature,
    PublicKey.deserialize(new Uint8Array(bundle.identityKey)),
    kyber.id,
    KEMPublicKey.deserialize(kyber.publicKey),
    kyber.signature,
  );
}

function protocolAddress({ userId, deviceId }: Address): ProtocolAddress {
  return ProtocolAddress.new(userId, deviceId);
}
