/**
 * A client that follows Sesame on version 2: it sends to all devices of a user, and repairs its list by what the
 * server's refusals say.
 * @module
 */
import { IdentityKeyPair } from "../support/libsignal.ts";
import type { Address } from "../../lib/address.ts";
import {
  Connection,
  type DeviceCiphertext,
  type ReceivedMessage,
  ServerError,
} from "../../lib/client/mod.ts";
import { Arrivals } from "./arrivals.ts";
import { LibsignalDevice } from "./libsignal_device.ts";
import type { Reachable, Undecryptable } from "./messenger.ts";

/** How often a list is repaired for one message, as Sesame advises to bound it. */
const REPAIRS_MAX = 10;

/** What a refusal named, by device ID. */
export interface Repair {
  readonly missing: readonly number[];
  readonly stale: readonly number[];
  readonly extra: readonly number[];
}

/** One device with its sessions, and its connection. */
export class SesameClient implements AsyncDisposable {
  /** The texts that were decrypted. */
  readonly texts = new Arrivals<string>("texts");
  readonly undecryptable = new Arrivals<Undecryptable>("undecryptable messages");
  /** What each refusal named. */
  readonly repairs: Repair[] = [];
  /** The installation of each device that a session was started with, by user and device. */
  readonly #known = new Map<string, Map<number, number>>();
  #connection!: Connection;

  private constructor(readonly server: Reachable, readonly device: LibsignalDevice) {}

  /** A client that is online and registered. */
  static async registered(server: Reachable, device: LibsignalDevice): Promise<SesameClient> {
    const client = new SesameClient(server, device);
    client.#connection = await Connection.connect({
      ...device.address,
      url: server.url,
      token: await server.token(device.address.userId),
      onMessage: (message) => client.#receive(message),
    });
    await client.#connection.register(await device.keys(10));
    return client;
  }

  get address(): Address {
    return this.device.address;
  }

  get connection(): Connection {
    return this.#connection;
  }

  /** Sends a text to all devices of a user, and repairs until it is accepted. */
  async send(userId: string, text: string): Promise<void> {
    for (let repairs = 0; repairs <= REPAIRS_MAX; repairs++) {
      try {
        await this.#connection.sendToUser(userId, await this.#encryptFor(userId, text));
        return;
      } catch (error) {
        if (!(error instanceof ServerError) || error.mismatch === undefined) throw error;
        const { missing, stale, extra } = error.mismatch;
        const ids = (devices: readonly { deviceId: number }[]) => devices.map(({ deviceId }) => deviceId);
        await this.#repair(userId, { missing: ids(missing), stale: ids(stale), extra });
      }
    }
    throw new Error(`the devices of ${userId} never stood still`);
  }

  /** Sends a text again to one device only, in a new session. */
  async resend(to: Address, text: string): Promise<void> {
    await this.#startSessions(to.userId, [to.deviceId]);
    const copies = await this.#encryptFor(to.userId, text);
    const only = copies.filter(({ deviceId }) => deviceId === to.deviceId);
    await this.#connection.sendToUser(to.userId, only, { listedOnly: true });
  }

  /** Sends bytes that no library can read to one device, and a text to the others, as after a lost session. */
  async sendSpoilt(to: Address, text: string): Promise<void> {
    const copies = await this.#encryptFor(to.userId, text);
    const spoilt = copies.map((copy) =>
      copy.deviceId === to.deviceId
        ? { ...copy, ciphertext: copy.ciphertext.map((byte, i) => i < 20 ? byte : byte ^ 0x55) }
        : copy
    );
    await this.#connection.sendToUser(to.userId, spoilt);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#connection.close();
  }

  async #encryptFor(userId: string, text: string): Promise<DeviceCiphertext[]> {
    const copies: DeviceCiphertext[] = [];
    for (const [deviceId, registrationId] of this.#known.get(userId) ?? []) {
      const ciphertext = await this.device.encrypt({ userId, deviceId }, text);
      copies.push({ deviceId, registrationId, ciphertext });
    }
    return copies;
  }

  async #repair(userId: string, repair: Repair): Promise<void> {
    this.repairs.push(repair);
    for (const deviceId of repair.extra) this.#known.get(userId)?.delete(deviceId);
    for (const deviceId of repair.stale) this.#known.get(userId)?.delete(deviceId);
    await this.#startSessions(userId, [...repair.missing, ...repair.stale]);
  }

  async #startSessions(userId: string, deviceIds: readonly number[]): Promise<void> {
    if (deviceIds.length === 0) return;
    const known = this.#known.get(userId) ?? new Map<number, number>();
    this.#known.set(userId, known);
    const others = [...known.keys()].filter((deviceId) => !deviceIds.includes(deviceId));
    const own = userId === this.address.userId ? [this.address.deviceId] : [];
    const claimId = crypto.getRandomValues(new Uint8Array(16));
    const bundles = await this.#connection.requestPreKeys(userId, [...others, ...own], claimId);
    for (const bundle of bundles) {
      await this.device.startSession(bundle);
      known.set(bundle.deviceId, bundle.registrationId);
    }
  }

  async #receive({ from, ciphertext }: ReceivedMessage): Promise<void> {
    try {
      this.texts.push(await this.device.decrypt(from, ciphertext));
    } catch (error) {
      this.undecryptable.push({ from, error });
    }
  }
}

/** Makes a device that has this identity, as one that was restored from a backup on a wiped phone. */
export function withIdentity(identity: IdentityKeyPair, address: Address): LibsignalDevice {
  const generate = IdentityKeyPair.generate;
  IdentityKeyPair.generate = () => identity;
  try {
    return new LibsignalDevice(address);
  } finally {
    IdentityKeyPair.generate = generate;
  }
}
