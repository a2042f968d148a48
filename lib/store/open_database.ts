/**
 * Opening a database: a file, memory, a KV Connect server, or the platform's own; and seeing that it is one of ours.
 *
 * A file is opened twice, since each handle has a thread of its own: reads and wake-ups then don't wait behind bulk
 * commits. One server process owns a file (a lock beside it says so); many share a database through KV Connect.
 * @module
 */
import { dirname } from "node:path";
import * as v from "valibot";
import type { Clock } from "../clock.ts";
import { isKvConnect } from "../config.ts";
import { logger } from "../log.ts";
import { Database } from "./database.ts";
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

/** A path or URL as it may be logged. */
function withoutCredentials(text: string): string {
  return text.replace(/(https?:\/\/)[^/?#\s]*@/gi, "$1");
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

/** Makes an empty file that only its owner may read; another server may have been quicker. */
async function createPrivately(path: string): Promise<void> {
  try {
    await Deno.writeFile(path, new Uint8Array(), { mode: 0o600, createNew: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
  }
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
  const isNew = !(await exists(path));
  // Only the owner may read a new database: it holds the secret that signs tokens. SQLite gives the files beside it the
  // same mode.
  if (isNew) await createPrivately(path);
  const release = exclusive ? await lockFile(await Deno.realPath(path)) : () => {};
  try {
    const writer = await Deno.openKv(path);
    const reader = exclusive ? await Deno.openKv(path) : writer;
    return new Database(writer, reader, clock, false, path, release);
  } catch (error) {
    release();
    throw error;
  }
}

/**
 * Opens the platform's own database. An app on Deno Deploy that has none assigned gets a file of its isolate instead,
 * without a word: each isolate its own, and all that is in it lost when the isolate ends.
 */
async function openPlatform(mayBeEphemeral: boolean): Promise<Deno.Kv> {
  const kv = await Deno.openKv();
  if (!await isFile(kv)) return kv;
  if (mayBeEphemeral) {
    log.warn(
      "the database is a file of this isolate: other isolates do not see it, and it is lost with this one " +
        "(KV_EPHEMERAL_I_UNDERSTAND=yes)",
    );
    return kv;
  }
  kv.close();
  throw new DatabaseError(
    "no database is assigned to this app: Deno.openKv() gave a file of this isolate, which would be lost with it. " +
      "In the console of Deno Deploy: Databases, Provision Database, Deno KV; then Assign, and choose this app. " +
      "To try the server without one: KV_EPHEMERAL_I_UNDERSTAND=yes",
  );
}

/** A version that no entry ever has. */
const NO_VERSION = "ffffffffffffffffffff";

/**
 * Whether a database is a file or memory of this process rather than a server's. Only those have queues, so a commit that
 * enqueues is refused by the others before it is looked at; here its check fails, and nothing is written either way.
 */
async function isFile(kv: Deno.Kv): Promise<boolean> {
  const never = kv.atomic().check({ key: schemaKey, versionstamp: NO_VERSION }).enqueue(null);
  return await never.commit().then(() => true, () => false);
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
 * @param options `exclusive` takes the lock of a file: what a server does, and a tool beside it does not;
 * `mayBeEphemeral` accepts a platform's own database that is lost with the process.
 * @throws {DatabaseError} if it can't be opened or has a newer schema, with the path and what to do.
 */
export async function openDatabase(
  path: string | undefined,
  options: { readonly clock: Clock; readonly exclusive: boolean; readonly mayBeEphemeral?: boolean },
): Promise<Database> {
  const { clock, exclusive, mayBeEphemeral = false } = options;
  let database: Database | undefined;
  try {
    if (path === undefined || path === ":memory:" || isKvConnect(path)) {
      const kv = path === undefined ? await openPlatform(mayBeEphemeral) : await Deno.openKv(path);
      const isShared = path !== ":memory:";
      const reopen = isShared ? () => Deno.openKv(path) : null;
      const description = withoutCredentials(path ?? "of the platform");
      database = new Database(kv, kv, clock, isShared, description, () => {}, reopen);
    } else database = await openFile(path, exclusive, clock);
    await checkSchema(database);
    return database;
  } catch (error) {
    database?.close();
    if (error instanceof DatabaseError) throw error;
    const reason = withoutCredentials(error instanceof Error ? error.message : String(error));
    throw new DatabaseError(
      `KV_PATH ${
        withoutCredentials(path ?? "(the platform's)")
      } can't be opened: ${reason}. Check that the folder exists and may be ` +
        "written, that the file is a Deno KV database, and that a KV Connect server answers there",
    );
  }
}
