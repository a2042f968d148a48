/**
 * Unregister: a device goes, with its keys and all that waits for it (protocol §3).
 * @module
 */
import { type Address, addressKey } from "../address.ts";
import { type Core, untilUndisturbed } from "./core.ts";

/**
 * Removes a device on its owner's request. One that is not registered is no error, so the request can be repeated.
 *
 * @throws {RequestError} `rate_limited` or `unavailable`.
 */
export async function unregister(core: Core, owner: Address): Promise<void> {
  core.rates.requests.take(owner.userId);
  await removeDevice(core, owner, () => true);
}

/** Removes a device if it is still to go when that is looked at. */
export async function removeDevice(
  core: Core,
  owner: Address,
  isToGo: (seenAt: number) => boolean,
): Promise<void> {
  await core.serial.run(addressKey(owner), () =>
    untilUndisturbed(core.clock, async () => {
      const { device, list } = await core.store.devices.readWithList(owner);
      if (device === null || !isToGo(device.record.seenAt)) return true;
      return await core.store.registrations.unregister(owner, { device, list }) || null;
    }));
}
