/** Two servers on one database, as two processes share one over KV Connect. */
import type { Clock } from "../../lib/clock.ts";
import { startServer, type TestServer } from "./server.ts";

/** A database in memory that no server closes; closed with its scope. */
export async function sharedKv(): Promise<{ readonly kv: Deno.Kv } & Disposable> {
  const kv = await Deno.openKv(":memory:");
  const close = kv.close.bind(kv);
  kv.close = () => {};
  return { kv, [Symbol.dispose]: close };
}

/** Runs work with two servers that share a database. */
export async function withTwoServers(
  work: (a: TestServer, b: TestServer, kv: Deno.Kv) => Promise<void>,
  options: { readonly settings?: Readonly<Record<string, string>>; readonly clock?: Clock } = {},
): Promise<void> {
  using shared = await sharedKv();
  const { settings = {}, clock } = options;
  const start = () => startServer(settings, { kv: shared.kv, ...(clock && { clock }) });
  await using a = await start();
  await using b = await start();
  await work(a, b, shared.kv);
}
