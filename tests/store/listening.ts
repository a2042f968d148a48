/**
 * A connection's ear for an address, as a test needs it.
 * @module
 */
import type { Address } from "../../lib/address.ts";
import type { Store } from "../../lib/store/mod.ts";
import type { Watcher } from "../../lib/store/sessions.ts";
import { eventually } from "../support/eventually.ts";
import { newBytes } from "./open_store.ts";

/** Listens to an address, and counts what it hears. */
export class Listening implements Watcher {
  readonly heard = { woken: 0, low: 0, replaced: 0, unregistered: 0 };
  readonly #ended = new AbortController();
  #watching: Promise<void> = Promise.resolve();

  constructor(private readonly onWoken: () => void = () => {}) {}

  begin(store: Store, address: Address, connectionId: Uint8Array, version: string): this {
    this.#watching = store.sessions.watch(address, connectionId, version, this.#ended.signal, this);
    return this;
  }

  woken(): void {
    this.heard.woken++;
    this.onWoken();
  }

  preKeysLow(): void {
    this.heard.low++;
  }

  replaced(): void {
    this.heard.replaced++;
  }

  unregistered(): void {
    this.heard.unregistered++;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ended.abort();
    await this.#watching;
  }
}

/** Claims an address and listens to it. */
export async function listen(store: Store, address: Address, id = newBytes()): Promise<Listening> {
  return new Listening().begin(store, address, id, await store.sessions.claim(address, id));
}

/** Rings until it is heard: then what happened before has been heard of too. */
export async function settle(store: Store, address: Address, { heard }: Listening): Promise<void> {
  const before = heard.woken;
  await eventually("the bell is heard", () => {
    store.sessions.ring(address, "wake");
    return heard.woken > before;
  });
}
