/**
 * UserMessage: a message to one device is accepted once it is durable (protocol §3, §5).
 * @module
 */
import { type Address, addressKey } from "../address.ts";
import type { OutgoingMessage } from "../domain.ts";
import { RequestError } from "../errors.ts";
import type { ListedDevice } from "../store/mod.ts";
import { type Core, requireSize } from "./core.ts";

/** Told once how a send ended: an error, or `null` and when it was accepted, in milliseconds since the epoch. */
export type SendSettled = (error: RequestError | null, acceptedAt: number) => void;

/** Bytes that one unit of the budget for a pair pays for. */
const PAIR_UNIT_BYTES = 4_096;

/** A transient message is of no use after this. */
const TRANSIENT_MS_MAX = 10_000;

/**
 * Stores a message for its recipient, and has it delivered.
 *
 * @param from the sender as authenticated.
 * @param settled called once, after the message is durable or the outcome is not known.
 * @returns nothing, or a promise that ends when the message has its place in the order: what the sender sends next
 * must wait for it.
 * @throws {RequestError} if it is refused, also by rejection: `too_large`, `rate_limited`, `unknown_user`,
 * `unknown_device`, `mailbox_full`, `unavailable`. Then `settled` is not called.
 */
export function sendMessage(
  core: Core,
  from: Address,
  message: OutgoingMessage,
  settled: SendSettled,
): void | Promise<void> {
  const { to, ciphertext } = message;
  requireSize("ciphertext", ciphertext.length, core.config.messageBytesMax);
  core.rates.sends.take(from.userId);
  if (to.userId !== from.userId) {
    const units = Math.max(1, Math.ceil(ciphertext.length / PAIR_UNIT_BYTES));
    core.rates.pair.take(`${from.userId}>${addressKey(to)}`, units);
  }
  // A list at hand is good enough to accept a message; a refusal rests on the database.
  const device = core.store.devices.cachedList(to.userId)?.devices.get(to.deviceId);
  if (device === undefined) return sendAfterLook(core, from, message, settled);
  return store(core, from, message, device, settled);
}

async function sendAfterLook(
  core: Core,
  from: Address,
  message: OutgoingMessage,
  settled: SendSettled,
): Promise<void> {
  const { devices } = await core.store.devices.readList(message.to.userId);
  if (devices.size === 0) throw new RequestError("unknown_user");
  const device = devices.get(message.to.deviceId);
  if (device === undefined) throw new RequestError("unknown_device");
  await store(core, from, message, device, settled);
}

/** Finds room in the mailbox, then queues the message. */
function store(
  core: Core,
  from: Address,
  message: OutgoingMessage,
  device: ListedDevice,
  settled: SendSettled,
): void | Promise<void> {
  const room = core.depths.reserve(message.to, device.epoch, message.ciphertext.length);
  if (room instanceof Promise) return room.then(() => append(core, from, message, device, settled));
  append(core, from, message, device, settled);
}

function append(
  core: Core,
  from: Address,
  message: OutgoingMessage,
  { epoch }: ListedDevice,
  settled: SendSettled,
): void {
  const { store, clock, config, doorbell, depths, metrics } = core;
  const { to, ciphertext, transient } = message;
  const id = store.ids.next();
  const timestamp = clock.now();
  const keptMs = transient ? Math.min(TRANSIENT_MS_MAX, config.retentionMs) : config.retentionMs;
  const ttlMs = message.ttlSeconds === 0 ? keptMs : Math.min(message.ttlSeconds * 1_000, keptMs);
  const messageId = message.messageId ?? id;
  const stored = { id, from, messageId, timestamp, expiresAt: timestamp + ttlMs, transient, ciphertext };
  const entry = store.mailboxes.append(to, epoch, stored, (error) => {
    if (error !== null) {
      depths.release(to, epoch, ciphertext.length);
      return settled(error, 0);
    }
    metrics.counts.messagesAccepted++;
    settled(null, timestamp);
    doorbell.handOver(to, entry);
  });
}
