/**
 * What the server does with keys and messages. No use case knows what version of the protocol it serves.
 * @module
 */
import type { Address } from "../address.ts";
import type {
  Accepted,
  DeviceKeys,
  OutgoingMessage,
  OutgoingMessages,
  PreKeyBundle,
  PreKeyRequest,
  UserDevice,
} from "../domain.ts";
import { PATIENCE } from "../limits.ts";
import type { Core } from "./core.ts";
import type { Listener } from "./doorbell.ts";
import { Receiver } from "./receive.ts";
import { register, type Registered } from "./register.ts";
import { requestDevices } from "./request_devices.ts";
import { requestPreKeys } from "./request_prekeys.ts";
import { sendMessage, type SendSettled } from "./send_message.ts";
import { sendMessages } from "./send_messages.ts";
import type { UserShare } from "./under_way.ts";
import { unregister } from "./unregister.ts";

export { type Core, createCore } from "./core.ts";
export type { Listener } from "./doorbell.ts";
export { Maintenance } from "./maintenance.ts";
export type { LostReport, MailboxEntry } from "../store/mod.ts";
export type { OwnDevice } from "./own_device.ts";
export type { Receiver } from "./receive.ts";
export type { Registered } from "./register.ts";
export type { UserShare } from "./under_way.ts";

/** The use cases, as sessions call them. Each is documented in its own file. */
export interface Service {
  register(owner: Address, keys: DeviceKeys): Promise<Registered>;
  unregister(requester: Address, deviceId?: number): Promise<void>;
  requestPreKeys(requester: Address, request: PreKeyRequest): Promise<PreKeyBundle[]>;
  requestDevices(requester: Address, userId: string): Promise<UserDevice[]>;
  sendMessage(from: Address, message: OutgoingMessage, settled: SendSettled): void | Promise<void>;
  sendMessages(from: Address, messages: OutgoingMessages): Promise<Accepted>;
  receive(address: Address, listener: Listener): Receiver;
  /** Takes from what is borne with of a user, see `session/patience.ts`; returns whether there was as much left. */
  bear(requester: Address, units: number): boolean;
  /** One more connection of a user; the share must be left when it is over. */
  share(requester: Address): UserShare;
}

/** Binds the use cases to what they work with. */
export function createService(core: Core): Service {
  return {
    register: async (owner, keys) => await register(core, owner, keys),
    unregister: (requester, deviceId) => unregister(core, requester, deviceId),
    requestPreKeys: (requester, request) => requestPreKeys(core, requester, request),
    requestDevices: (requester, userId) => requestDevices(core, requester, userId),
    sendMessage: (from, message, settled) => sendMessage(core, from, message, settled),
    sendMessages: (from, messages) => sendMessages(core, from, messages),
    receive: (address, listener) => new Receiver(core, address, listener),
    bear: ({ userId }, units) => {
      const { refusals } = core.rates;
      if (refusals.claim(userId, units) === 0) return true;
      refusals.indebt(userId, PATIENCE.debt);
      return false;
    },
    share: ({ userId }) => core.shares.enter(userId),
  };
}
