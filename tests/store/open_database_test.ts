/**
 * Tests of opening a database: one server a file, and words that say what to do when it can't be opened.
 * @module
 */
import assert from "node:assert/strict";
import { type Database, openDatabase } from "../../lib/store/mod.ts";
import { schemaKey } from "../../lib/store/keys.ts";
import { decodeRecord, encodeRecord } from "../../lib/store/records.ts";
import { loadSecret } from "../../lib/store/secret.ts";
import { ShiftedClock } from "../support/manual_clock.ts";
import * as v from "valibot";

const clock = new ShiftedClock();

const open = (path: string, exclusive = true): Promise<Database> => openDatabase(path, { clock, exclusive });

/** Runs a test with a folder of its own. */
async function withFolder(test: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "messaging-test-" });
  try {
    await test(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** A DatabaseError whose message has all of these in it. */
function databaseError(...words: string[]): (error: unknown) => boolean {
  return (error) => {
    assert.ok(error instanceof Error && error.name === "DatabaseError", String(error));
    for (const word of words) assert.ok(error.message.includes(word), `"${word}" is in: ${error.message}`);
    return true;
  };
}

Deno.test("openDatabase() refuses a file that another server has, and takes it when that is gone", () =>
  withFolder(async (folder) => {
    const path = `${folder}/messaging.kv`;
    const first = await open(path);
    const inUse = databaseError(path, "in use", `process ${Deno.pid}`, "KV_PATH");
    await assert.rejects(open(path), inUse);
    await assert.rejects(open(path), inUse, "the lock survives the first refusal");
    first.close();
    const next = await open(path);
    next.close();
  }));

Deno.test("openDatabase() lets a tool read beside a server", () =>
  withFolder(async (folder) => {
    const server = await open(`${folder}/messaging.kv`);
    const tool = await open(`${folder}/messaging.kv`, false);
    assert.deepEqual(await loadSecret(tool), await loadSecret(server));
    tool.close();
    server.close();
  }));

Deno.test("openDatabase() makes the folder, and a file that only its owner may read", () =>
  withFolder(async (folder) => {
    const database = await open(`${folder}/a/b/messaging.kv`);
    const { mode } = await Deno.stat(`${folder}/a/b/messaging.kv`);
    database.close();
    assert.equal((mode ?? 0) & 0o777, 0o600);
    assert.equal(((await Deno.stat(`${folder}/a`)).mode ?? 0) & 0o077, 0);
  }));

Deno.test("openDatabase() reads with one handle and writes with another, on a file", () =>
  withFolder(async (folder) => {
    const database = await open(`${folder}/messaging.kv`);
    assert.notEqual(database.reader, database.writer);
    assert.equal(database.isShared, false);
    await database.writer.set(["a"], Uint8Array.of(1));
    assert.deepEqual((await database.get(["a"]))?.value, Uint8Array.of(1));
    database.close();
  }));

Deno.test("openDatabase() refuses a schema that a newer server wrote, and lets go of the file", () =>
  withFolder(async (folder) => {
    const path = `${folder}/messaging.kv`;
    const before = await open(path);
    await before.writer.set(schemaKey, encodeRecord({ version: 2 }));
    before.close();
    await assert.rejects(open(path), databaseError(path, "schema 2", "newer server", "KV_PATH"));
    using kv = await Deno.openKv(path);
    await kv.set(schemaKey, encodeRecord({ version: 1 }));
    const after = await open(path);
    after.close();
  }));

Deno.test("openDatabase() writes the schema into a new database", async () => {
  const database = await open(":memory:");
  const entry = await database.get(schemaKey);
  const { version } = decodeRecord(v.object({ version: v.number() }), schemaKey, entry?.value);
  assert.equal(version, 1);
  assert.equal(database.isShared, false);
  database.close();
});

Deno.test("openDatabase() says what to do about a file that is no database", () =>
  withFolder(async (folder) => {
    const path = `${folder}/notes.txt`;
    await Deno.writeTextFile(path, "these are notes and no database\n".repeat(100));
    await assert.rejects(open(path), databaseError(path, "can't be opened", "Deno KV database"));
    assert.match(await Deno.readTextFile(path), /^these are notes/, "the file is left as it was");
    await assert.rejects(open(`${path}/messaging.kv`), databaseError("can't be opened"));
  }));

Deno.test("openDatabase() repeats no password of a URL", async () => {
  await assert.rejects(open("http://user:secret@127.0.0.1:1/kv"), (error) => {
    assert.ok(databaseError("http://127.0.0.1:1/kv")(error));
    assert.ok(!String(error).includes("secret"), String(error));
    return true;
  });
});

Deno.test("loadSecret() gives all who load it at once the same secret", async () => {
  const database = await open(":memory:");
  const secrets = await Promise.all([1, 2, 3].map(() => loadSecret(database)));
  database.close();
  assert.equal(secrets[0]?.length, 32);
  for (const secret of secrets) assert.deepEqual(secret, secrets[0]);
});
