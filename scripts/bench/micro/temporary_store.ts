/**
 * A store on a database file of its own, removed when the process ends.
 * @module
 */
import { systemClock } from "../../../lib/clock.ts";
import { Metrics } from "../../../lib/metrics.ts";
import { createStore, openDatabase, type Store } from "../../../lib/store/mod.ts";

/** Opens a store on a fresh file: as a server does, with fsync. */
export async function openTemporaryStore(): Promise<Store> {
  const folder = await Deno.makeTempDir({ prefix: "messaging-bench-" });
  const database = await openDatabase(`${folder}/messaging.kv`, { clock: systemClock, exclusive: true });
  globalThis.addEventListener("unload", () => {
    database.close();
    Deno.removeSync(folder, { recursive: true });
  });
  return await createStore(database, new Metrics());
}
