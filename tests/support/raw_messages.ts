/** What raw clients say to a server, and what they heard, in the numbers that tests count with. */
import assert from "node:assert/strict";
import type { DeviceAddress, RegistrationKeys } from "../../lib/client/mod.ts";
import type { ClientMessage } from "../../lib/protocol/mod.ts";
import { keysOf, numbered, numberOf } from "./device.ts";
import { RawClient, type RawOptions } from "./raw_client.ts";
import type { TestServer } from "./server.ts";

/** The address of a new user's first device. */
export function newAddress(): DeviceAddress {
  return { userId: crypto.randomUUID(), deviceId: 1 };
}

/** Connects a new user's device that is not registered. */
export function connectRaw(server: TestServer, options: RawOptions = {}): Promise<RawClient> {
  return RawClient.connect(server, newAddress(), options);
}

/** Connects a new user's device and registers it. */
export async function joinRaw(server: TestServer, options: RawOptions = {}): Promise<RawClient> {
  const client = await connectRaw(server, options);
  assert.equal((await client.ask(registerMessage(keysOf(1)))).type, "ack");
  return client;
}

/** The message that registers keys. */
export function registerMessage(keys: RegistrationKeys): ClientMessage {
  return { type: "register", keys: { ...keys, replace: false } };
}

/** The message that asks for the prekeys of all devices of a user. */
export function requestPreKeys(userId: string): ClientMessage {
  return { type: "request_prekeys", request: { userId, knownDeviceIds: [] } };
}

/** The message that carries a ciphertext to a device. */
export function userMessage(to: DeviceAddress, ciphertext: Uint8Array): ClientMessage {
  return { type: "user_message", message: { to, transient: false, retry: false, ttlSeconds: 0, ciphertext } };
}

/** Sends numbered messages in one WebSocket message, and waits until each was accepted. */
export async function sendNumbers(
  sender: RawClient,
  { address }: { readonly address: DeviceAddress },
  numbers: readonly number[],
): Promise<void> {
  const answers = await sender.answers(
    sender.sendTogether(numbers.map((n) => userMessage(address, numbered(n)))),
  );
  assert.deepEqual(answers.filter(({ type }) => type !== "ack"), []);
}

/** The numbers of the messages that came, in order, repeats included. */
export function numbersAt(client: RawClient): number[] {
  return client.messages.map(({ ciphertext }) => numberOf(ciphertext));
}

/** The sequence under which a numbered message came last. */
export function sequenceOf(client: RawClient, n: number): number {
  const message = client.messages.findLast(({ ciphertext }) => numberOf(ciphertext) === n);
  assert.ok(message, `no message ${n}`);
  return message.sequence;
}

/** The codes of the Errors among answers, and the types of the others. */
export function outcomes(answers: readonly { readonly type: string; readonly code?: number }[]) {
  return answers.map(({ type, code }) => code ?? type);
}
