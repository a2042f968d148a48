/**
 * Tests of counts in the group commit: what one commit counts on a key is added up first.
 * @module
 */
import assert from "node:assert/strict";
import { Metrics } from "../../lib/metrics.ts";
import { Database } from "../../lib/store/database.ts";
import { unpackTally } from "../../lib/store/tally.ts";
import { Writer } from "../../lib/store/writer.ts";
import { ShiftedClock } from "../support/manual_clock.ts";
import { Gate, ScriptedKv } from "./scripted_kv.ts";

const USER = crypto.randomUUID();

function writerOn(kv: Deno.Kv): Writer {
  return new Writer(new Database(kv, kv, new ShiftedClock(), false, "test"), new Metrics(), 1);
}

/** Counts on a key, beside the changes of the same write. */
function count(
  writer: Writer,
  name: string,
  messages: number,
  bytes: number,
  changes: Readonly<Record<string, Uint8Array | null>> = {},
): Promise<void> {
  const mutations = Object.entries(changes).map(([key, change]) => ({ key: [key], change }));
  return new Promise((resolve, reject) => {
    const tally = { key: ["count", name], name, messages, bytes };
    writer.write(USER, {
      mutations,
      tallies: [tally],
      settle: (error) => error === null ? resolve() : reject(error),
    });
  });
}

const amountOf = async (kv: Deno.Kv, name: string) => unpackTally((await kv.get(["count", name])).value);

/** The keys that each commit counted on. */
const sumsOf = ({ commits }: ScriptedKv) =>
  commits.map(({ steps }) => steps.filter(({ what }) => what === "sum").map(({ key }) => key.at(-1)));

Deno.test("a commit adds up what it counts, once for each key", async () => {
  await using scripted = await ScriptedKv.open();
  const writer = writerOn(scripted.kv);
  const counting = [1, 2, 3].flatMap((n) => [count(writer, "a", 1, n), count(writer, "b", -1, 10 * n)]);
  await Promise.all([...counting, count(writer, "b", 5, 0)]);
  assert.deepEqual(sumsOf(scripted), [["a", "b"]]);
  assert.deepEqual(await amountOf(scripted.real, "a"), { messages: 3, bytes: 6 });
  assert.deepEqual(await amountOf(scripted.real, "b"), { messages: 2, bytes: 60 });
});

Deno.test("a commit in which what is counted comes to nothing does not touch the count", async () => {
  await using scripted = await ScriptedKv.open();
  const writer = writerOn(scripted.kv);
  const one = Uint8Array.of(1);
  await Promise.all([
    count(writer, "even", 1, 7, { a: one, b: one }),
    count(writer, "even", -1, -7, { a: null }),
    count(writer, "even", 0, 0),
    count(writer, "messages", 1, 3),
    count(writer, "messages", 1, -3),
    count(writer, "bytes", 1, 3),
    count(writer, "bytes", -1, 0),
  ]);
  assert.deepEqual(sumsOf(scripted), [["messages", "bytes"]], "half of nothing is something");
  assert.deepEqual(scripted.mutations[0]?.slice(0, 3), ["a", "b", "a"], "the changes are all made, in order");
  assert.equal((await scripted.real.get(["count", "even"])).value, null);
  assert.deepEqual(await amountOf(scripted.real, "bytes"), { messages: 0, bytes: 3 });
});

Deno.test("one write counts on several keys, in its commit", async () => {
  await using scripted = await ScriptedKv.open();
  const writer = writerOn(scripted.kv);
  const tallies = ["a", "b", "a"].map((name, i) => ({ key: ["count", name], name, messages: 1, bytes: i }));
  await new Promise<void>((resolve) =>
    writer.write(USER, { mutations: [], tallies, settle: () => resolve() })
  );
  assert.deepEqual(sumsOf(scripted), [["a", "b"]]);
  assert.deepEqual(await amountOf(scripted.real, "a"), { messages: 2, bytes: 2 });
  assert.deepEqual(await amountOf(scripted.real, "b"), { messages: 1, bytes: 1 });
});

Deno.test("what two commits count is counted in each, and adds up", async () => {
  await using scripted = await ScriptedKv.open();
  const writer = writerOn(scripted.kv);
  const gate = new Gate();
  scripted.onCommit = async (commit) => (await gate.passed, await commit.run());
  const first = count(writer, "a", 1, 7);
  await Promise.resolve();
  const second = [count(writer, "a", -1, -7), count(writer, "a", 1, 9)];
  gate.open();
  await Promise.all([first, ...second]);
  assert.deepEqual(sumsOf(scripted), [["a"], ["a"]]);
  assert.deepEqual(await amountOf(scripted.real, "a"), { messages: 1, bytes: 9 });
});

Deno.test("what a commit counts is not counted if it fails", async () => {
  await using scripted = await ScriptedKv.open();
  const writer = writerOn(scripted.kv);
  const refused = [
    count(writer, "a", 1, 7),
    count(writer, "a", 1, 8, { "too large": new Uint8Array(70_000) }),
  ];
  for (const outcome of await Promise.allSettled(refused)) assert.equal(outcome.status, "rejected");
  assert.equal((await scripted.real.get(["count", "a"])).value, null);
  await count(writer, "a", 1, 9);
  assert.deepEqual(await amountOf(scripted.real, "a"), { messages: 1, bytes: 9 });
});
