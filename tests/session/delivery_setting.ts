/**
 * A registered device, and a database between it and its messages that a test scripts.
 * @module
 */
import type { Address } from "../../lib/address.ts";
import type { Clock } from "../../lib/clock.ts";
import { append, newAddress, newBytes, newMessage, registerDevice } from "../store/open_store.ts";
import { ScriptedKv } from "../store/scripted_kv.ts";
import { openCore, type TestCore } from "../service/open_core.ts";
import { ShiftedClock } from "../support/manual_clock.ts";
import { FakeDevice } from "./fake_device.ts";

/** Closed, with its connections, at the end of its scope. */
export class Setting implements AsyncDisposable {
  #devices: FakeDevice[] = [];

  private constructor(
    readonly scripted: ScriptedKv,
    readonly core: TestCore,
    readonly address: Address,
    readonly epoch: string,
  ) {}

  static async open(clock: Clock = new ShiftedClock()): Promise<Setting> {
    const scripted = await ScriptedKv.open();
    const core = await openCore({ clock, kv: scripted.kv, settings: { MAILBOX_BYTES_MAX: "1GiB" } });
    const address = newAddress();
    const { record } = await registerDevice(core.store, address, [newBytes()]);
    return new Setting(scripted, core, address, record.epoch);
  }

  connect(): FakeDevice {
    const device = new FakeDevice(this.core, this.address);
    this.#devices.push(device);
    return device;
  }

  /** Stores messages before anybody is connected. */
  async fill(count: number, bytes = 2): Promise<void> {
    const { store, clock } = this.core;
    const expiresAt = clock.now() + 86_400_000;
    await Promise.all(Array.from({ length: count }, (_, n) => {
      const ciphertext = new Uint8Array(bytes);
      ciphertext.set([n >> 8, n & 0xff]);
      return append(store, this.address, this.epoch, newMessage(store, { ciphertext, expiresAt }));
    }));
  }

  async waiting(): Promise<number> {
    return (await this.core.store.waiting.read(this.address, this.epoch)).open.messages;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const device of this.#devices) device[Symbol.dispose]();
    await this.core[Symbol.asyncDispose]();
    await this.scripted[Symbol.asyncDispose]();
  }
}

/** A ciphertext that begins with a number. */
export function numbered(n: number, bytes = 2): Uint8Array {
  const ciphertext = new Uint8Array(bytes);
  ciphertext.set([n >> 8, n & 0xff]);
  return ciphertext;
}

/** The numbers of ciphertexts. */
export function numbersOf(ciphertexts: readonly Uint8Array[]): number[] {
  return ciphertexts.map(([a = 0, b = 0]) => a << 8 | b);
}

/** 0, 1, … below `count`. */
export function upTo(count: number): number[] {
  return Array.from({ length: count }, (_, n) => n);
}
