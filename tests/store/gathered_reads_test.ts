/** Reads of a shared database that come together go together. */
import assert from "node:assert/strict";
import type { Entry } from "../../lib/store/database.ts";
import { GatheredReads } from "../../lib/store/gathered_reads.ts";
import { Gate } from "./scripted_kv.ts";

const keyOf = (n: number): Deno.KvKey => ["k", n];
const entryOf = (key: Deno.KvKey): Entry => ({ key, value: key[1], versionstamp: "1" });

/** Reads of which the first requests wait at a gate. */
function gated(): { reads: GatheredReads<Entry>; gate: Gate; requests: number[] } {
  const gate = new Gate();
  const requests: number[] = [];
  const readMany = async (keys: readonly Deno.KvKey[]) => {
    requests.push(keys.length);
    await gate.passed;
    return keys.map((key) => key[1] === 13 ? null : entryOf(key));
  };
  const reads = new GatheredReads<Entry>(readMany, () => new Error("full"));
  return { reads, gate, requests };
}

Deno.test("get() gathers what is asked for while two requests are under way, ten in a request", async () => {
  const { reads, gate, requests } = gated();
  const asked = Array.from({ length: 25 }, (_, n) => reads.get(keyOf(n)));
  assert.deepEqual(requests, [1, 1]);
  gate.open();
  const entries = await Promise.all(asked);
  assert.deepEqual(requests, [1, 1, 10, 10, 3]);
  assert.deepEqual(entries.map((entry) => entry?.value ?? null), asked.map((_, n) => n === 13 ? null : n));
});

Deno.test("get() fails with the request that it was part of, and the next ones go on", async () => {
  let failures = 1;
  const reads = new GatheredReads<Entry>(
    (keys) => failures-- > 0 ? Promise.reject(new Error("late")) : Promise.resolve(keys.map(entryOf)),
    () => new Error("full"),
  );
  await assert.rejects(reads.get(keyOf(1)), /late/);
  assert.equal((await reads.get(keyOf(2)))?.value, 2);
});
