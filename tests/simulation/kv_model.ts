/**
 * A handle of the model of Deno KV: the calls of `Deno.Kv` that the store makes, over a way to the contents that may be
 * slow, or fail.
 */
import { KV } from "../../lib/limits.ts";
import { orderOf, rangeOf } from "./kv_order.ts";
import { type Asked, type Change, type Check, entryOf, type KvState, type Row } from "./kv_state.ts";

/** The way from a process to the database and back. */
export interface Way {
  /** Reads: `look` at the database, then bring the answer. */
  read<T>(look: () => T): Promise<T>;
  /** Commits. */
  commit(asked: Asked): Promise<Deno.KvCommitResult | Deno.KvCommitError>;
  /** Told what a list brought, when it was looked up. */
  saw(rows: readonly Row[]): void;
  /** Told what a get brought, when its answer has come. */
  got(entry: Deno.KvEntryMaybe<unknown>): void;
}

/** The way that is always open, and takes no time. */
export function directWay(state: KvState, now: () => number = () => 0): Way {
  return {
    read: (look) => Promise.try(look),
    commit: (asked) => Promise.try(() => state.commit(asked, now())),
    saw: () => {},
    got: () => {},
  };
}

class Atomic {
  readonly #checks: Check[] = [];
  readonly #changes: Change[] = [];

  constructor(private readonly way: Way) {}

  check(...checks: Deno.AtomicCheck[]): this {
    this.#checks.push(...checks);
    return this;
  }

  set(key: Deno.KvKey, value: unknown, options?: { expireIn?: number }): this {
    this.#changes.push({
      type: "set",
      key,
      value,
      ...(options?.expireIn === undefined ? {} : { expireIn: options.expireIn }),
    });
    return this;
  }

  delete(key: Deno.KvKey): this {
    this.#changes.push({ type: "delete", key });
    return this;
  }

  sum(key: Deno.KvKey, amount: bigint): this {
    this.#changes.push({ type: "sum", key, amount });
    return this;
  }

  min(key: Deno.KvKey, amount: bigint): this {
    this.#changes.push({ type: "min", key, amount });
    return this;
  }

  max(key: Deno.KvKey, amount: bigint): this {
    this.#changes.push({ type: "max", key, amount });
    return this;
  }

  commit(): Promise<Deno.KvCommitResult | Deno.KvCommitError> {
    return this.way.commit({ checks: this.#checks, changes: this.#changes });
  }
}

function requireFew(keys: readonly Deno.KvKey[]): void {
  if (keys.length > KV.keysMax) throw new TypeError(`too many keys: ${keys.length}`);
}

/** A handle of a modelled database. */
export class KvModel {
  readonly #closing = new Set<() => void>();

  constructor(private readonly state: KvState, private readonly way: Way) {}

  /** The handle as the store takes it: it calls nothing that is not here. */
  get kv(): Deno.Kv {
    return this as unknown as Deno.Kv;
  }

  async get(key: Deno.KvKey): Promise<Deno.KvEntryMaybe<unknown>> {
    const entry = await this.way.read(() => this.#entry(key));
    this.way.got(entry);
    return entry;
  }

  getMany(keys: readonly Deno.KvKey[]): Promise<Deno.KvEntryMaybe<unknown>[]> {
    requireFew(keys);
    return this.way.read(() => keys.map((key) => this.#entry(key)));
  }

  async *list(
    selector: Deno.KvListSelector,
    options: { limit?: number; reverse?: boolean; batchSize?: number } = {},
  ): AsyncGenerator<Deno.KvEntry<unknown>> {
    let { start, end } = rangeOf(selector);
    if (start > end) throw new TypeError("start key is greater than end key");
    const { reverse = false, limit = Infinity } = options;
    const batchSize = options.batchSize ?? Math.min(limit, 100);
    if (batchSize > 1_000) throw new TypeError(`too many entries in a batch: ${batchSize}`);
    for (let left = limit; left > 0;) {
      const size = Math.min(batchSize, left);
      const rows = await this.way.read(() => {
        const found = this.state.range(start, end, size, reverse);
        this.way.saw(found);
        return found.map(entryOf);
      });
      yield* rows;
      const last = rows.at(-1);
      if (last === undefined || rows.length < size) return;
      left -= rows.length;
      if (reverse) end = orderOf(last.key);
      else start = orderOf(last.key) + "\x00";
    }
  }

  atomic(): Deno.AtomicOperation {
    return new Atomic(this.way) as unknown as Deno.AtomicOperation;
  }

  /** The state of some keys, at once and after each change; changes that come together are told once. */
  watch(keys: readonly Deno.KvKey[]): ReadableStream<Deno.KvEntryMaybe<unknown>[]> {
    requireFew(keys);
    const names = keys.map(orderOf);
    let wake = Promise.withResolvers<void>();
    wake.resolve(); // the state at the start is told
    const stopListening = this.state.listen((touched) => {
      if (names.some((name) => touched.has(name))) wake.resolve();
    });
    const stop = () => {
      this.#closing.delete(stop);
      stopListening();
      wake.resolve();
    };
    this.#closing.add(stop);
    let told: string | null = null;
    return new ReadableStream({
      pull: async (controller) => {
        try {
          for (;;) {
            await wake.promise;
            if (!this.#closing.has(stop)) return controller.close();
            wake = Promise.withResolvers();
            const entries = await this.way.read(() => keys.map((key) => this.#entry(key)));
            const versions = entries.map(({ versionstamp }) => versionstamp).join();
            if (versions === told) continue;
            told = versions;
            if (this.#closing.has(stop)) controller.enqueue(entries);
            return;
          }
        } catch (error) {
          stop();
          controller.error(error);
        }
      },
      cancel: stop,
    }, { highWaterMark: 0 });
  }

  close(): void {
    for (const stop of [...this.#closing]) stop();
  }

  #entry(key: Deno.KvKey): Deno.KvEntryMaybe<unknown> {
    const row = this.state.get(key);
    return row === null ? { key, value: null, versionstamp: null } : entryOf(row);
  }
}
