/**
 * A device on a fake socket, connected to a real session over a real service.
 * @module
 */
import type { Address } from "../../lib/address.ts";
import type { DeviceKeys } from "../../lib/domain.ts";
import { type ClientMessage, nextClientSequence, v1 } from "../../lib/protocol/mod.ts";
import { createService, type Service } from "../../lib/service/mod.ts";
import { Session } from "../../lib/session/mod.ts";
import { newBytes } from "../store/open_store.ts";
import type { TestCore } from "../service/open_core.ts";
import { eventually } from "../support/eventually.ts";
import { FakeSocket } from "./fake_socket.ts";

/** What a test may choose. */
export interface FakeDeviceOptions {
  /** When the token ends; `null` if never. */
  readonly expiresAt?: number | null;
  /** Default: the real one of the core. */
  readonly service?: Service;
}

/** Keys of an installation. */
export function newKeys(preKeys: readonly Uint8Array[] = []): DeviceKeys {
  const registrationId = newBytes(1)[0] ?? 0;
  return { registrationId, identityKey: newBytes(), signedPreKey: newBytes(), preKeys, replace: false };
}

/** The client's end. */
export class FakeDevice implements Disposable {
  readonly socket = new FakeSocket();
  readonly session: Session;
  #sequence = 0;

  constructor(readonly core: TestCore, readonly address: Address, options: FakeDeviceOptions = {}) {
    const { config, clock, metrics } = core;
    const service = options.service ?? createService(core);
    const context = { service, clock, config, metrics };
    this.session = new Session(context, this.socket, address, v1, options.expiresAt ?? null);
  }

  /** Sends a request; returns its sequence. */
  request(message: ClientMessage): number {
    this.#sequence = nextClientSequence(this.#sequence);
    this.session.receive(v1.encodeClientMessage(message, this.#sequence));
    return this.#sequence;
  }

  /** Sends a request, and waits for so many answers. */
  async answered(message: ClientMessage, count = 1): Promise<(string | number)[]> {
    const sequence = this.request(message);
    await eventually("the request is answered", () => this.socket.answersTo(sequence).length >= count);
    return this.socket.answersTo(sequence);
  }

  /** Registers, and waits for the answer. */
  async register(keys = newKeys()): Promise<DeviceKeys> {
    const answers = await this.answered({ type: "register", keys });
    if (answers[0] !== "ack") throw new Error(`Register was answered with ${answers}`);
    return keys;
  }

  /** Acknowledges messages of the server. */
  acknowledge(...sequences: number[]): void {
    for (const sequence of sequences) this.session.receive(v1.encodeClientMessage({ type: "ack" }, sequence));
  }

  /** Refuses messages of the server. */
  refuse(...sequences: number[]): void {
    const error = { type: "error", code: 3, description: "" } as const;
    for (const sequence of sequences) this.session.receive(v1.encodeClientMessage(error, sequence));
  }

  /** Waits until so many messages were delivered. */
  async delivered(count: number): Promise<Uint8Array[]> {
    await eventually(`${count} messages are delivered`, () => this.socket.delivered.length >= count);
    return this.socket.delivered;
  }

  [Symbol.dispose](): void {
    this.session.closed(1000);
  }
}

/** Lets what is under way in the database come to its end, as far as nothing holds it up. */
export async function pass(turns = 20): Promise<void> {
  for (; turns > 0; turns--) await new Promise((resolve) => setTimeout(resolve, 0));
}
