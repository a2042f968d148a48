/**
 * What the server does with keys and messages. No use case knows what version of the protocol it serves.
 * @module
 */
import type { Address } from "../address.ts";
import type { DeviceKeys, OutgoingMessage, PreKeyBundle } from "../domain.ts";
import type { Core } from "./core.ts";
import type { Listener } from "./doorbell.ts";
import { Receiver } from "./receive.ts";
import { register, type Registered } from "./register.ts";
import { requestPreKeys } from "./request_prekeys.ts";
import { sendMessage, type SendSettled } from "./send_message.ts";
import { unregister } from "./unregister.ts";

export { type Core, createCore } from "./core.ts";
export type { Listener } from "./doorbell.ts";
export { Maintenance } from "./maintenance.ts";
export type { MailboxEntry } from "../store/mod.ts";
export type { OwnDevice, Receiver } from "./receive.ts";
export type { Registered } from "./register.ts";

/** The use cases, as sessions call them. Each is documented in its own file. */
export interface Service {
  register(owner: Address, keys: DeviceKeys): Promise<Registered>;
  unregister(owner: Address): Promise<void>;
  requestPreKeys(
    requester: Address,
    request: { readonly userId: string; readonly knownDeviceIds: readonly number[] },
  ): Promise<PreKeyBundle[]>;
  sendMessage(from: Address, message: OutgoingMessage, settled: SendSettled): void | Promise<void>;
  receive(address: Address, listener: Listener): Receiver;
}

/** Binds the use cases to what they work with. */
export function createService(core: Core): Service {
  return {
    register: async (owner, keys) => await register(core, owner, keys),
    unregister: (owner) => unregister(core, owner),
    requestPreKeys: (requester, request) => requestPreKeys(core, requester, request),
    sendMessage: (from, message, settled) => sendMessage(core, from, message, settled),
    receive: (address, listener) => new Receiver(core, address, listener),
  };
}
