/**
 * Unregister: a device goes, with its keys and all that waits for it (protocol §3).
 * @module
 */
import { type Address, addressKey } from "../address.ts";
import { type Core, untilUndisturbed } from "./core.ts";

/**
 * Removes a device on the request of its user. One that is not registered is no error, so the request can be repeated.
 *
 * @param requester the device that asks, as authenticated.
 * @param deviceId another device of the same user, whose connection then ends, wherever it is; absent: the requester.
 * @throws {RequestError} `rate_limited` or `unavailable`.
 */
export async function unregister(
  core: Core,
  requester: Address,
  deviceId: number = requester.deviceId,
): Promise<void> {
  core.rates.requests.take(requester.userId);
  const isOther = deviceId !== requester.deviceId;
  const device = { userId: requester.userId, deviceId };
  await removeDevice(core, device, () => true);
  if (!isOther) return;
  core.doorbell.unregistered(device);
  await core.store.sessions.end(device);
}

/** Removes a device if it is still to go when that is looked at. */
export async function removeDevice(
  core: Core,
  address: Address,
  isToGo: (seenAt: number) => boolean,
): Promise<void> {
  await core.serial.run(addressKey(address), () =>
    untilUndisturbed(core.clock, async () => {
      const { device, list } = await core.store.devices.readWithList(address);
      if (device === null || !isToGo(device.record.seenAt)) return true;
      return await core.store.registrations.unregister(address, { device, list }) || null;
    }));
}
