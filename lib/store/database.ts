/**
 * The open database: one handle that writes, one that reads and watches, and deadlines on every read.
 *
 * A file is opened twice, since each handle has a thread of its own: reads and wake-ups then don't wait behind bulk
 * commits. One server process owns a file (a lock beside it says so); many share a database through KV Connect.
 * @module
 */
import { dirname } from "node:path";
import * as v from "valibot";
import { type Clock, withDeadline } from "../clock.ts";
import { RequestError } from "../errors.ts";
import { KV, TIMES } from "../limits.ts";
import { logger } from "../log.ts";
import { schemaKey } from "./keys.ts";
import { decodeRecord, encodeRecord } from "./records.ts";

const log = logger("store");

/** The schema that this server reads and writes. */
const SCHEMA_VERSION = 1;

const schemaFields = v.object({ version: v.number() });

/** The database can't be opened. The message says which, why, and what to do. */
export class DatabaseError extends Error {
  override readonly name = "DatabaseError";
}

/** An entry whose value is known to be there; values are bytes or KvU64. */
export interface Entry {
  readonly key: Deno.KvKey;
  readonly value: unknown;
  readonly versionstamp: string;
}

/** Tells that storage did not answer; what was asked for may still happen. */
export function unavailable(): RequestError {
  return new RequestError("unavailable", "storage did not answer in time: repeat the request", 1_000);
}

/** The handles of one database. */
export class Database {
  /**
   * @param writer commits.
   * @param reader reads and watches; the same handle where the backend has no thread a handle.
   * @param clock for deadlines.
   * @param isShared whether other processes may use the same database.
   * @param description where it is, for people.
   */
  constructor(
    readonly writer: Deno.Kv,
    readonly reader: Deno.Kv,
    readonly clock: Clock,
    readonly isShared: boolean,
    readonly description: string,
    private readonly release: () => void = () => {},
  ) {}

  /** Reads one entry, or `null`. */
  async get(key: Deno.KvKey): Promise<Entry | null> {
    return present(await this.#read(this.reader.get(key)));
  }

  /** Reads up to ten entries in one snapshot. */
  async getMany(keys: readonly Deno.KvKey[]): Promise<(Entry | null)[]> {
    const entries = await this.#read(this.reader.getMany<unknown[]>(keys as Deno.KvKey[]));
    return entries.map(present);
  }

  /** Reads any number of entries, ten in a snapshot. */
  async getAll(keys: readonly Deno.KvKey[]): Promise<(Entry | null)[]> {
    const chunks: Promise<(Entry | null)[]>[] = [];
    for (let i = 0; i < keys.length; i += KV.keysMax) {
      chunks.push(this.getMany(keys.slice(i, i + KV.keysMax)));
    }
    return (await Promise.all(chunks)).flat();
  }

  /** Reads entries in order, at most `limit`, until `wants` says that it has enough. */
  list(
    selector: Deno.KvListSelector,
    options: { readonly limit: number; readonly reverse?: boolean; readonly batchSize?: number },
    wants: (entry: Entry) => boolean = () => true,
  ): Promise<Entry[]> {
    const collect = async () => {
      const entries: Entry[] = [];
      const batchSize = Math.min(options.batchSize ?? 500, options.limit);
      for await (const entry of this.reader.list<unknown>(selector, { ...options, batchSize })) {
        entries.push(entry);
        if (!wants(entry)) break;
      }
      return entries;
    };
    return this.#read(collect());
  }

  /** Watches keys until `signal` is aborted; reports each change, the state at the start first. */
  async watch(
    keys: readonly Deno.KvKey[],
    signal: AbortSignal,
    changed: (entries: (Entry | null)[]) => void,
  ): Promise<void> {
    const stream = this.reader.watch<unknown[]>(keys as Deno.KvKey[]).getReader();
    const stop = () => void stream.cancel().catch(() => {});
    signal.addEventListener("abort", stop, { once: true });
    try {
      while (!signal.aborted) {
        const { done, value } = await stream.read();
        if (done) return;
        changed(value.map(present));
      }
    } finally {
      signal.removeEventListener("abort", stop);
      stop();
    }
  }

  /** Closes the handles and gives the file free. */
  close(): void {
    this.writer.close();
    if (this.reader !== this.writer) this.reader.close();
    this.release();
  }

  async #read<T>(work: Promise<T>): Promise<T> {
    let result: T | typeof LATE;
    try {
      result = await withDeadline(this.clock, work, TIMES.storageDeadlineMs, LATE);
    } catch (error) {
      log.error("a read failed: {reason}", { reason: String(error) });
      throw unavailable();
    }
    if (result === LATE) throw unavailable();
    return result as T;
  }
}

