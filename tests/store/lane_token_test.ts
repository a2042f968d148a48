/** On a shared database each commit is carried out once, whatever becomes of its answer. */
import assert from "node:assert/strict";
import { Metrics } from "../../lib/metrics.ts";
import { Database } from "../../lib/store/mod.ts";
import type { CommitResult } from "../../lib/store/writer.ts";
import { Writer } from "../../lib/store/writer.ts";
import { ShiftedClock } from "../support/manual_clock.ts";
import { ScriptedKv } from "./scripted_kv.ts";

const USER = crypto.randomUUID();
const COUNT: Deno.KvKey = ["count"];

interface Setting {
  readonly scripted: ScriptedKv;
  readonly writer: Writer;
  count(): Promise<bigint>;
}

function test(name: string, work: (setting: Setting) => Promise<void>): void {
  Deno.test(name, async () => {
    await using scripted = await ScriptedKv.open();
    const database = new Database(scripted.kv, scripted.kv, new ShiftedClock(), true, "test");
    const writer = new Writer(database, new Metrics(), 1);
    const count = async () => (await scripted.real.get<Deno.KvU64>(COUNT)).value?.value ?? 0n;
    await work({ scripted, writer, count });
  });
}

/** A commit that counts one, and has checks of its own if some are given. */
function countOne(writer: Writer, ...checks: Deno.AtomicCheck[]): Promise<CommitResult> {
  return writer.commit(USER, (atomic) => atomic.check(...checks).sum(COUNT, 1n));
}

/** The rows of lanes. */
async function laneRows(kv: Deno.Kv): Promise<Deno.KvKey[]> {
  return (await Array.fromAsync(kv.list({ prefix: ["lane"] }))).map(({ key }) => key);
}

test("a commit that the client repeats, since its answer was lost, is carried out once", async (setting) => {
  const { scripted, writer, count } = setting;
  scripted.onCommit = async (commit) => {
    await commit.run();
    return await commit.run();
  };
  for (let n = 1n; n <= 3n; n++) {
    const result = await countOne(writer);
    assert.equal(result.ok, true);
    assert.equal(await count(), n);
  }
});

test("a commit whose answer can't be read was carried out once", async ({ scripted, writer, count }) => {
  scripted.onCommit = async (commit) => {
    await commit.run();
    scripted.onCommit = (next) => next.run();
    throw new Error("KV Connect failed to read response body");
  };
  assert.equal((await countOne(writer)).ok, true);
  assert.equal((await countOne(writer)).ok, true);
  assert.equal(await count(), 2n);
});

test("a commit that failed on its way is repeated until it is carried out", async ({ scripted, writer, count }) => {
  let failures = 3;
  scripted.onCommit = (commit) =>
    failures-- > 0 ? Promise.reject(new Error("connection reset")) : commit.run();
  assert.equal((await countOne(writer)).ok, true);
  assert.equal(await count(), 1n);
  assert.equal(scripted.commits.length, 4);
});

test("a commit that comes late, after its lane went on, is not carried out", async ({ scripted, writer, count }) => {
  const first = scripted.onCommit;
  let late: (() => Promise<unknown>) | undefined;
  scripted.onCommit = (commit) => {
    late = () => commit.run();
    scripted.onCommit = first;
    return Promise.reject(new Error("connection reset"));
  };
  await countOne(writer);
  assert.deepEqual(await late?.(), { ok: false });
  assert.equal(await count(), 1n);
});

test("a check of a commit's own still fails it, and the lane goes on", async ({ writer, count }) => {
  const result = await countOne(writer, { key: COUNT, versionstamp: "00000000000000000001" });
  assert.equal(result.ok, false);
  assert.equal((await countOne(writer)).ok, true);
  assert.equal(await count(), 1n);
});

test("a lane whose row has expired goes on", async ({ scripted, writer, count }) => {
  await countOne(writer);
  for (const key of await laneRows(scripted.real)) await scripted.real.delete(key);
  assert.equal((await countOne(writer)).ok, true);
  assert.equal(await count(), 2n);
});

test("a commit that the database refuses fails at once", async ({ scripted, writer }) => {
  scripted.onCommit = () => Promise.reject(new TypeError("too large"));
  await assert.rejects(countOne(writer), { error: "unavailable" });
  assert.equal(scripted.commits.length, 1);
});

Deno.test("a database of its own has no rows for lanes", async () => {
  await using scripted = await ScriptedKv.open();
  const database = new Database(scripted.kv, scripted.kv, new ShiftedClock(), false, "test");
  await countOne(new Writer(database, new Metrics(), 1));
  assert.deepEqual(await laneRows(scripted.real), []);
});
