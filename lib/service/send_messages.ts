/**
 * UserMessages: one message to all devices of a user, judged and stored in one transaction (protocol §4; Sesame §3.3).
 * @module
 */
import type { Address } from "../address.ts";
import type { Accepted, OutgoingMessages } from "../domain.ts";
import { type DeviceMismatch, RequestError } from "../errors.ts";
import type { DeviceList, ListedDevice, SendIdentity } from "../store/mod.ts";
import { type Core, requireCount, requireSize, untilUndisturbed } from "./core.ts";
import { acceptOnce, beforeRepeats } from "./repeats.ts";
import { asking, payForSends, post, toStored } from "./sends.ts";

/** One device's share of a message. */
interface Copy {
  readonly to: Address;
  readonly epoch: string;
  readonly ciphertext: Uint8Array;
}

/**
 * Stores a message for every device that it names, if these are the recipient's devices as they are now.
 *
 * @param from the sender as authenticated; to its own user, its own device is not expected.
 * @returns when it was accepted, and which devices were left out since their mailbox is full.
 * @throws {RequestError} `device_mismatch` with all that differs, and nothing stored; `unknown_user`; `too_large`;
 * `rate_limited`; `mailbox_full` if every mailbox is; `unavailable`.
 */
export async function sendMessages(core: Core, from: Address, request: OutgoingMessages): Promise<Accepted> {
  const { config, clock, store } = core;
  const { userId, devices } = request;
  requireCount("UserMessages", devices.length, config.devicesMax);
  const bytes = devices.reduce((sum, { ciphertext }) => sum + ciphertext.length, 0);
  requireSize("UserMessages", bytes, config.messagesBytesMax);
  payForSends(
    core,
    from,
    devices.map(({ deviceId, ciphertext }) => ({ to: { userId, deviceId }, ciphertext })),
  );
  const attempt = async () => {
    const list = await store.devices.readList(userId);
    if (list.devices.size === 0) throw new RequestError("unknown_user");
    const mismatch = compare(list, from, request);
    if (mismatch !== null) throw new RequestError("device_mismatch", describe(mismatch), undefined, mismatch);
    return await storeCopies(core, from, request, list);
  };
  if (request.retry) return await acceptOnce(core, identityOf(from, request), attempt);
  return await beforeRepeats(core, from, untilUndisturbed(clock, attempt));
}

function identityOf(from: Address, { userId, messageId }: OutgoingMessages): SendIdentity {
  return { from, toUserId: userId, toDeviceId: null, messageId };
}

/** What differs between the devices that are named and those that there are; `null` if nothing does. */
function compare({ devices }: DeviceList, from: Address, request: OutgoingMessages): DeviceMismatch | null {
  const expected = new Map(devices);
  if (request.userId === from.userId) expected.delete(from.deviceId);
  const extra: number[] = [];
  const stale: ListedDevice[] = [];
  const missing = new Map(expected);
  for (const { deviceId, registrationId } of request.devices) {
    const device = expected.get(deviceId);
    missing.delete(deviceId);
    if (device === undefined) extra.push(deviceId);
    else if (device.registrationId !== registrationId) stale.push(device);
  }
  if (request.listedOnly) missing.clear();
  if (missing.size + stale.length + extra.length === 0) return null;
  return { missing: [...missing.values()], stale, extra };
}

function describe({ missing, stale, extra }: DeviceMismatch): string {
  return `the device list is not current: ${missing.length} missing, ${stale.length} stale, ${extra.length} extra`;
}

/** Stores what fits, in one commit that rests on the list; `null` if the list changed meanwhile. */
async function storeCopies(
  core: Core,
  from: Address,
  request: OutgoingMessages,
  list: DeviceList,
): Promise<Accepted | null> {
  const { userId, messageId, transient, ttlSeconds, retry } = request;
  const { fitting, full } = await findRoom(core, request, list);
  if (fitting.length === 0 && full.length > 0) {
    countLost(core, full, transient);
    throw new RequestError("mailbox_full", "the mailbox of every device is full");
  }
  const accepted = { at: core.clock.now(), fullDeviceIds: full.map(({ to }) => to.deviceId) };
  const copies = fitting.map(({ to, epoch, ciphertext }) => ({
    to,
    epoch,
    message: toStored(core, from, { messageId, transient, ttlSeconds, ciphertext }, accepted.at),
  }));
  const identity = identityOf(from, request);
  const outcome = await post(core, { userId, copies, identity, accepted, mustBeNew: retry, list });
  if (outcome !== null) countLost(core, full, transient);
  return outcome;
}

/** Finds room in each mailbox. */
async function findRoom(
  core: Core,
  { userId, devices, transient, ttlSeconds }: OutgoingMessages,
  list: DeviceList,
): Promise<{ fitting: Copy[]; full: Copy[] }> {
  const { depths } = core;
  const fitting: Copy[] = [];
  const full: Copy[] = [];
  try {
    for (const { deviceId, ciphertext } of devices) {
      const epoch = list.devices.get(deviceId)?.epoch;
      if (epoch === undefined) throw new Error("a device that was compared is not in the list");
      const copy = { to: { userId, deviceId }, epoch, ciphertext };
      const hasRoom = await depths.reserve(
        copy.to,
        epoch,
        asking(core, { transient, ttlSeconds, ciphertext }),
      );
      (hasRoom ? fitting : full).push(copy);
    }
  } catch (error) {
    for (const { to, epoch, ciphertext } of fitting) {
      depths.release(to, epoch, { bytes: ciphertext.length, transient });
    }
    throw error;
  }
  return { fitting, full };
}

/** What found a mailbox full is lost to that device: its owner is told when it connects. */
function countLost({ store }: Core, full: readonly Copy[], transient: boolean): void {
  if (transient) return;
  for (const { to, epoch } of full) store.waiting.addLost(to, epoch, 1);
}
