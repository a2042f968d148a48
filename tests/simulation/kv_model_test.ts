/**
 * The model of Deno KV does what Deno KV does: the same calls on both, chosen by chance, have the same answers.
 *
 * Only the collecting of what has expired is not compared: the real one takes up to a minute for it.
 */
import assert from "node:assert/strict";
import fc from "../support/fast_check.ts";
import { directWay, KvModel } from "./kv_model.ts";
import { KvState } from "./kv_state.ts";

/** Keys whose order is easy to get wrong: types, zeros, negative numbers, beginnings of one another. */
const KEYS: readonly Deno.KvKey[] = [
  ["a"],
  ["a", "b"],
  ["a", "b\0"],
  ["a", "b", 0],
  ["a", "b", -1],
  ["a", "b", 2.5],
  ["a", "b", 256],
  ["a", "b", true],
  ["a", Uint8Array.of()],
  ["a", Uint8Array.of(0)],
  ["a", Uint8Array.of(0, 255)],
  ["a", Uint8Array.of(1)],
  ["a", "é"],
  ["b", false, "x"],
];
const COUNTS: readonly Deno.KvKey[] = [["count"], ["count", 1], ["count", "é"]];
const WATCHED = [["a", "b"], ["count"], ["a", "é"]] as const;

const key = fc.constantFrom(...KEYS);
const count = fc.constantFrom(...COUNTS);
const anyKey = fc.oneof(key, count);
const value = fc.uint8Array({ maxLength: 4 });
const expireIn = fc.option(fc.constant(3_600_000), { nil: undefined });
const amount = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });

const change = fc.oneof(
  fc.record({ type: fc.constant("set" as const), key, value, expireIn }),
  fc.record({ type: fc.constant("delete" as const), key: anyKey }),
  fc.record({ type: fc.constantFrom("sum" as const, "min" as const, "max" as const), key: count, amount }),
);
const check = fc.record({
  key: anyKey,
  expects: fc.constantFrom("nothing", "what is there", "what was there"),
});

const selector = fc.oneof(
  fc.constantFrom<Deno.KvListSelector>({ prefix: ["a"] }, { prefix: ["a", "b"] }, { prefix: [] }),
  fc.record({
    prefix: fc.constant(["a"]),
    start: key.filter(([first, second]) => first === "a" && second !== undefined),
  }),
  fc.record({
    prefix: fc.constant(["a"]),
    end: key.filter(([first, second]) => first === "a" && second !== undefined),
  }),
  fc.tuple(key, key).map(([start, end]) => ({ start, end })),
);

