/**
 * Register: the owner of a device hands in its keys (protocol §3).
 * @module
 */
import { type Address, addressKey } from "../address.ts";
import type { DeviceKeys } from "../domain.ts";
import { RequestError } from "../errors.ts";
import type { DeviceList, ListedDevice, StoredDevice } from "../store/mod.ts";
import { type Core, requireCount, requireSize, untilUndisturbed } from "./core.ts";

/** What a Register led to. */
export interface Registered {
  /** Names the installation; another one than before if the device was re-installed. */
  readonly epoch: string;
  /** How many one-time prekeys went into the pool. */
  readonly stored: number;
  /** How many did not, since the installation had uploaded them before. */
  readonly skipped: number;
}

/**
 * Registers a device, adds keys to it, or rotates its signed prekey.
 *
 * @param owner the device, as authenticated.
 * @throws {RequestError} `too_large`, `too_many`, `rate_limited` or `unavailable`; then nothing was stored, except
 * after `unavailable`, where it may have been.
 */
export function register(core: Core, owner: Address, keys: DeviceKeys): Promise<Registered> {
  core.rates.requests.take(owner.userId);
  requireKeySizes(core, keys);
  return core.serial.run(
    addressKey(owner),
    () => untilUndisturbed(core.clock, () => attempt(core, owner, keys)),
  );
}

function requireKeySizes({ config }: Core, keys: DeviceKeys): void {
  requireSize("IdentityKey", keys.identityKey.length, config.identityKeyBytesMax);
  requireSize("SignedPreKey", keys.signedPreKey.length, config.keyBytesMax);
  requireCount("PreKeys", keys.preKeys.length, config.registerPreKeysMax);
  keys.preKeys.forEach((preKey, i) => requireSize(`PreKeys[${i}]`, preKey.length, config.keyBytesMax));
  const all = keys.preKeys.reduce((sum, { length }) => sum + length, keys.identityKey.length);
  requireSize("Register", all + keys.signedPreKey.length, config.registerBytesMax);
}

async function attempt(core: Core, owner: Address, keys: DeviceKeys): Promise<Registered | null> {
  const { store, config, clock, metrics } = core;
  const judged = await store.devices.readWithList(owner);
  const installed = sameInstallation(judged, owner, keys);
  const epoch = installed?.record.epoch ?? randomName();
  if (installed === null) requireRoom(core, judged.list, owner);
  const { change, size } = await store.preKeys.judge(owner, epoch, keys.preKeys, keys.replace);
  if (size > config.preKeysMax) {
    const before = size - change.fresh.length;
    throw new RequestError(
      "too_many",
      `the device has ${before} one-time prekeys, ${change.fresh.length} more would pass the limit of ${config.preKeysMax}`,
    );
  }
  const { deviceId } = owner;
  const { registrationId, signedPreKey } = keys;
  // A copy: the list stays at hand, and must not keep the whole frame that the key came in.
  const identityKey = keys.identityKey.slice();
  const now = clock.now();
  const isStored = await store.registrations.register(owner, judged, {
    listed: { deviceId, epoch, registrationId, identityKey },
    record: {
      epoch,
      revision: randomName(),
      signedPreKey,
      nextPreKey: (installed?.record.nextPreKey ?? 0) + change.fresh.length,
      registeredAt: installed?.record.registeredAt ?? now,
      seenAt: now,
    },
    pool: change,
  });
  if (!isStored) return null;
  metrics.counts.registrations++;
  return { epoch, stored: change.fresh.length, skipped: keys.preKeys.length - change.fresh.length };
}

/** The device as it is, if the keys are of the same installation; `null` if they are of a new one. */
function sameInstallation(
  { device, list }: { device: StoredDevice | null; list: DeviceList },
  owner: Address,
  keys: DeviceKeys,
): StoredDevice | null {
  const listed = list.devices.get(owner.deviceId);
  if (device === null || listed === undefined || listed.epoch !== device.record.epoch) return null;
  return isSameIdentity(listed, keys) ? device : null;
}

function isSameIdentity(listed: ListedDevice, { registrationId, identityKey }: DeviceKeys): boolean {
  return listed.registrationId === registrationId && listed.identityKey.length === identityKey.length &&
    listed.identityKey.every((byte, i) => byte === identityKey[i]);
}

function requireRoom({ config }: Core, list: DeviceList, owner: Address): void {
  if (list.devices.has(owner.deviceId) || list.devices.size < config.devicesMax) return;
  throw new RequestError("too_many", `the user has ${list.devices.size} devices, and no more are allowed`);
}

/** 64 random bits in hexadecimal. */
function randomName(): string {
  return crypto.randomUUID().replaceAll("-", "").slice(-16);
}
