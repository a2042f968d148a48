/**
 * Fills a database before its server starts, with the store's own encoders: devices, messages that wait, old sends.
 * @module
 */
import { systemClock } from "../../lib/clock.ts";
import { Metrics } from "../../lib/metrics.ts";
import { AcceptedSends } from "../../lib/store/accepted.ts";
import { Database, openDatabase } from "../../lib/store/mod.ts";
import { encodeDeviceList, encodeDeviceRecord } from "../../lib/store/devices.ts";
import { IdSource } from "../../lib/store/ids.ts";
import { deviceKey, deviceListKey, poolKey, preKeyKey } from "../../lib/store/keys.ts";
import { prepareEntry, tallyOf } from "../../lib/store/mailbox_entry.ts";
import { packTally } from "../../lib/store/tally.ts";
import { type Mutation, Writer } from "../../lib/store/writer.ts";
import { databasePath, type Folder } from "./processes.ts";

/** What a database is to hold. */
export interface Seed {
  readonly devices?: readonly SeedDevice[];
  /** Sends that were accepted two hours ago: the server's janitor deletes them. */
  readonly oldSends?: number;
}

/** Device 1 of a user. */
export interface SeedDevice {
  readonly userId: string;
  /** One-time prekeys in its pool. Default: 20, so that nobody is asked for more. */
  readonly preKeys?: number;
  /** Messages of 300 bytes that wait for it. */
  readonly waiting?: number;
}

const KEY_BYTES = 33;
const WAITING_BYTES = 300;
const RETENTION_MS = 30 * 86_400_000;
const OLD_MS = 2 * 3_600_000;
const DEVICE_ID = 1;

/** Well below what one commit takes: mutations (whose keys are the bound), and bytes of values. */
const COMMIT = { mutations: 600, bytes: 500_000 } as const;

const randomBytes = (bytes: number) => crypto.getRandomValues(new Uint8Array(bytes));

/** A number of users with random IDs. */
export function makeUsers(count: number): string[] {
  return Array.from({ length: count }, () => crypto.randomUUID());
}

/** Commits as much at once as a commit holds. */
class Filler {
  #atomic: Deno.AtomicOperation;
  #mutations = 0;
  #bytes = 0;

  constructor(private readonly kv: Deno.Kv) {
    this.#atomic = kv.atomic();
  }

  async set({ key, change, expireInMs }: Mutation): Promise<void> {
    const options = expireInMs === undefined ? {} : { expireIn: expireInMs };
    this.#atomic.set(key, change, options);
    await this.#count(change?.length ?? 0);
  }

  async sum(key: Deno.KvKey, value: bigint): Promise<void> {
    this.#atomic.sum(key, value);
    await this.#count(8);
  }

  async flush(): Promise<void> {
    if (this.#mutations > 0) await this.#atomic.commit();
    this.#atomic = this.kv.atomic();
    this.#mutations = 0;
    this.#bytes = 0;
  }

  async #count(bytes: number): Promise<void> {
    this.#mutations++;
    this.#bytes += bytes;
    if (this.#mutations >= COMMIT.mutations || this.#bytes >= COMMIT.bytes) await this.flush();
  }
}

async function fillDevice(filler: Filler, ids: IdSource, device: SeedDevice, from: string): Promise<void> {
  const { userId, preKeys = 20, waiting = 0 } = device;
  const address = { userId, deviceId: DEVICE_ID };
  const now = Date.now();
  const epoch = crypto.randomUUID().replaceAll("-", "").slice(0, 16);
  const record = {
    epoch,
    revision: crypto.randomUUID(),
    signedPreKey: randomBytes(KEY_BYTES),
    nextPreKey: preKeys,
    registeredAt: now,
    seenAt: now,
  };
  const listed = { deviceId: DEVICE_ID, epoch, registrationId: 1, identityKey: randomBytes(KEY_BYTES) };
  await filler.set({ key: deviceKey(address), change: encodeDeviceRecord(record) });
  await filler.set({ key: deviceListKey(userId), change: encodeDeviceList([listed]) });
  for (let n = 0; n < preKeys; n++) {
    await filler.set({ key: preKeyKey(address, epoch, n), change: randomBytes(KEY_BYTES) });
  }
  await filler.sum(poolKey(address, epoch), BigInt(preKeys));
  for (let n = 0; n < waiting; n++) {
    const [entry, mutation] = prepareEntry(address, epoch, {
      id: ids.next(),
      from: { userId: from, deviceId: DEVICE_ID },
      messageId: randomBytes(16),
      timestamp: now,
      expiresAt: now + RETENTION_MS,
      transient: false,
      ciphertext: randomBytes(WAITING_BYTES),
    });
    await filler.set(mutation);
    const tally = tallyOf(address, entry, 1);
    if (n > 0 || tally === null) continue;
    await filler.sum(tally.key, packTally(waiting, waiting * WAITING_BYTES));
  }
}

/** Remembers sends as a server did two hours ago. */
async function fillOldSends(filler: Filler, database: Database, count: number): Promise<void> {
  const clock = { ...systemClock, now: () => Date.now() - OLD_MS };
  const then = new Database(database.writer, database.reader, clock, false, "then");
  const accepted = new AcceptedSends(then, new Writer(then, new Metrics()));
  const from = { userId: crypto.randomUUID(), deviceId: DEVICE_ID };
  const toUserId = crypto.randomUUID();
  for (let n = 0; n < count; n++) {
    const send = { from, toUserId, toDeviceId: DEVICE_ID, messageId: randomBytes(16) };
    await filler.set(accepted.remember(send, { at: clock.now(), fullDeviceIds: [] }));
  }
}

/** Fills the database in a folder. */
export function fill(folder: Folder, seed: Seed): Promise<void> {
  return fillDatabase(databasePath(folder), seed);
}

/** Fills a database: a file, or that of a KV Connect server. */
export async function fillDatabase(path: string, { devices = [], oldSends = 0 }: Seed): Promise<void> {
  const database = await openDatabase(path, { clock: systemClock, exclusive: false });
  try {
    const ids = await IdSource.open(database);
    const filler = new Filler(database.writer);
    const from = crypto.randomUUID();
    for (const device of devices) await fillDevice(filler, ids, device, from);
    await fillOldSends(filler, database, oldSends);
    await filler.flush();
  } finally {
    database.close();
  }
}

/** Copies a filled database: cheaper than to fill another. */
export async function copyFolder(from: Folder, to: Folder): Promise<void> {
  for await (const { name, isFile } of Deno.readDir(from.path)) {
    if (isFile) await Deno.copyFile(`${from.path}/${name}`, `${to.path}/${name}`);
  }
}
