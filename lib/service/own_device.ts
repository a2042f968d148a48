/**
 * What a connection learns about its own device.
 * @module
 */
import type { Address } from "../address.ts";
import { TIMES } from "../limits.ts";
import type { Core } from "./core.ts";

/** How often within DEVICE_UNSEEN it is written down that a device was seen. */
const SEEN_PER_UNSEEN = 8;

/** What a connection learns about its device when it opens. */
export interface OwnDevice {
  readonly epoch: string;
  readonly registrationId: number;
  /** How many one-time prekeys are left. */
  readonly preKeys: number;
}

/**
 * Reads what is known of a device, and writes down that it was seen.
 *
 * @returns `null` if the device is not registered.
 * @throws {RequestError} `unavailable`.
 */
export async function readOwnDevice(core: Core, address: Address): Promise<OwnDevice | null> {
  const { store, clock } = core;
  const { device, list } = await store.devices.readWithList(address);
  const listed = list.devices.get(address.deviceId);
  if (device === null || listed === undefined) return null;
  const { epoch, seenAt } = device.record;
  const now = clock.now();
  // Often enough that nobody who comes back in time counts as unseen.
  const seenMs = Math.min(TIMES.seenMs, core.config.deviceUnseenMs / SEEN_PER_UNSEEN);
  if (now - seenAt > seenMs) void store.registrations.seen(address, device, now).catch(() => {});
  return {
    epoch,
    registrationId: listed.registrationId,
    preKeys: await store.preKeys.count(address, epoch),
  };
}
