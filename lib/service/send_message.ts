/**
 * UserMessage: a message to one device is accepted once it is durable (protocol §3, §4, §5).
 * @module
 */
import type { Address } from "../address.ts";
import type { Accepted, OutgoingMessage } from "../domain.ts";
import { RequestError } from "../errors.ts";
import type { ListedDevice, SendIdentity } from "../store/mod.ts";
import type { Core } from "./core.ts";
import { acceptOnce, beforeRepeats } from "./repeats.ts";
import { asking, mailboxFull, payForSends, post, toStored } from "./sends.ts";

/** Told once how a send ended: an error, or what it was accepted as. */
export type SendSettled = (error: RequestError | null, accepted: Accepted) => void;

/** What a send that failed was accepted as. */
const NOT_ACCEPTED: Accepted = { at: 0, fullDeviceIds: [] };

const NONE_FULL: readonly number[] = [];

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
  const { to, retry, messageId } = message;
  payForSends(core, from, [message]);
  if (retry && messageId !== undefined) return sendAgain(core, from, message, messageId, settled);
  // A list at hand is good enough to accept a message; a refusal rests on the database.
  const device = core.store.devices.cachedList(to.userId)?.devices.get(to.deviceId);
  if (device === undefined) {
    return beforeRepeats(
      core,
      from,
      readDevice(core, to).then((found) => store(core, from, message, found, settled)),
    );
  }
  const pending = store(core, from, message, device, settled);
  return pending instanceof Promise ? beforeRepeats(core, from, pending) : pending;
}

async function readDevice(core: Core, to: Address): Promise<ListedDevice> {
  const { devices } = await core.store.devices.readList(to.userId);
  if (devices.size === 0) throw new RequestError("unknown_user");
  const device = devices.get(to.deviceId);
  if (device === undefined) throw new RequestError("unknown_device");
  return device;
}

/** Finds room in the mailbox, then queues the message. */
function store(
  core: Core,
  from: Address,
  message: OutgoingMessage,
  { epoch }: ListedDevice,
  settled: SendSettled,
): void | Promise<void> {
  const { to, transient } = message;
  const room = core.depths.reserve(to, epoch, asking(core, message));
  const go = (hasRoom: boolean) => {
    if (!hasRoom) throw mailboxFull(core, to, epoch, transient);
    append(core, from, message, epoch, settled);
  };
  return room instanceof Promise ? room.then(go) : go(room);
}

function append(
  core: Core,
  from: Address,
  message: OutgoingMessage,
  epoch: string,
  settled: SendSettled,
): void {
  const { store, doorbell, depths, metrics } = core;
  const { to, messageId, ciphertext, transient } = message;
  const stored = toStored(core, from, message);
  const accepted = { at: stored.timestamp, fullDeviceIds: NONE_FULL };
  const addition = messageId === undefined ? null : store.accepted.add(from, to, messageId, stored.timestamp);
  const ring = doorbell.ringOf(to);
  const companions = { addition, ring };
  const entry = store.mailboxes.append(to, epoch, stored, companions, (error) => {
    const counted = { bytes: ciphertext.length, transient };
    if (error !== null) {
      depths.release(to, epoch, counted);
      return settled(error, NOT_ACCEPTED);
    }
    depths.settled(to, epoch, counted);
    metrics.counts.messagesAccepted++;
    doorbell.handOver(to, entry, ring !== null);
    settled(null, accepted);
  }, () => doorbell.wake(to));
}

/** A send that may have been accepted before is stored once. */
async function sendAgain(
  core: Core,
  from: Address,
  message: OutgoingMessage,
  messageId: Uint8Array,
  settled: SendSettled,
): Promise<void> {
  const { depths } = core;
  const { to, transient } = message;
  const identity: SendIdentity = { from, toUserId: to.userId, toDeviceId: to.deviceId, messageId };
  const accepted = await acceptOnce(core, identity, async () => {
    const { epoch } = await readDevice(core, to);
    if (!await depths.reserve(to, epoch, asking(core, message))) {
      throw mailboxFull(core, to, epoch, transient);
    }
    const stored = toStored(core, from, message);
    const accepted = { at: stored.timestamp, fullDeviceIds: NONE_FULL };
    const copies = [{ to, epoch, message: stored }];
    return await post(core, { userId: to.userId, copies, identity, accepted, mustBeNew: true, list: null });
  });
  settled(null, accepted);
}
