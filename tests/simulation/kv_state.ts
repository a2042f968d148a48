/**
 * The contents of a model of Deno KV, and what a commit does to them: without any waiting.
 *
 * That it is like the real thing is not taken on trust: `kv_model_test.ts` compares the two. Where backends differ, the
 * model has the stricter bound (denokv's ten checks). What the store never asks for is refused rather than guessed.
 */
import { KV } from "../../lib/limits.ts";
import { orderOf } from "./kv_order.ts";

/** A condition of a commit. */
export interface Check {
  readonly key: Deno.KvKey;
  readonly versionstamp: string | null;
}

/** One change of a commit. */
export type Change =
  | { readonly type: "set"; readonly key: Deno.KvKey; readonly value: unknown; readonly expireIn?: number }
  | { readonly type: "delete"; readonly key: Deno.KvKey }
  | { readonly type: "sum" | "min" | "max"; readonly key: Deno.KvKey; readonly amount: bigint };

/** What a commit asks for. */
export interface Asked {
  readonly checks: readonly Check[];
  readonly changes: readonly Change[];
}

/** A row as it is stored. */
export interface Row {
  readonly key: Deno.KvKey;
  readonly value: unknown;
  readonly versionstamp: string;
  /** Milliseconds since the epoch, by the database's clock: from then on it may be collected. */
  readonly collectableAt: number;
}

const copyOf = (value: unknown): unknown => value instanceof Uint8Array ? value.slice() : value;

/** Bytes of a value as far as its bound goes. */
const bytesOf = (value: unknown): number => value instanceof Uint8Array ? value.length : 8;

/** The row as a reader gets it: its bytes are the reader's own. */
export const entryOf = ({ key, value, versionstamp }: Row): Deno.KvEntry<unknown> => ({
  key,
  value: copyOf(value),
  versionstamp,
});

function refuseTooMuch({ checks, changes }: Asked): void {
  if (checks.length > KV.checksMax) throw new TypeError(`too many checks: ${checks.length}`);
  if (changes.length > KV.mutationsMax) throw new TypeError(`too many mutations: ${changes.length}`);
  let [bytes, keyBytes] = [0, 0];
  for (const change of changes) {
    const keyLength = orderOf(change.key).length;
    const length = change.type === "set" ? bytesOf(change.value) : 8;
    if (length > KV.valueBytesMax) throw new TypeError(`a value of ${length} bytes is too large`);
    bytes += keyLength + length;
    if (change.type !== "delete") keyBytes += keyLength;
  }
  if (bytes > KV.commitBytesMax) throw new TypeError(`a commit of ${bytes} bytes is too large`);
  if (keyBytes > KV.commitKeyBytesMax) throw new TypeError(`keys of ${keyBytes} bytes are too large`);
}

/** All rows of a database, in the order of their keys. */
export class KvState {
  readonly #rows = new Map<string, Row>();
  #order: string[] = [];
  #version = 0n;
  /** Told after each commit which keys it touched. */
  readonly #listeners = new Set<(touched: ReadonlySet<string>) => void>();

  /** How many rows there are. */
  get size(): number {
    return this.#rows.size;
  }

  /** How many watches are open. */
  get watches(): number {
    return this.#listeners.size;
  }

  get(key: Deno.KvKey): Row | null {
    return this.#rows.get(orderOf(key)) ?? null;
  }

  /** Rows from `start` to before `end`, at most `limit`, from either side. */
  range(start: string, end: string, limit: number, reverse: boolean): Row[] {
    const [low, high] = [this.#find(start), this.#find(end)];
    if (low >= high) return [];
    const names = reverse
      ? this.#order.slice(Math.max(low, high - limit), high).reverse()
      : this.#order.slice(low, Math.min(high, low + limit));
    return names.flatMap((name) => this.#rows.get(name) ?? []);
  }

  /**
   * Commits: everything, or nothing if a check fails.
   *
   * @param now of the database's clock, for what is to be collected later.
   * @throws {TypeError} what the real one refuses.
   */
  commit(asked: Asked, now: number): Deno.KvCommitResult | Deno.KvCommitError {
    refuseTooMuch(asked);
    for (const { key, versionstamp } of asked.checks) {
      if ((this.get(key)?.versionstamp ?? null) !== versionstamp) return { ok: false };
    }
    const versionstamp = `${(++this.#version).toString(16).padStart(16, "0")}0000`;
    const touched = new Set<string>();
    for (const change of asked.changes) {
      const name = orderOf(change.key);
      touched.add(name);
      if (change.type === "delete") this.#delete(name);
      else if (change.type === "set") {
        const collectableAt = change.expireIn === undefined ? Infinity : now + change.expireIn;
        this.#put(name, { key: change.key, value: copyOf(change.value), versionstamp, collectableAt });
      } else {
        const value = this.#counted(change.type, this.#rows.get(name), change.amount);
        // Counting takes the expiry away, as the real one does.
        this.#put(name, { key: change.key, value, versionstamp, collectableAt: Infinity });
      }
    }
    for (const tell of [...this.#listeners]) tell(touched);
    return { ok: true, versionstamp };
  }

  /** Collects what has expired: the real one does so now and then, up to a minute late. */
  collect(now: number): void {
    for (const [name, row] of [...this.#rows]) if (row.collectableAt <= now) this.#delete(name);
  }

  /** Hears of every commit until the result is called. */
  listen(tell: (touched: ReadonlySet<string>) => void): () => void {
    this.#listeners.add(tell);
    return () => void this.#listeners.delete(tell);
  }

  #counted(type: "sum" | "min" | "max", row: Row | undefined, amount: bigint): Deno.KvU64 {
    if (row === undefined) return new Deno.KvU64(BigInt.asUintN(64, amount));
    if (!(row.value instanceof Deno.KvU64)) throw new TypeError("counting what is no count is not modelled");
    const before = row.value.value;
    if (type === "sum") return new Deno.KvU64(BigInt.asUintN(64, before + amount));
    return new Deno.KvU64((type === "min") === (amount < before) ? amount : before);
  }

  #put(name: string, row: Row): void {
    if (!this.#rows.has(name)) this.#order.splice(this.#find(name), 0, name);
    this.#rows.set(name, row);
  }

  #delete(name: string): void {
    if (this.#rows.delete(name)) this.#order.splice(this.#find(name), 1);
  }

  /** The place of the first name that is not before the given one. */
  #find(name: string): number {
    let [low, high] = [0, this.#order.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#order[middle] ?? "") < name) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
