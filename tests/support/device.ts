/** A device with the client of this project: connected, mostly registered, keeping what it receives. */
import assert from "node:assert/strict";
import {
  Connection,
  type DeviceAddress,
  type ReceivedMessage,
  type RegistrationKeys,
  ServerError,
} from "../../lib/client/mod.ts";
import { eventually } from "./eventually.ts";
import type { TestServer } from "./server.ts";

/** Who connects, and how. */
export interface DeviceOptions {
  /** Default: a new user. */
  readonly userId?: string;
  /** Default: 1. */
  readonly deviceId?: number;
  /** Where to connect, if not straight to the server. */
  readonly url?: string;
  /** Told each message before it is acknowledged. */
  readonly onMessage?: (message: ReceivedMessage) => void | Promise<void>;
}

/** One connection of a device. */
export class Device implements AsyncDisposable {
  /** The messages that came, in order. */
  readonly inbox: ReceivedMessage[] = [];
  /** What the server asked for with each PreKeysLow. */
  readonly asked: number[] = [];
  closeCode: number | null = null;

  private constructor(readonly address: DeviceAddress, readonly connection: Connection) {}

  /** Connects, and does not register. */
  static async connect(server: TestServer, options: DeviceOptions = {}): Promise<Device> {
    const { userId = crypto.randomUUID(), deviceId = 1, url = server.url, onMessage } = options;
    const early: ((device: Device) => void)[] = [];
    let device: Device | null = null;
    const tell = (what: (device: Device) => void) => device === null ? void early.push(what) : what(device);
    const connection = await Connection.connect({
      url,
      userId,
      deviceId,
      token: await server.token(userId),
      onMessage: async (message) => {
        await onMessage?.(message);
        tell(({ inbox }) => void inbox.push(message));
      },
      onPreKeysLow: (wanted) => tell(({ asked }) => void asked.push(wanted)),
      onClose: (code) => tell((d) => d.closeCode = code),
    });
    device = new Device({ userId, deviceId }, connection);
    for (const what of early) what(device);
    return device;
  }

  /** Connects and registers, with ten prekeys and more, so that the server asks for none. */
  static async join(
    server: TestServer,
    options: DeviceOptions & Partial<RegistrationKeys> = {},
  ): Promise<Device> {
    const device = await Device.connect(server, options);
    await device.connection.register(keysOf(options.registrationId ?? 1, options));
    return device;
  }

  /** Connects the same device anew. */
  reconnect(server: TestServer, options: DeviceOptions = {}): Promise<Device> {
    return Device.connect(server, { ...this.address, ...options });
  }

  /** The inbox as numbers, see `numbered`. */
  get numbers(): number[] {
    return this.inbox.map(({ ciphertext }) => numberOf(ciphertext));
  }

  /** Sends a numbered message. */
  async send(to: DeviceAddress, n: number): Promise<void> {
    await this.connection.send(to, numbered(n));
  }

  /** Waits until exactly these have come, in this order. */
  async untilNumbers(expected: readonly number[]): Promise<void> {
    await eventually(`${expected.length} messages`, () => this.inbox.length >= expected.length).catch(
      () => {},
    );
    assert.deepEqual(this.numbers, expected);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.connection.close();
  }
}

/** Keys of an installation: twelve prekeys unless others are given. */
export function keysOf(installation: number, keys: Partial<RegistrationKeys> = {}): RegistrationKeys {
  return {
    registrationId: installation,
    identityKey: keys.identityKey ?? Uint8Array.of(1, installation),
    signedPreKey: keys.signedPreKey ?? Uint8Array.of(2, installation),
    preKeys: keys.preKeys ?? preKeys(12),
  };
}

/** So many prekeys, told apart by their number. */
export function preKeys(count: number, first = 0): Uint8Array[] {
  return Array.from({ length: count }, (_, i) => numbered(first + i));
}

/** Four bytes that are a number: a ciphertext or a key that can be told from others. */
export function numbered(n: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, n);
  return bytes;
}

/** The number again. */
export function numberOf(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(0);
}

/** The numbers from `first` on. */
export function numbersFrom(first: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => first + i);
}

/** Expects a request to be answered with an Error of this code, and gives its description. */
export async function refusal(code: number, request: Promise<unknown>): Promise<string> {
  const error: unknown = await request.then(() => null, (reason) => reason);
  if (!(error instanceof ServerError)) throw new Error(`expected Error ${code}, found ${error}`);
  assert.equal(error.code, code, error.description);
  return error.description;
}
