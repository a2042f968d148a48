/**
 * The transactions that change which devices a user has.
 *
 * A device's record is rewritten by every Register, and checked by it: so two of them are serial. What belongs to an
 * installation is keyed under its epoch; when the epoch goes, a trash row tells the janitor to delete the rest.
 * @module
 */
import type { Address } from "../address.ts";
import type { Database } from "./database.ts";
import {
  type DeviceList,
  type DeviceRecord,
  type Devices,
  encodeDeviceList,
  encodeDeviceRecord,
  type ListedDevice,
  type StoredDevice,
} from "./devices.ts";
import { deviceKey, deviceListKey, poolKey, preKeyKey, trashKey } from "./keys.ts";
import type { PoolChange } from "./prekeys.ts";
import { encodeRecord } from "./records.ts";
import type { CommitResult, Writer } from "./writer.ts";

/** What a change was judged on. */
export interface Judged {
  readonly device: StoredDevice | null;
  readonly list: DeviceList;
}

/** A device as a Register leaves it. */
export interface Registration {
  readonly listed: ListedDevice;
  readonly record: DeviceRecord;
  /** How the pool changes; the record's `nextPreKey` counts what is added already. */
  readonly pool: PoolChange;
}

const sameListing = (a: ListedDevice | undefined, b: ListedDevice): boolean =>
  a !== undefined && a.epoch === b.epoch;

/** Changes registrations. */
export class Registrations {
  constructor(
    private readonly database: Database,
    private readonly writer: Writer,
    private readonly devices: Devices,
  ) {}

  /**
   * Stores a registration, in one transaction.
   *
   * @returns `false` if something changed since it was judged: judge again.
   * @throws {RequestError} `unavailable`.
   */
  async register(address: Address, judged: Judged, registration: Registration): Promise<boolean> {
    const { listed, record, pool } = registration;
    const replacedEpoch = judged.device !== null && judged.device.record.epoch !== record.epoch
      ? judged.device.record.epoch
      : null;
    const list = new Map(judged.list.devices).set(listed.deviceId, listed);
    const changesList = !sameListing(judged.list.devices.get(listed.deviceId), listed);
    const readAt = this.database.clock.monotonic();
    const result = await this.#commit(address, (atomic) => {
      checkJudged(atomic, address, judged, changesList);
      atomic.set(deviceKey(address), encodeDeviceRecord(record));
      if (changesList) atomic.set(deviceListKey(address.userId), encodeDeviceList(list.values()));
      changePool(atomic, address, record, pool);
      if (replacedEpoch !== null) atomic.set(trashKey(address, replacedEpoch), this.#trash());
      return atomic;
    }, pool.fresh.reduce((sum, { length }) => sum + length, record.signedPreKey.length));
    if (!result.ok) {
      // Over KV Connect a commit may be replayed by the client, and then fails its own checks.
      return (await this.devices.readWithList(address)).device?.record.revision === record.revision;
    }
    if (changesList) {
      const { versionstamp } = result;
      this.devices.remember(address.userId, { devices: list, versionstamp }, versionstamp, readAt);
    }
    return true;
  }

  /**
   * Removes a device with all that belongs to it, in one transaction.
   *
   * @returns `false` if something changed since it was judged: judge again.
   * @throws {RequestError} `unavailable`.
   */
  async unregister(
    address: Address,
    judged: Judged & { readonly device: StoredDevice },
  ): Promise<boolean> {
    const list = new Map(judged.list.devices);
    list.delete(address.deviceId);
    const readAt = this.database.clock.monotonic();
    const result = await this.#commit(address, (atomic) => {
      checkJudged(atomic, address, judged, true);
      atomic.delete(deviceKey(address));
      if (list.size === 0) atomic.delete(deviceListKey(address.userId));
      else atomic.set(deviceListKey(address.userId), encodeDeviceList(list.values()));
      return atomic.set(trashKey(address, judged.device.record.epoch), this.#trash());
    });
    if (!result.ok) return false;
    const versionstamp = list.size === 0 ? null : result.versionstamp;
    this.devices.remember(address.userId, { devices: list, versionstamp }, result.versionstamp, readAt);
    return true;
  }

  /** Writes down that a device was connected. A Register at the same time goes before. */
  async seen(address: Address, { record, versionstamp }: StoredDevice, seenAt: number): Promise<void> {
    const key = deviceKey(address);
    await this.writer.commit(address.userId, (atomic) => {
      return atomic.check({ key, versionstamp }).set(key, encodeDeviceRecord({ ...record, seenAt }));
    });
  }

  /** Commits; unless it is known to have come through as it was judged, the list at hand does not count any more. */
  async #commit(
    { userId }: Address,
    build: (atomic: Deno.AtomicOperation) => Deno.AtomicOperation,
    bytes = 0,
  ): Promise<CommitResult> {
    let isDone = false;
    try {
      const result = await this.writer.commit(userId, build, bytes);
      isDone = result.ok;
      return result;
    } finally {
      if (!isDone) this.devices.forget(userId);
    }
  }

  #trash(): Uint8Array {
    return encodeRecord({ at: this.database.clock.now() });
  }
}

/** Changes the pool of one-time prekeys, and its count. */
function changePool(
  atomic: Deno.AtomicOperation,
  address: Address,
  { epoch, nextPreKey }: DeviceRecord,
  { fresh, replaced }: PoolChange,
): void {
  const first = nextPreKey - fresh.length;
  fresh.forEach((preKey, i) => atomic.set(preKeyKey(address, epoch, first + i), preKey));
  const key = poolKey(address, epoch);
  if (replaced === null) {
    if (fresh.length > 0) atomic.sum(key, BigInt(fresh.length));
    return;
  }
  // A key that is taken meanwhile changes the count, and this is judged again.
  atomic.check({ key, versionstamp: replaced.countVersion });
  for (const old of replaced.keys) atomic.delete(old);
  atomic.set(key, new Deno.KvU64(BigInt(replaced.kept + fresh.length)));
}

function checkJudged(
  atomic: Deno.AtomicOperation,
  address: Address,
  judged: Judged,
  changesList: boolean,
): void {
  atomic.check({ key: deviceKey(address), versionstamp: judged.device?.versionstamp ?? null });
  if (changesList) {
    atomic.check({ key: deviceListKey(address.userId), versionstamp: judged.list.versionstamp });
  }
}