const LATE = Symbol("late");

function present(entry: Deno.KvEntryMaybe<unknown>): Entry | null {
  return entry.versionstamp === null ? null : entry;
}

/** Takes the lock beside the file. */
async function lockFile(path: string): Promise<() => void> {
  const lockPath = `${path}.lock`;
  const file = await Deno.open(lockPath, { read: true, write: true, create: true });
  // Deno 2.5, where this call is missing, is what Deploy runs; there are no files there.
  if (typeof file.tryLock === "function" && !(await file.tryLock(true))) {
    const holder = (await Deno.readTextFile(lockPath)).trim() || "unknown";
    file.close();
    throw new DatabaseError(
      `KV_PATH ${path} is in use by another server (process ${holder}). Stop that one, or give this one another ` +
        "KV_PATH. Several servers share a database through KV Connect: KV_PATH=http://…",
    );
  }
  await file.truncate(0);
  await file.write(new TextEncoder().encode(`${Deno.pid}\n`));
  return () => file.close();
}

async function exists(path: string): Promise<boolean> {
  try {
    await Deno.stat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** Opens a file, with its folder made where it is missing. */
async function openFile(path: string, exclusive: boolean, clock: Clock): Promise<Database> {
  await Deno.mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const release = exclusive ? await lockFile(path) : () => {};
  try {
    const isNew = !(await exists(path));
    const writer = await Deno.openKv(path);
    // Only the owner may read a new database: it holds the secret that signs tokens.
    if (isNew && Deno.build.os !== "windows") await Deno.chmod(path, 0o600);
    const reader = exclusive ? await Deno.openKv(path) : writer;
    return new Database(writer, reader, clock, false, path, release);
  } catch (error) {
    release();
    throw error;
  }
}

/** Checks that the schema is one that this server knows, and writes it into a new database. */
async function checkSchema(database: Database): Promise<void> {
  const entry = await database.get(schemaKey);
  if (entry === null) {
    const value = encodeRecord({ version: SCHEMA_VERSION });
    await database.writer.atomic().check({ key: schemaKey, versionstamp: null }).set(schemaKey, value)
      .commit();
    return;
  }
  const { version } = decodeRecord(schemaFields, schemaKey, entry.value);
  if (version > SCHEMA_VERSION) {
    throw new DatabaseError(
      `the database ${database.description} has schema ${version}, written by a newer server; this one knows ` +
        `${SCHEMA_VERSION}. Run that newer server, or give this one another KV_PATH`,
    );
  }
}

/**
 * Opens the database of a server, or beside one.
 *
 * @param path a file, `:memory:`, an http(s) URL of a KV Connect server, or `undefined` for the platform's own.
 * @param options `exclusive` takes the lock of a file: what a server does, and a tool beside it does not.
 * @throws {DatabaseError} if it can't be opened or has a newer schema, with the path and what to do.
 */
export async function openDatabase(
  path: string | undefined,
  options: { readonly clock: Clock; readonly exclusive: boolean },
): Promise<Database> {
  const { clock, exclusive } = options;
  let database: Database | undefined;
  try {
    if (path === undefined || path === ":memory:" || /^https?:\/\//.test(path)) {
      const kv = await Deno.openKv(path);
      database = new Database(kv, kv, clock, path !== ":memory:", path ?? "of the platform");
    } else database = await openFile(path, exclusive, clock);
    await checkSchema(database);
    return database;
  } catch (error) {
    database?.close();
    if (error instanceof DatabaseError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new DatabaseError(
      `KV_PATH ${
        path ?? "(the platform's)"
      } can't be opened: ${reason}. Check that the folder exists and may be ` +
        "written, that the file is a Deno KV database, and that a KV Connect server answers there",
    );
  }
}
