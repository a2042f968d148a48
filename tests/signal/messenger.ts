/**
 * Messenger: a device joined to a connection, which is all that a Signal client is to this server.
 *
 * Keys, sessions and what was received outlive the connection; only the connection comes and goes.
 * @module
 */
import type { Address } from "../../lib/address.ts";
import { Connection, type PreKeyBundle, type ReceivedMessage } from "../../lib/client/mod.ts";
import { Arrivals } from "./arrivals.ts";
import type { Device } from "./device.ts";

/** The part of a started server that a client needs. */
export interface Reachable {
  readonly url: string;
  token(userId: string): Promise<string>;
}

/** A ciphertext that the device's library refused. */
export interface Undecryptable {
  readonly from: Address;
  readonly error: unknown;
}

/** One device and, while it is online, its connection. */
export class Messenger<D extends Device> implements AsyncDisposable {
  readonly device: D;
  /** The texts that were decrypted. */
  readonly texts = new Arrivals<string>("texts");
  readonly undecryptable = new Arrivals<Undecryptable>("undecryptable messages");
  /** How many prekeys the server asked for, each time that it did. */
  readonly preKeysWanted = new Arrivals<number>("requests for prekeys");
  readonly #server: Reachable;
  #connection: Connection | undefined;
  #departure = new AbortController();

  private constructor(server: Reachable, device: D) {
    this.#server = server;
    this.device = device;
  }

  /** A messenger that is online. */
  static async online<D extends Device>(server: Reachable, device: D): Promise<Messenger<D>> {
    const messenger = new Messenger(server, device);
    await messenger.connect();
    return messenger;
  }

  /** A messenger that is online and registered with so many one-time prekeys. */
  static async registered<D extends Device>(
    server: Reachable,
    device: D,
    preKeys = 20,
  ): Promise<Messenger<D>> {
    const messenger = await Messenger.online(server, device);
    await messenger.register(preKeys);
    return messenger;
  }

  get address(): Address {
    return this.device.address;
  }

  async connect(): Promise<void> {
    const { signal } = this.#departure = new AbortController();
    this.#connection = await Connection.connect({
      ...this.address,
      url: this.#server.url,
      token: await this.#server.token(this.address.userId),
      onMessage: async (message) => {
        // What arrives after it went offline is not read, and has to come again on the next connection.
        signal.throwIfAborted();
        await this.#receive(message);
      },
      onPreKeysLow: (wanted) => this.preKeysWanted.push(wanted),
    });
  }

  /** Goes offline at once, whatever may be on its way here. */
  async disconnect(): Promise<void> {
    this.#departure.abort();
    const connection = this.#connection;
    this.#connection = undefined;
    await connection?.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.disconnect();
  }

  /** Registers with so many new one-time prekeys; repeated, it adds them to those on the server. */
  async register(preKeys: number): Promise<void> {
    await this.#online.register(await this.device.keys(preKeys));
  }

  /** One bundle for each device of a user that is not known yet, in the order of their IDs. */
  async requestBundles(userId: string, knownDeviceIds: number[] = []): Promise<PreKeyBundle[]> {
    const bundles = await this.#online.requestPreKeys(userId, knownDeviceIds);
    return bundles.sort((a, b) => a.deviceId - b.deviceId);
  }

  /** Fetches the bundles of all devices of a user and prepares a session with each. */
  async startSessions(userId: string): Promise<PreKeyBundle[]> {
    const bundles = await this.requestBundles(userId);
    for (const bundle of bundles) await this.device.startSession(bundle);
    return bundles;
  }

  /** Encrypts and sends; resolves when the server has accepted it. */
  async send(to: Address, text: string): Promise<void> {
    await this.#online.send(to, await this.device.encrypt(to, text));
  }

  /** Sends texts in order without waiting for one to be accepted before the next one goes. */
  async sendAll(to: Address, texts: readonly string[]): Promise<void> {
    await Promise.all(texts.map((text) => this.send(to, text)));
  }

  get #online(): Connection {
    if (this.#connection === undefined) throw new Error("this messenger is offline");
    return this.#connection;
  }

  /** A message that cannot be read is acknowledged all the same, or it would come again for ever. */
  async #receive({ from, ciphertext }: ReceivedMessage): Promise<void> {
    try {
      this.texts.push(await this.device.decrypt(from, ciphertext));
    } catch (error) {
      this.undecryptable.push({ from, error });
    }
  }
}

/** A user whom no other test knows. */
export function newUser(): string {
  return crypto.randomUUID();
}

/** Texts that tell who wrote them and in which order. */
export function numberedTexts(author: string, count: number): string[] {
  return Array.from({ length: count }, (_, index) => `${author} ${index + 1}`);
}