const step = fc.oneof(
  fc.record({
    what: fc.constant("commit" as const),
    checks: fc.array(check, { maxLength: 3 }),
    changes: fc.array(change, { maxLength: 4 }),
  }),
  fc.record({ what: fc.constant("get" as const), keys: fc.array(anyKey, { minLength: 1, maxLength: 10 }) }),
  fc.record({
    what: fc.constant("list" as const),
    selector,
    limit: fc.integer({ min: 1, max: 6 }),
    batchSize: fc.integer({ min: 1, max: 3 }),
    reverse: fc.boolean(),
  }),
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** One of the two databases, with names for its versions that do not depend on their numbers. */
class Side {
  readonly #names = new Map<string, number>();
  readonly #before = new Map<string, string | null>();

  constructor(readonly kv: Deno.Kv) {}

  async carryOut(step: Step): Promise<unknown> {
    if (step.what === "get") {
      return (await this.kv.getMany(step.keys as Deno.KvKey[])).map((row) => this.#plain(row));
    }
    if (step.what === "list") {
      const { selector, limit, batchSize, reverse } = step;
      const rows = [];
      try {
        const found = this.kv.list(selector as Deno.KvListSelector, { limit, batchSize, reverse });
        for await (const row of found) rows.push(this.#plain(row));
      } catch (error) {
        return (error as Error).name; // a start behind its end
      }
      return rows;
    }
    return await this.#commit(step);
  }

  /** Reads what a watch tells until it tells of the state as it is now. */
  async lastTold(reader: ReadableStreamDefaultReader<Deno.KvEntryMaybe<unknown>[]>): Promise<unknown> {
    const wanted = (await this.kv.getMany([...WATCHED])).map((row) => this.#plain(row));
    for (;;) {
      const { value } = await reader.read();
      const told = value?.map((row) => this.#plain(row));
      if (JSON.stringify(told) === JSON.stringify(wanted)) return told;
    }
  }

  async #commit({ checks, changes }: Extract<Step, { what: "commit" }>): Promise<boolean> {
    const atomic = this.kv.atomic();
    for (const { key, expects } of checks) {
      const { versionstamp } = await this.kv.get(key as Deno.KvKey);
      const name = JSON.stringify(this.#plain({ key: key as Deno.KvKey, value: null, versionstamp: null }));
      const before = this.#before.get(name) ?? null;
      this.#before.set(name, versionstamp);
      atomic.check({
        key: key as Deno.KvKey,
        versionstamp: expects === "nothing" ? null : expects === "what is there" ? versionstamp : before,
      });
    }
    for (const change of changes) {
      const key = change.key as Deno.KvKey;
      if (change.type === "delete") atomic.delete(key);
      else if (change.type !== "set") atomic[change.type](key, change.amount);
      else atomic.set(key, change.value, change.expireIn === undefined ? {} : { expireIn: change.expireIn });
    }
    const result = await atomic.commit();
    if (result.ok) this.#names.set(result.versionstamp, this.#names.size);
    return result.ok;
  }

  #plain({ key, value, versionstamp }: Deno.KvEntryMaybe<unknown>): unknown[] {
    const text = (part: unknown) => part instanceof Uint8Array ? `bytes ${part.toHex()}` : part;
    const plain = value instanceof Deno.KvU64 ? `count ${value.value}` : text(value);
    return [key.map(text), plain, versionstamp === null ? null : this.#names.get(versionstamp) ?? "unknown"];
  }
}

Deno.test("the model of Deno KV answers as Deno KV does", async () => {
  const property = fc.asyncProperty(fc.array(step, { maxLength: 40, size: "max" }), async (steps) => {
    const state = new KvState();
    const kvs = [await Deno.openKv(":memory:"), new KvModel(state, directWay(state)).kv];
    const [real, model] = kvs.map((kv) => new Side(kv)) as [Side, Side];
    const watches = kvs.map((kv) => kv.watch([...WATCHED]).getReader());
    for (const step of steps) assert.deepEqual(await model.carryOut(step), await real.carryOut(step));
    const told = await Promise.all(
      [real, model].map((side, i) => side.lastTold(watches[i] ?? assert.fail())),
    );
    assert.deepEqual(told[1], told[0]);
    for (const watch of watches) await watch.cancel();
    assert.equal(state.watches, 0, "a watch that was cancelled listens no more");
    for (const kv of kvs) kv.close();
  });
  await fc.assert(property, { numRuns: 200 });
});

Deno.test("the model refuses what Deno KV, or denokv, refuses", async () => {
  const state = new KvState();
  const { kv } = new KvModel(state, directWay(state));
  const many = <T>(count: number, of: (i: number) => T) => Array.from({ length: count }, (_, i) => of(i));
  await assert.rejects(kv.atomic().set(["a"], new Uint8Array(65_537)).commit(), /too large/);
  await assert.rejects(async () => await kv.getMany(many(11, (i) => [i])), /too many keys/);
  const checks = kv.atomic().check(...many(11, (i) => ({ key: [i], versionstamp: null })));
  await assert.rejects(checks.commit(), /too many checks/);
  const mutations = kv.atomic();
  for (let i = 0; i < 1_001; i++) mutations.delete([i]);
  await assert.rejects(mutations.commit(), /too many mutations/);
  assert.equal(state.size, 0);
});
