/**
 * What goes into one commit of many writes.
 * @module
 */
import type { RequestError } from "../errors.ts";
import { BATCH } from "../limits.ts";
import type { CommitResult } from "./commit_run.ts";
import { packTally, type Tally } from "./tally.ts";

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
  /**
   * Whether nobody waits for it: then it keeps its place however late it is, and `settle` tells what became of it in the
   * end. To give it up would only mean to repeat it, when storage is behind already.
   */
  readonly isPatient?: boolean;
  /** Called once: with `null` when the write is durable, else with what to tell whoever asked for it. */
  settle(error: RequestError | null, result?: CommitResult): void;
  /** Called if it became durable after all, when `settle` had been told that this is not known. */
  landed?(): void;
}

const NO_TALLIES: readonly Tally[] = [];

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

/** Makes the commit of a batch. */
export function buildBatch(atomic: Deno.AtomicOperation, batch: readonly Write[]): Deno.AtomicOperation {
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
    return this.#mutations <= BATCH.mutationsMax && this.#bytes <= BATCH.bytesMax &&
      this.#setKeyBytes <= BATCH.keyBytesMax;
  }
}
