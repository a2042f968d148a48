/**
 * Devices: who has which, under which keys. Read here; changed in `registrations.ts`.
 *
 * Invariant of the cache: a list in it is no older than five seconds, and never older than this process's own changes.
 * @module
 */
import * as v from "valibot";
import type { Address } from "../address.ts";
import { dropOldest } from "../bounded.ts";
import type { UserDevice } from "../domain.ts";
import { QUEUES, TIMES } from "../limits.ts";
import type { Database, Entry } from "./database.ts";
import { deviceKey, deviceListKey, devicePrefix } from "./keys.ts";
import { bytesField, decodeRecord, encodeRecord } from "./records.ts";

/** A device in its user's list. */
export interface ListedDevice extends UserDevice {
  /** Names the installation in the database: new with every Register that changes the identity. */
  readonly epoch: string;
}

/** All devices of a user, as of one moment. */
export interface DeviceList {
  readonly devices: ReadonlyMap<number, ListedDevice>;
  /** `null` if the user has no list. */
  readonly versionstamp: string | null;
}

/** What is kept for one device, beside its entry in the list. */
export interface DeviceRecord {
  readonly epoch: string;
  /** Random, new with every write: tells one's own write from another's. */
  readonly revision: string;
  readonly signedPreKey: Uint8Array;
  /** The number of the next one-time prekey. */
  readonly nextPreKey: number;
  /** Milliseconds since the epoch: when the installation was registered, and when the device was last connected. */
  readonly registeredAt: number;
  readonly seenAt: number;
}

/** A device's record with its version. */
export interface StoredDevice {
  readonly record: DeviceRecord;
  readonly versionstamp: string;
}

const listFields = v.object({
  devices: v.array(v.object({
    deviceId: v.number(),
    epoch: v.string(),
    registrationId: v.number(),
    identityKey: bytesField,
  })),
});

const recordFields = v.object({
  epoch: v.string(),
  revision: v.string(),
  signedPreKey: bytesField,
  nextPreKey: v.number(),
  registeredAt: v.number(),
  seenAt: v.number(),
});

/** Makes the value of a device list. */
export function encodeDeviceList(devices: Iterable<ListedDevice>): Uint8Array {
  return encodeRecord({ devices: [...devices] });
}

/** Makes the value of a device record. */
export function encodeDeviceRecord(record: DeviceRecord): Uint8Array {
  return encodeRecord({ ...record });
}

function toList(key: Deno.KvKey, entry: Entry | null): DeviceList {
  if (entry === null) return { devices: new Map(), versionstamp: null };
  const { devices } = decodeRecord(listFields, key, entry.value);
  return {
    devices: new Map(devices.map((device) => [device.deviceId, device])),
    versionstamp: entry.versionstamp,
  };
}

function toDevice(key: Deno.KvKey, entry: Entry | null): StoredDevice | null {
  if (entry === null) return null;
  return { record: decodeRecord(recordFields, key, entry.value), versionstamp: entry.versionstamp };
}

interface CachedList {
  /** `null` if it was forgotten: then no read that began before counts any more. */
  readonly list: DeviceList | null;
  readonly readAt: number;
  /** The versionstamp of the list, or of the commit that deleted it. */
  readonly version: string;
}

/** Reads devices. */
export class Devices {
  readonly #cache = new Map<string, CachedList>();

  constructor(private readonly database: Database) {}

  /** The list of a user if it is at hand and fresh: good enough to accept a message, not to refuse one. */
  cachedList(userId: string): DeviceList | null {
    // Of a shared database another process may have changed it: a message would go to an installation that is gone.
    if (this.database.isShared) return null;
    const cached = this.#cache.get(userId);
    if (cached === undefined || this.database.clock.monotonic() - cached.readAt > TIMES.deviceListMs) {
      return null;
    }
    return cached.list;
  }

  /** The list of a user as it is now. */
  async readList(userId: string): Promise<DeviceList> {
    const readAt = this.database.clock.monotonic();
    const key = deviceListKey(userId);
    const list = toList(key, await this.database.get(key));
    this.remember(userId, list, list.versionstamp ?? "", readAt);
    return list;
  }

  /** One device and its user's list, from one snapshot. */
  async readWithList(address: Address): Promise<{ device: StoredDevice | null; list: DeviceList }> {
    const keys = [deviceKey(address), deviceListKey(address.userId)] as const;
    const [device = null, list = null] = await this.database.getMany(keys);
    return { device: toDevice(keys[0], device), list: toList(keys[1], list) };
  }

  /** The addresses and records of devices, in the order of their keys, after the given one. */
  async page(after: Address | null, limit: number): Promise<{ address: Address; device: StoredDevice }[]> {
    const selector = after === null
      ? { prefix: devicePrefix }
      : { prefix: devicePrefix, start: [...deviceKey(after), 0] };
    const entries = await this.database.list(selector, { limit });
    return entries.flatMap((entry) => {
      const [, userId, deviceId] = entry.key;
      const device = toDevice(entry.key, entry);
      return typeof userId === "string" && typeof deviceId === "number" && device !== null
        ? [{ address: { userId, deviceId }, device }]
        : [];
    });
  }

  /** Keeps a list at hand. An older version never takes the place of a newer one that still counts. */
  remember(userId: string, list: DeviceList, version: string, readAt: number): void {
    const cached = this.#cache.get(userId);
    if (cached !== undefined && readAt - cached.readAt < TIMES.deviceListMs) {
      if (cached.list === null ? readAt <= cached.readAt : cached.version > version) return;
    }
    this.#keep(userId, { list, readAt, version });
  }

  /** Something about the list changed, and what is not known: whoever needs it reads it. */
  forget(userId: string): void {
    this.#keep(userId, { list: null, readAt: this.database.clock.monotonic(), version: "" });
  }

  #keep(userId: string, cached: CachedList): void {
    this.#cache.delete(userId);
    this.#cache.set(userId, cached);
    dropOldest(this.#cache, QUEUES.deviceListsMax);
  }
}
