/** Many watches on a real denokv: its HTTP/2 connections take some 200 requests at once, and a watch is one without end. */
import assert from "node:assert/strict";
import { systemClock } from "../../lib/clock.ts";
import { openDatabase } from "../../lib/store/mod.ts";
import { Denokv, KV_TOKEN } from "../support/denokv.ts";
import { eventually } from "../support/eventually.ts";
import { DENOKV, testWith } from "../support/tools.ts";

const WATCHES = 450;

testWith(
  DENOKV,
  "denokv",
  `${WATCHES} watches of one process all hear, and reads still answer`,
  async (program) => {
    await using denokv = await Denokv.start(program);
    Deno.env.set("DENO_KV_ACCESS_TOKEN", KV_TOKEN);
    const database = await openDatabase(denokv.url, { clock: systemClock, exclusive: true });
    const over = new AbortController();
    const heard = new Array<number>(WATCHES).fill(0);
    const keyOf = (n: number): Deno.KvKey => ["bell", n];
    const watching = heard.map((_, n) => {
      return database.watch([keyOf(n)], over.signal, () => void (heard[n] = (heard[n] ?? 0) + 1));
    });
    const allHeard = (times: number) => heard.every((count) => count >= times);
    await eventually("every watch has begun", () => allHeard(1), 30_000);
    assert.equal(await database.get(["nothing"]), null);
    for (let n = 0; n < WATCHES; n++) await database.writer.set(keyOf(n), Uint8Array.of(1));
    await eventually("every watch has heard", () => allHeard(2), 30_000);
    // Those that end make room for others.
    over.abort();
    await Promise.all(watching);
    const again = new AbortController();
    let isHeard = false;
    const last = database.watch([keyOf(0)], again.signal, () => void (isHeard = true));
    await eventually("a watch that begins afterwards", () => isHeard);
    again.abort();
    await last;
    database.close();
  },
);
