/**
 * `deno bench scripts/bench/micro`: group commit on a file, with its fsync.
 * @module
 */
import { openTemporaryStore } from "./temporary_store.ts";

const { writer } = await openTemporaryStore();
const userId = crypto.randomUUID();
const change = crypto.getRandomValues(new Uint8Array(354));

/** Queues so many writes in one turn, and waits until all are durable. */
function writeAll(count: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let open = count;
  for (let n = 0; n < count; n++) {
    writer.write(userId, {
      mutations: [{ key: ["bench", n], change }],
      settle: (error) => {
        if (error !== null) reject(error);
        else if (--open === 0) resolve();
      },
    });
  }
  return promise;
}

for (const count of [1, 10, 100, 500]) {
  Deno.bench(`write() ${count} at once, until durable`, { group: "writer" }, async () => {
    await writeAll(count);
  });
}

Deno.bench("commit() one with a check, until durable", { group: "writer" }, async () => {
  await writer.commit(userId, (atomic) => {
    return atomic.check({ key: ["bench", "none"], versionstamp: null }).set(["bench", "checked"], change);
  });
});
