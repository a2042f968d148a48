/**
 * A database whose answers a test holds up, fails or replaces; behind it is a real one in memory.
 * @module
 */

/** One mutation or check, as it was asked for. */
export interface Step {
  readonly what: "check" | "set" | "delete" | "sum" | "max";
  readonly key: Deno.KvKey;
  /** For a `set`: when the database may collect it. */
  readonly expireInMs?: number | undefined;
}

/** A commit that was asked for. */
export interface Commit {
  readonly steps: readonly Step[];
  /** Carries it out, on the real database. */
  run(): Promise<Result>;
}

type Result = Deno.KvCommitResult | Deno.KvCommitError;

/** What stands between the store and the database. */
export class ScriptedKv implements AsyncDisposable {
  /** Every commit that was asked for, the newest last. */
  readonly commits: Commit[] = [];
  /** How many lists under each kind of key were begun. */
  readonly lists = new Map<unknown, number>();
  /** What a commit does; by default it is carried out. */
  onCommit: (commit: Commit) => Promise<Result> = (commit) => commit.run();
  /** Called after the database has answered a read, and before the store hears of it. */
  afterRead: () => Promise<void> = () => Promise.resolve();
  /** Called before each row of a list is handed on. */
  beforeRow: () => Promise<void> = () => Promise.resolve();
  /** Watches that are to break at once. */
  brokenWatches = 0;
  /** What the store works with. */
  readonly kv: Deno.Kv;

  private constructor(readonly real: Deno.Kv) {
    this.kv = new Proxy(real, { get: (_, name) => this.#member(name) });
  }

  static async open(): Promise<ScriptedKv> {
    return new ScriptedKv(await Deno.openKv(":memory:"));
  }

  /** The keys of each commit's mutations, checks left out. */
  get mutations(): string[][] {
    return this.commits.map(({ steps }) =>
      steps.filter(({ what }) => what !== "check").map(({ key }) => key.map(String).join("/"))
    );
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.real.close();
    return Promise.resolve();
  }

  #member(name: string | symbol): unknown {
    if (name === "atomic") return () => this.#atomic();
    if (name === "get") return this.#read((key: Deno.KvKey) => this.real.get(key));
    if (name === "getMany") return this.#read((keys: Deno.KvKey[]) => this.real.getMany(keys));
    if (name === "list") return (...args: Parameters<Deno.Kv["list"]>) => this.#list(args);
    if (name === "watch" && this.brokenWatches > 0) return () => this.#brokenWatch();
    const member: unknown = Reflect.get(this.real, name, this.real);
    return typeof member === "function" ? member.bind(this.real) : member;
  }

  #read<A, T>(read: (argument: A) => Promise<T>): (argument: A) => Promise<T> {
    return async (argument) => {
      const result = await read(argument);
      await this.afterRead();
      return result;
    };
  }

  async *#list(args: Parameters<Deno.Kv["list"]>): AsyncGenerator<Deno.KvEntry<unknown>> {
    const [selector] = args;
    const kind = "prefix" in selector ? selector.prefix[0] : selector.start[0];
    this.lists.set(kind, (this.lists.get(kind) ?? 0) + 1);
    for await (const entry of this.real.list<unknown>(...args)) {
      await this.beforeRow();
      yield entry;
    }
    await this.afterRead();
  }

  #brokenWatch(): ReadableStream<never> {
    this.brokenWatches--;
    return new ReadableStream({ start: (controller) => controller.error(new TypeError("broken")) });
  }

  /** A real atomic operation that notes what is put into it. Its methods return it, so they can be replaced. */
  #atomic(): Deno.AtomicOperation {
    const atomic = this.real.atomic();
    const steps: Step[] = [];
    const note = (what: Step["what"], key: Deno.KvKey, expireInMs?: number) =>
      void steps.push({ what, key, expireInMs });
    const { check, set, delete: remove, sum, max, commit } = atomic;
    atomic.check = (
      ...checks
    ) => (checks.forEach(({ key }) => note("check", key)), check.apply(atomic, checks));
    atomic.set = (
      key,
      value,
      options,
    ) => (note("set", key, options?.expireIn), set.call(atomic, key, value, options));
    atomic.delete = (key) => (note("delete", key), remove.call(atomic, key));
    atomic.sum = (key, n) => (note("sum", key), sum.call(atomic, key, n));
    atomic.max = (key, n) => (note("max", key), max.call(atomic, key, n));
    atomic.commit = () => {
      const asked: Commit = { steps, run: () => commit.call(atomic) };
      this.commits.push(asked);
      return this.onCommit(asked);
    };
    return atomic;
  }
}

/** Something that others wait at until it is opened. */
export class Gate {
  readonly #opened = Promise.withResolvers<void>();

  /** Lets everyone through, those who come later too. */
  open(): void {
    this.#opened.resolve();
  }

  /** Waits until the gate is open. */
  get passed(): Promise<void> {
    return this.#opened.promise;
  }
}
