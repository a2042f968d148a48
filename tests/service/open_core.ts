/**
 * The core of the use cases on a database of its own in memory, and a listener that notes what it hears.
 * @module
 */
import type { Address } from "../../lib/address.ts";
import { loadConfig } from "../../lib/config.ts";
import type { OutgoingMessage } from "../../lib/domain.ts";
import type { RequestError } from "../../lib/errors.ts";
import { type Core, createCore, type Listener, type MailboxEntry } from "../../lib/service/mod.ts";
import { sendMessage } from "../../lib/service/send_message.ts";
import {
  newAddress,
  newBytes,
  openStore,
  type TestStore,
  type TestStoreOptions,
} from "../store/open_store.ts";

/** A core, closed at the end of its scope. */
export interface TestCore extends Core, AsyncDisposable {
  readonly store: TestStore;
}

/** What a test may choose. */
export interface TestCoreOptions extends TestStoreOptions {
  /** By the names of the environment variables. */
  readonly settings?: Readonly<Record<string, string>>;
}

/** Opens a core. */
export async function openCore(options: TestCoreOptions = {}): Promise<TestCore> {
  const store = await openStore(options);
  const config = loadConfig({ RATE_PAIR: "off", RATE_SENDS: "off", PREKEYS_LOW: "1", ...options.settings });
  const core = createCore(config, store.database.clock, store.metrics, store);
  return { ...core, store, [Symbol.asyncDispose]: () => store[Symbol.asyncDispose]() };
}

/** Notes what a connection hears. */
export class NotingListener implements Listener {
  readonly heard: string[] = [];
  readonly handedOver: MailboxEntry[] = [];

  handOver(entry: MailboxEntry): void {
    this.heard.push("handOver");
    this.handedOver.push(entry);
  }

  woken(): void {
    this.heard.push("woken");
  }

  preKeysLow(): void {
    this.heard.push("preKeysLow");
  }

  replaced(): void {
    this.heard.push("replaced");
  }

  unregistered(): void {
    this.heard.push("unregistered");
  }
}

/** A message as a session hands it in. */
export function outgoing(to: Address, fields: Partial<OutgoingMessage> = {}): OutgoingMessage {
  return { to, transient: false, retry: false, ttlSeconds: 0, ciphertext: newBytes(), ...fields };
}

/** Sends a message, and waits until it is accepted; rejects with the error that its sender is told. */
export function send(core: Core, message: OutgoingMessage, from: Address = newAddress()): Promise<void> {
  return new Promise((resolve, reject) => {
    const settled = (error: RequestError | null) => error === null ? resolve() : reject(error);
    // A refusal is thrown or comes by rejection.
    Promise.try(() => sendMessage(core, from, message, settled)).catch(reject);
  });
}

/** Whether the address has rung bells in storage. */
export async function bellsOf(core: Core, address: Address): Promise<string[]> {
  const bells: string[] = [];
  for (const bell of ["wake", "low"]) {
    const entry = await core.store.database.get([bell, address.userId, address.deviceId]);
    if (entry !== null) bells.push(bell);
  }
  return bells;
}

/** A mailbox entry that is nowhere stored. */
export function newEntry(epoch = "an epoch", fields: Partial<MailboxEntry> = {}): MailboxEntry {
  const id = newBytes();
  return {
    id,
    idKey: id.toHex(),
    epoch,
    from: newAddress(),
    messageId: id,
    timestamp: 0,
    expiresAt: Number.MAX_SAFE_INTEGER,
    transient: false,
    ciphertext: newBytes(),
    ...fields,
  };
}
