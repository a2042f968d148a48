/**
 * What a session does with each message of a client: one row a type.
 *
 * A handler answers once, now or later. If it returns a promise, the next message of the connection waits for it: that
 * keeps the order of sends. What needs no order is not waited for.
 * @module
 */
import type { Address } from "../address.ts";
import { rateLimited, RequestError } from "../errors.ts";
import type { ClientMessage, ServerMessage } from "../protocol/mod.ts";
import type { Registered, Service } from "../service/mod.ts";
import type { Registration } from "./registration.ts";

/** What handlers need of their session. */
export interface Requester {
  readonly address: Address;
  readonly service: Service;
  readonly registration: Pick<Registration, "doubted">;
  /** The device was registered or unregistered on this connection. */
  registered(outcome: Registered | null): void;
}

/** Answers to one request: any number of messages, after which the request is over. */
export interface Reply {
  /** Whether the peer leaves unread what it has been sent: a long answer would only wait. */
  readonly isCongested: boolean;
  /** Sends answers; the request is over. */
  send(...messages: ServerMessage[]): void;
  /** Sends an Error for whatever went wrong; the request is over. */
  fail(error: unknown): void;
}

/** A request of a client: what is not an acknowledgement. */
export type Request = Exclude<ClientMessage, { type: "ack" | "error" }>;

type Handlers = {
  readonly [T in Request["type"]]: (
    requester: Requester,
    request: Extract<Request, { type: T }>,
    reply: Reply,
  ) => void | Promise<void>;
};

/** Hands over to the work, and answers when it ends; the connection goes on meanwhile. */
function unordered<T>(work: Promise<T>, reply: Reply, answer: (outcome: T) => ServerMessage[]): void {
  work.then((outcome) => reply.send(...answer(outcome))).catch((error) => reply.fail(error));
}

/** Tells of a change of the registration whose outcome is not known. */
async function orDoubted<T>(change: Promise<T>, doubted: () => void): Promise<T> {
  try {
    return await change;
  } catch (error) {
    if (!(error instanceof RequestError) || error.error === "unavailable") doubted();
    throw error;
  }
}

/** When to repeat a claim whose answer had no room. */
const UNREAD_RETRY_MS = 1_000;

const ACK: ServerMessage = { type: "ack" };

const handlers: Handlers = {
  register({ service, address, registered, registration }, { keys }, reply) {
    const change = orDoubted(service.register(address, keys), () => registration.doubted());
    unordered(change, reply, (outcome) => {
      registered(outcome);
      return [{ type: "ack", registered: outcome }];
    });
  },

  unregister({ service, address, registered, registration }, { deviceId }, reply) {
    const isOwn = deviceId === undefined || deviceId === address.deviceId;
    const change = orDoubted(service.unregister(address, deviceId), () => isOwn && registration.doubted());
    unordered(change, reply, () => {
      if (isOwn) registered(null);
      return [ACK];
    });
  },

  request_prekeys({ service, address }, { request }, reply) {
    unordered(service.requestPreKeys(address, request), reply, (bundles) => {
      // A claim gets the same keys when the peer reads again; without one they would be lost.
      if (request.claimId !== undefined && reply.isCongested) {
        throw rateLimited("answers unread", UNREAD_RETRY_MS);
      }
      if (bundles.length === 0) return [ACK];
      return bundles.map((bundle, i) => ({ type: "prekey", bundle, more: bundles.length - 1 - i }));
    });
  },

  request_devices({ service, address }, { userId }, reply) {
    unordered(
      service.requestDevices(address, userId),
      reply,
      (devices) => [{ type: "devices", userId, devices }],
    );
  },

  user_message({ service, address }, { message }, reply) {
    return service.sendMessage(address, message, (error, accepted) => {
      if (error === null) reply.send({ type: "ack", accepted });
      else reply.fail(error);
    });
  },

  async user_messages({ service, address }, { messages }, reply) {
    // The next send waits until this one is stored: a change of the device list may have it judged again, and it must
    // not fall behind.
    reply.send({ type: "ack", accepted: await service.sendMessages(address, messages) });
  },
};

/**
 * Carries a request out.
 *
 * @returns nothing, or a promise that the connection's next message must wait for. Whatever goes wrong is answered.
 */
export function handle(requester: Requester, request: Request, reply: Reply): void | Promise<void> {
  try {
    // The table has a handler of the right type for every type; the compiler can't see that here.
    const handler = handlers[request.type] as (r: Requester, q: Request, y: Reply) => void | Promise<void>;
    const pending = handler(requester, request, reply);
    if (pending instanceof Promise) return pending.catch((error) => reply.fail(error));
  } catch (error) {
    reply.fail(error);
  }
}
