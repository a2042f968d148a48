/**
 * The open database: one handle that writes, one that reads and watches, and deadlines on every read.
 * @module
 */
import { type Clock, withDeadline } from "../clock.ts";
import { RequestError } from "../errors.ts";
import { KV, TIMES } from "../limits.ts";
import { logger } from "../log.ts";
import { GatheredReads } from "./gathered_reads.ts";
import { Handles } from "./handles.ts";
import { schemaKey } from "./keys.ts";

const log = logger("store");

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

/** One database. */
export class Database {
  readonly #handles: Handles;
  /** How many reads were made so far. */
  reads = 0;
  readonly #gathered = new GatheredReads<Entry>((keys) => this.getMany(keys), unavailable);

  /**
   * @param writer commits.
   * @param reader reads and watches; the same handle where the backend has no thread a handle.
   * @param clock for deadlines.
   * @param isShared whether other processes may use the same database.
   * @param description where it is, for people.
   * @param reopen makes a fresh handle, where one may answer when this one does not.
   */
  constructor(
    writer: Deno.Kv,
    reader: Deno.Kv,
    readonly clock: Clock,
    readonly isShared: boolean,
    readonly description: string,
    private readonly release: () => void = () => {},
    reopen: (() => Promise<Deno.Kv>) | null = null,
  ) {
    this.#handles = new Handles({ writer, reader }, clock, reopen);
  }

  /** Commits. It may be another one the next time. */
  get writer(): Deno.Kv {
    return this.#handles.writer;
  }

  /** Reads and watches. It may be another one the next time. */
  get reader(): Deno.Kv {
    return this.#handles.reader;
  }

  /** Waits for a commit; fails if it was asked of a handle that another one took the place of. */
  whileCurrent<T>(work: Promise<T>): Promise<T> {
    return this.#handles.whileCurrent(work);
  }

  /** A commit has waited for longer than it may. */
  late(): void {
    this.#handles.late();
  }

  /**
   * Sees that storage is not known to be away: who would only wait for it is answered at once.
   *
   * @throws {RequestError} `unavailable`.
   */
  requireUp(): void {
    if (this.#handles.isDown) throw unavailable();
  }

  /** Whether storage answers, within its deadline. */
  async answers(): Promise<boolean> {
    return await this.get(schemaKey).then(() => true, () => false);
  }

  /** Reads one entry, or `null`. */
  async get(key: Deno.KvKey): Promise<Entry | null> {
    if (this.isShared) return await this.#gathered.get(key);
    return present(await this.#read(() => this.reader.get(key)));
  }

  /** Reads up to ten entries in one snapshot. */
  async getMany(keys: readonly Deno.KvKey[]): Promise<(Entry | null)[]> {
    const entries = await this.#read(() => this.reader.getMany<unknown[]>(keys as Deno.KvKey[]));
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
    let isGivenUp = false;
    const collect = async () => {
      const entries: Entry[] = [];
      const batchSize = Math.min(options.batchSize ?? 500, options.limit);
      for await (const entry of this.reader.list<unknown>(selector, { ...options, batchSize })) {
        if (isGivenUp) break;
        entries.push(entry);
        if (!wants(entry)) break;
      }
      return entries;
    };
    return this.#read(collect).finally(() => {
      isGivenUp = true;
    });
  }

  /** Looks at entries in order, keeping none, until `look` returns `false`. The deadline holds for each batch. */
  async scan(
    selector: Deno.KvListSelector,
    options: { readonly batchSize: number; readonly limit?: number; readonly reverse?: boolean },
    look: (entry: Entry) => boolean | void,
  ): Promise<void> {
    const entries = this.reader.list<unknown>(selector, options);
    for (;;) {
      const { done, value } = await this.#read(() => entries.next());
      if (done || look(value) === false) return;
    }
  }

  /** Watches keys until `signal` is aborted; reports each change, the state at the start first. */
  async watch(
    keys: readonly Deno.KvKey[],
    signal: AbortSignal,
    changed: (entries: (Entry | null)[]) => void,
  ): Promise<void> {
    const { kv, release } = await this.#handles.takeWatch(signal);
    const stream = kv.watch<unknown[]>(keys as Deno.KvKey[]).getReader();
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
      release();
    }
  }

  /** Closes the handles and gives the file free. */
  close(): void {
    this.#handles.close();
    this.release();
  }

  async #read<T>(work: () => Promise<T>): Promise<T> {
    this.requireUp();
    this.reads++;
    let result: T | typeof LATE;
    try {
      result = await withDeadline(this.clock, work(), TIMES.storageDeadlineMs, LATE);
    } catch (error) {
      log.error("a read failed: {reason}", { reason: String(error) });
      throw unavailable();
    }
    if (result === LATE) {
      this.#handles.late();
      throw unavailable();
    }
    this.#handles.answered();
    return result as T;
  }
}

const LATE = Symbol("late");

function present(entry: Deno.KvEntryMaybe<unknown>): Entry | null {
  return entry.versionstamp === null ? null : entry;
}
