/**
 * RequestPreKeys: what a sender needs to start sessions with a user's devices (protocol §3).
 * @module
 */
import { type Address, addressKey } from "../address.ts";
import type { PreKeyBundle } from "../domain.ts";
import { RequestError } from "../errors.ts";
import { type Core, requireCount, untilUndisturbed } from "./core.ts";

/**
 * Makes a bundle for each device of a user that the requester does not know yet, each with a one-time prekey that
 * nobody else gets, for as long as there are some.
 *
 * @param requester as authenticated: its user's budgets pay.
 * @returns the bundles, in no particular order; none if every device is known.
 * @throws {RequestError} `unknown_user` if the user has no device; `too_large`; `rate_limited`, with nothing taken;
 * `unavailable`, after which keys may have been taken that nobody gets.
 */
export async function requestPreKeys(
  core: Core,
  requester: Address,
  request: { readonly userId: string; readonly knownDeviceIds: readonly number[] },
): Promise<PreKeyBundle[]> {
  const { userId, knownDeviceIds } = request;
  requireCount("KnownDeviceIDs", knownDeviceIds.length, core.config.knownDevicesMax);
  core.rates.claims.require(requester.userId, 1);
  const { devices } = await core.store.devices.readList(userId);
  if (devices.size === 0) throw new RequestError("unknown_user");
  const known = new Set(knownDeviceIds);
  const wanted = [...devices.keys()].filter((deviceId) => !known.has(deviceId));
  pay(core, requester, wanted.map((deviceId) => ({ userId, deviceId })));
  const bundles = await Promise.all(wanted.map((deviceId) => takeBundle(core, { userId, deviceId })));
  return bundles.filter((bundle) => bundle !== GONE);
}

/** Takes from the budgets for all devices, or for none. */
function pay({ rates }: Core, requester: Address, devices: readonly Address[]): void {
  if (devices.length === 0) return;
  const pairs = devices.map((device) => `${requester.userId}>${addressKey(device)}`);
  for (const pair of pairs) rates.preKeys.require(pair);
  rates.claims.take(requester.userId, devices.length);
  for (const pair of pairs) rates.preKeys.take(pair);
}

/** The device was removed meanwhile: it is left out. */
const GONE = Symbol("gone");

function takeBundle(core: Core, address: Address): Promise<PreKeyBundle | typeof GONE> {
  const { store, config, clock, metrics } = core;
  return core.serial.run(addressKey(address), () =>
    untilUndisturbed(clock, async () => {
      const { device, list } = await store.devices.readWithList(address);
      const listed = list.devices.get(address.deviceId);
      if (device === null || listed === undefined) return GONE;
      const taken = await store.preKeys.take(address, device, config.preKeyOrder, config.preKeysLow);
      if (taken === null) return null;
      if (taken.preKey === null) metrics.counts.preKeysExhausted++;
      else metrics.counts.preKeysTaken++;
      if (taken.remaining < config.preKeysLow) core.doorbell.preKeysLow(address);
      const { registrationId, identityKey } = listed;
      const { signedPreKey } = device.record;
      return { ...address, registrationId, identityKey, signedPreKey, preKey: taken.preKey };
    }));
}
