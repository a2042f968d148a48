/**
 * What goes into one commit of many writes.
 * @module
 */
import type { RequestError } from "../errors.ts";
import { BATCH, GROWING } from "../limits.ts";
import type { CommitResult } from "./lane_token.ts";
import type { Addition, GrowingRow, GrowingRows } from "./growing.ts";
import { NO_TALLIES, packTally, type Tally } from "./tally.ts";

/** One change of one key. */
export interface Mutation {
  readonly key: Deno.KvKey;
  /** Bytes are set, `null` deletes. */
  readonly change: Uint8Array | null;
  /** When the database may collect it. */
  readonly expireInMs?: number;
}

/** Something that waits to be written: all of it in one commit, or nothing. */
export interface Write {
  readonly mutations: readonly Mutation[];
  /** Counted in the same commit; what a batch counts on one key is added up first. */
  readonly tallies?: readonly Tally[];
  /** Added to a row that grows, in the same commit; `null` is nothing. */
  readonly addition?: Addition | null;
  /**
   * Whether nobody waits for it: then it keeps its place however late it is, and `settle` tells what became of it in the
   * end. To give it up would only mean to repeat it, when storage is behind already.
   */
  readonly isPatient?: boolean;
  /** Called once: with `null` when the write is durable, else with what to tell whoever asked for it. */
  settle(error: RequestError | null, result?: CommitResult): void;
  /** Called if it became durable after all, or may have, when `settle` had been told that this is not known. */
  landed?(): void;
}

/** Bytes of a key, roughly and rather too many. */
function keyBytes(key: Deno.KvKey): number {
  let bytes = 0;
  for (const part of key) {
    bytes += typeof part === "string" || part instanceof Uint8Array ? part.length + 3 : 9;
  }
  return bytes;
}

export function valueBytes({ mutations }: Write): number {
  let bytes = 0;
  for (const { change } of mutations) bytes += change?.length ?? 0;
  return bytes;
}

/** Adds a mutation to a commit. */
export function mutate(atomic: Deno.AtomicOperation, { key, change, expireInMs }: Mutation): void {
  if (change === null) atomic.delete(key);
  else atomic.set(key, change, expireInMs === undefined ? undefined : { expireIn: Math.max(1, expireInMs) });
}

/** Adds what a batch adds to rows that grow. Once for each batch, however often its commit is tried. */
export function growRows(growing: GrowingRows, batch: readonly Write[]): ReadonlySet<GrowingRow> {
  const rows = new Set<GrowingRow>();
  for (const { addition } of batch) if (addition) rows.add(growing.add(addition));
  return rows;
}

/** Makes the commit of a batch, and of the rows that grew with it. */
export function buildBatch(
  atomic: Deno.AtomicOperation,
  batch: readonly Write[],
  rows: ReadonlySet<GrowingRow>,
): Deno.AtomicOperation {
  const tallies = new Map<string, { key: Deno.KvKey; messages: number; bytes: number }>();
  for (const job of batch) {
    for (const mutation of job.mutations) mutate(atomic, mutation);
    for (const { name, key, messages, bytes } of job.tallies ?? NO_TALLIES) {
      const sum = tallies.get(name);
      if (sum === undefined) tallies.set(name, { key, messages, bytes });
      else {
        sum.messages += messages;
        sum.bytes += bytes;
      }
    }
  }
  for (const { key, messages, bytes } of tallies.values()) {
    if (messages !== 0 || bytes !== 0) atomic.sum(key, packTally(messages, bytes));
  }
  for (const { key, value } of rows) atomic.set(key, value, { expireIn: GROWING.keptMs });
  return atomic;
}

/** How much of a commit's bounds is taken. */
export class BatchSize {
  #mutations = 0;
  #bytes = 0;
  /** Of keys that are set; those that are deleted have no bound of their own. */
  #setKeyBytes = 0;
  readonly #tallied = new Set<string>();

  /**
   * Counts a write in.
   *
   * @returns whether the batch still fits one commit with it.
   */
  add(write: Write): boolean {
    for (const { key, change } of write.mutations) {
      const bytes = keyBytes(key);
      this.#mutations++;
      this.#bytes += bytes;
      if (change !== null) {
        this.#setKeyBytes += bytes;
        this.#bytes += change.length;
      }
    }
    for (const { name, key } of write.tallies ?? NO_TALLIES) {
      if (this.#tallied.has(name)) continue;
      this.#tallied.add(name);
      this.#mutations++;
      this.#setKeyBytes += keyBytes(key);
    }
    if (write.addition) this.#grow(write.addition);
    return this.#mutations <= BATCH.mutationsMax && this.#bytes <= BATCH.bytesMax &&
      this.#setKeyBytes <= BATCH.keyBytesMax;
  }

  /** A row for each group; the few more that a batch of many additions fills are within what the bounds leave. */
  #grow({ group, byteLength }: Addition): void {
    this.#bytes += byteLength;
    if (this.#tallied.has(group)) return;
    this.#tallied.add(group);
    this.#mutations++;
    this.#setKeyBytes += GROWING.keyBytes;
    this.#bytes += GROWING.keyBytes + GROWING.rowBytesMax;
  }
}
