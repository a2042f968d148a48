/**
 * A store on a database of its own in memory, closed at the end of its scope.
 * @module
 */
import type { Address } from "../../lib/address.ts";
import type { Clock } from "../../lib/clock.ts";
import type { StoredMessage } from "../../lib/domain.ts";
import { Metrics } from "../../lib/metrics.ts";
import {
  type ClaimOf,
  createStore,
  Database,
  type ListedDevice,
  type MailboxEntry,
  type Store,
  type StoredDevice,
} from "../../lib/store/mod.ts";
import type { PreKeyOrder } from "../../lib/store/prekeys.ts";
import type { Addition } from "../../lib/store/growing.ts";
import type { Mutation } from "../../lib/store/writer.ts";
import type { Registration } from "../../lib/store/registrations.ts";
import type { CommitResult, Write } from "../../lib/store/writer.ts";
import { eventually } from "../support/eventually.ts";
import { ShiftedClock } from "../support/manual_clock.ts";

/** What a test gets. */
export interface TestStore extends Store, AsyncDisposable {
  readonly kv: Deno.Kv;
  readonly metrics: Metrics;
}

/** What a test may choose. */
export interface TestStoreOptions {
  readonly clock?: Clock;
  /** An open database; the test closes it. Default: a new one. */
  readonly kv?: Deno.Kv;
  /** Whether other processes are to be expected. */
  readonly isShared?: boolean;
}

/** Opens a store. */
export async function openStore(options: TestStoreOptions = {}): Promise<TestStore> {
  const kv = options.kv ?? await Deno.openKv(":memory:");
  const database = new Database(
    kv,
    kv,
    options.clock ?? new ShiftedClock(),
    options.isShared ?? false,
    "test",
  );
  const metrics = new Metrics();
  const store = await createStore(database, metrics);
  const close = async () => {
    await eventually("every write is over", () => store.writer.isIdle);
    if (options.kv === undefined) kv.close();
  };
  return { ...store, kv, metrics, [Symbol.asyncDispose]: close };
}

/** A new address. */
export function newAddress(deviceId = 1): Address {
  return { userId: crypto.randomUUID(), deviceId };
}

/** Bytes that no other call returns. */
export function newBytes(length = 16): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(length));
}

/** A registration of a new installation, or of the one with the given epoch. */
export function registrationOf(
  { deviceId }: Address,
  preKeys: readonly Uint8Array[] = [],
  epoch: string = crypto.randomUUID(),
): Registration {
  const listed: ListedDevice = { deviceId, epoch, registrationId: 7, identityKey: newBytes() };
  const record = {
    epoch,
    revision: crypto.randomUUID(),
    signedPreKey: newBytes(),
    nextPreKey: preKeys.length,
    registeredAt: 1,
    seenAt: 1,
  };
  return { listed, record, pool: { fresh: preKeys, replaced: null } };
}

/** Registers a device, on what is there now. */
export async function registerDevice(
  store: Store,
  address: Address,
  preKeys: readonly Uint8Array[] = [],
): Promise<Registration> {
  const registration = registrationOf(address, preKeys);
  const judged = await store.devices.readWithList(address);
  if (!await store.registrations.register(address, judged, registration)) throw new Error("not registered");
  return registration;
}

/** A registered device, as a take needs it. */
export async function readInstalled(
  store: Store,
  address: Address,
): Promise<{ device: StoredDevice; listed: ListedDevice }> {
  const { device, list } = await store.devices.readWithList(address);
  const listed = list.devices.get(address.deviceId);
  if (device === null || listed === undefined) throw new Error("not registered");
  return { device, listed };
}

/** Takes a one-time prekey on what is there now, again and again until nothing comes between. */
export async function takeOne(
  store: Store,
  address: Address,
  order: PreKeyOrder = "fifo",
  claim: ClaimOf | null = null,
): Promise<{ preKey: Uint8Array | null; remaining: number }> {
  for (let attempts = 0; attempts < 10_000; attempts++) {
    const taken = await store.preKeys.take(address, await readInstalled(store, address), order, claim);
    if (taken !== null) return { preKey: taken.bundle.preKey, remaining: taken.remaining };
  }
  throw new Error("never came through");
}

/** A message with the store's next id. */
export function newMessage(store: Store, fields: Partial<StoredMessage> = {}): StoredMessage {
  const id = store.ids.next();
  const timestamp = store.database.clock.now();
  return {
    id,
    from: newAddress(),
    messageId: id,
    timestamp,
    expiresAt: timestamp + 60_000,
    transient: false,
    ciphertext: newBytes(),
    ...fields,
  };
}

/** Stores a message, and waits until it is durable. */
export function append(
  store: Store,
  to: Address,
  epoch: string,
  message: StoredMessage,
  addition: Addition | null = null,
): Promise<MailboxEntry> {
  return new Promise((resolve, reject) => {
    const settle: Write["settle"] = (error) => error === null ? resolve(entry) : reject(error);
    const entry = store.mailboxes.append(to, epoch, message, { addition, ring: null }, settle);
  });
}

/** Writes one value, and waits for the outcome. */
export function write(
  store: Pick<Store, "writer">,
  userId: string,
  mutation: Mutation,
): Promise<CommitResult | undefined> {
  return new Promise((resolve, reject) => {
    const settle: Write["settle"] = (error, result) => error === null ? resolve(result) : reject(error);
    store.writer.write(userId, { mutations: [mutation], settle });
  });
}
