/**
 * RequestPreKeys: what a sender needs to start sessions with a user's devices (protocol §3).
 * @module
 */
import { type Address, addressKey } from "../address.ts";
import type { PreKeyBundle, PreKeyRequest } from "../domain.ts";
import { RequestError } from "../errors.ts";
import type { ClaimOf, TakenBundle } from "../store/mod.ts";
import { type Core, requireCount, untilUndisturbed } from "./core.ts";

/**
 * Makes a bundle for each device of a user that the requester does not know yet, each with a one-time prekey that
 * nobody else gets, for as long as there are some.
 *
 * @param requester as authenticated: its user's budgets pay.
 * A request that repeats a ClaimID within ten minutes gets the same keys, and takes no new ones.
 *
 * @returns the bundles, in no particular order; none if every device is known.
 * @throws {RequestError} `unknown_user` if the user has no device; `too_large`; `rate_limited`, with nothing taken;
 * `unavailable`, after which keys may have been taken that nobody gets.
 */
export async function requestPreKeys(
  core: Core,
  requester: Address,
  request: PreKeyRequest,
): Promise<PreKeyBundle[]> {
  const { userId, knownDeviceIds, claimId } = request;
  requireCount("KnownDeviceIDs", knownDeviceIds.length, core.config.knownDevicesMax);
  // Somebody who has nothing left is not looked anything up for; what a claim was given before costs a request only.
  if (claimId === undefined) {
    core.rates.claims.require(requester.userId);
    core.rates.requests.require(requester.userId);
  } else core.rates.requests.take(requester.userId);
  const { devices } = await core.lists.read(userId);
  const known = new Set(knownDeviceIds);
  const wanted = [...devices.keys()].filter((deviceId) => !known.has(deviceId));
  // No key pays for it, and yet it was looked up.
  if (claimId === undefined && wanted.length === 0) core.rates.requests.take(requester.userId);
  if (devices.size === 0) throw new RequestError("unknown_user");
  const claim = claimId === undefined ? null : { requester, claimId };
  const addresses = wanted.map((deviceId) => ({ userId, deviceId }));
  const before: (TakenBundle | null)[] = claim === null
    ? addresses.map(() => null)
    : await core.store.preKeys.claimed(
      claim,
      addresses.map((address) => [address, devices.get(address.deviceId)?.epoch]),
    );
  try {
    pay(core, requester, addresses.filter((_, i) => !before[i]));
  } catch (error) {
    if (claimId === undefined) core.rates.requests.claim(requester.userId); // it was looked up as well
    throw error;
  }
  const bundles = await Promise.all(addresses.map((address, i) => {
    const known = before[i];
    return known ? { ...address, ...known } : takeBundle(core, address, claim);
  }));
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

function takeBundle(
  core: Core,
  address: Address,
  claim: ClaimOf | null,
): Promise<PreKeyBundle | typeof GONE> {
  const { store, config, clock, metrics } = core;
  return core.serial.run(addressKey(address), () =>
    untilUndisturbed(clock, async () => {
      const { device, list } = await store.devices.readWithList(address);
      const listed = list.devices.get(address.deviceId);
      if (device === null || listed === undefined) return GONE;
      const taken = await store.preKeys.take(address, { device, listed }, config.preKeyOrder, claim);
      if (taken === null) return null;
      if (taken.bundle.preKey === null) metrics.counts.preKeysExhausted++;
      else metrics.counts.preKeysTaken++;
      if (taken.remaining < config.preKeysLow) core.doorbell.preKeysLow(address);
      return { ...address, ...taken.bundle };
    }));
}
