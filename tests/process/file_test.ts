/** The database file: who may have it, and what is said of a file that can't be used. */
import assert from "node:assert/strict";
import { encodeRecord } from "../../lib/store/records.ts";
import { ProcessServer, runProgram, type Settings, temporaryFolder } from "../support/process_server.ts";
import { converse } from "./member.ts";

/** Expects the program to end at once, with a message and no stack. */
async function assertRefused(settings: Settings, ...expected: readonly (string | RegExp)[]): Promise<void> {
  const { code, stdout, stderr } = await runProgram([], settings);
  assert.deepEqual([code, stdout], [1, ""], stderr);
  for (const part of expected) {
    assert.ok(
      typeof part === "string" ? stderr.includes(part) : part.test(stderr),
      `${part} is not in ${stderr}`,
    );
  }
  assert.doesNotMatch(stderr, /^\s+at /m, "a stack");
}

Deno.test("a second server on the same file ends with exit code 1, and names the file and the first one", async () => {
  await using server = await ProcessServer.start();
  await assertRefused({ KV_PATH: server.path }, server.path, `process ${server.pid}`);
  await converse(server.url);
});

Deno.test("a second server does not get the file by another name either", async () => {
  await using server = await ProcessServer.start();
  await using folder = await temporaryFolder();
  const byFile = `${folder.path}/link.kv`;
  await Deno.symlink(server.path, byFile);
  const byFolder = `${folder.path}/linked`;
  await Deno.symlink(server.directory, byFolder);
  await assertRefused({ KV_PATH: `${byFolder}/messaging.kv` }, `process ${server.pid}`);
  await assertRefused({ KV_PATH: byFile }, `process ${server.pid}`);
});

Deno.test("of servers that start at the same time on one file, one gets it", async () => {
  await using folder = await temporaryFolder();
  const KV_PATH = `${folder.path}/messaging.kv`;
  const starts = await Promise.allSettled(Array.from({ length: 4 }, () => ProcessServer.start({ KV_PATH })));
  const started = starts.flatMap((start) => start.status === "fulfilled" ? [start.value] : []);
  const reasons = starts.flatMap((start) => start.status === "rejected" ? [String(start.reason)] : []);
  try {
    assert.equal(started.length, 1);
    for (const reason of reasons) assert.match(reason, /in use by another server/);
    await converse(started[0]?.url ?? "");
  } finally {
    for (const server of started) await server[Symbol.asyncDispose]();
  }
});

Deno.test("after kill -9 the file is free at once, and has everything", async () => {
  await using server = await ProcessServer.start();
  for (let i = 0; i < 3; i++) {
    await converse(server.url);
    await server.kill();
    await server.start();
  }
  await assertRefused({ KV_PATH: server.path }, `process ${server.pid}`);
});

Deno.test("a file that is no database is left as it is, and named", async () => {
  await using folder = await temporaryFolder();
  const path = `${folder.path}/letter.txt`;
  const content = "Dear Alice,\n".repeat(1_000);
  await Deno.writeTextFile(path, content);
  await assertRefused({ KV_PATH: path }, path, "not a database");
  assert.equal(await Deno.readTextFile(path), content);
});

Deno.test("a path that is a folder, or can't be reached, is named", async () => {
  await using folder = await temporaryFolder();
  await assertRefused({ KV_PATH: folder.path }, folder.path);
  const file = `${folder.path}/file`;
  await Deno.writeTextFile(file, "");
  await assertRefused({ KV_PATH: `${file}/messaging.kv` }, `${file}/messaging.kv`);
  // Not even root may write here.
  await assertRefused({ KV_PATH: "/proc/messaging/messaging.kv" }, "/proc/messaging/messaging.kv");
  if (Deno.uid() !== 0) {
    await Deno.mkdir(`${folder.path}/closed`, { mode: 0o500 });
    await assertRefused(
      { KV_PATH: `${folder.path}/closed/messaging.kv` },
      `${folder.path}/closed/messaging.kv`,
    );
  }
});

Deno.test("a database of a newer server is refused with its schema, and left as it is", async () => {
  await using folder = await temporaryFolder();
  const path = `${folder.path}/messaging.kv`;
  const written = encodeRecord({ version: 2, more: "what this server knows nothing of" });
  {
    using kv = await Deno.openKv(path);
    await kv.set(["schema"], written);
  }
  await assertRefused({ KV_PATH: path }, path, /schema 2\b.*newer server/);
  const token = await runProgram(["token", "new"], { KV_PATH: path, AUTH_SECRET: undefined });
  assert.deepEqual([token.code, token.stdout], [1, ""]);
  using kv = await Deno.openKv(path);
  const entries = await Array.fromAsync(kv.list({ prefix: [] }), ({ key, value }) => ({ key, value }));
  assert.deepEqual(entries, [{ key: ["schema"], value: written }]);
});

Deno.test("a database whose schema can't be read is refused, and named", async () => {
  await using folder = await temporaryFolder();
  const path = `${folder.path}/messaging.kv`;
  {
    using kv = await Deno.openKv(path);
    await kv.set(["schema"], "one");
  }
  await assertRefused({ KV_PATH: path }, path, "schema");
});

Deno.test("only its owner may read a new database", async () => {
  await using server = await ProcessServer.start();
  const modes = [...Deno.readDirSync(server.directory)].filter(({ name }) => !name.endsWith(".lock"))
    .map(({ name }) => (Deno.statSync(`${server.directory}/${name}`).mode ?? 0) & 0o777);
  assert.ok(modes.length > 0);
  for (const mode of modes) assert.equal(mode & 0o077, 0, mode.toString(8));
});
