/** What Deno Deploy does to the server: its variables, its address, its Deno, its database and the lack of one. */
import assert from "node:assert/strict";
import { ProcessServer, type Program, runProgram, temporaryFolder } from "../support/process_server.ts";
import { DENO_2_5, testWith } from "../support/tools.ts";
import { converse } from "./member.ts";

/** A second less than Deno Deploy waits between SIGINT and SIGKILL. */
const STOP_MS = 4_000;

/** The variables and permissions of Deno Deploy, but for the port, which must be free here. */
const DEPLOY = { DENO_DEPLOY: "true", DENO_SERVE_ADDRESS: "tcp:127.0.0.1:0", KV_PATH: undefined };
const DEPLOY_ARGS = ["run", "--quiet", "--allow-all", "main.ts"];

/** An app that has no database assigned: Deno opens a file of its own. */
async function withoutDatabase(program: Program): Promise<void> {
  await using folder = await temporaryFolder();
  const settings = { ...DEPLOY, DENO_KV_DEFAULT_PATH: `${folder.path}/isolate.kv` };
  const { code, stderr } = await runProgram([], settings, undefined, program);
  assert.equal(code, 1, stderr);
  assert.match(stderr, /no database is assigned to this app.*Provision Database.*Assign/);
}

/** The same app, by somebody who knows. */
async function ephemeral(program: Program): Promise<void> {
  await using folder = await temporaryFolder();
  const settings = {
    ...DEPLOY,
    DENO_KV_DEFAULT_PATH: `${folder.path}/isolate.kv`,
    KV_EPHEMERAL_I_UNDERSTAND: "yes",
  };
  await using server = await ProcessServer.start(settings, [], program);
  assert.match(server.log, /"WARN.*file of this isolate/);
  await converse(server.url);
  const { code, elapsedMs } = await server.stop("SIGINT");
  assert.equal(code, 0);
  assert.ok(elapsedMs < STOP_MS, `${elapsedMs} ms`);
}

const here: Program = { args: DEPLOY_ARGS };

Deno.test("on Deno Deploy without a database the server does not start, and says why", () =>
  withoutDatabase(here));

Deno.test("on Deno Deploy without a database it starts if one says so, and warns", () => ephemeral(here));

testWith(DENO_2_5, "Deno 2.5", "under Deno 2.5, Deploy's, a missing database is noticed", (path) => {
  return withoutDatabase({ path, args: DEPLOY_ARGS });
});

testWith(
  DENO_2_5,
  "Deno 2.5",
  "under Deno 2.5 with Deploy's variables it serves, and stops on SIGINT in time",
  (path) => {
    return ephemeral({ path, args: DEPLOY_ARGS });
  },
);

testWith(
  DENO_2_5,
  "Deno 2.5",
  "under Deno 2.5 a database of this Deno is read and written, and the other way round",
  async (path) => {
    await using folder = await temporaryFolder();
    const settings = { KV_PATH: `${folder.path}/messaging.kv` };
    for (const program of [{}, { path }, {}]) {
      await using server = await ProcessServer.start(settings, [], program);
      await converse(server.url);
      assert.equal((await server.stop()).code, 0);
    }
  },
);
