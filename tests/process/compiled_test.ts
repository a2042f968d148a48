/** The server as one program: what goes into it, and the program itself where Deno's base binary is at hand. */
import assert from "node:assert/strict";
import { BASE_VERSION, explainMissingBase, outputOf } from "../../scripts/base_binary.ts";
import { ProcessServer, runProgram, temporaryFolder } from "../support/process_server.ts";
import { converse } from "./member.ts";

const ROOT = new URL("../../", import.meta.url);
const { target } = Deno.build;

async function deno(...args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(Deno.execPath(), { args, cwd: ROOT }).output();
  assert.ok(success, new TextDecoder().decode(stderr));
}

/** Whether a compilation here needs no download. */
async function hasBase(): Promise<boolean> {
  if (Deno.env.has("DENORT_BIN")) return true;
  const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["info", "--json"] }).output();
  const { denoDir } = JSON.parse(new TextDecoder().decode(stdout));
  const zip = `${denoDir}/dl/release/v${BASE_VERSION}/denort-${target}.zip`;
  return await Deno.stat(zip).then(({ isFile }) => isFile, () => false);
}

Deno.test("compile tells a missing base binary from other failures, and what to do", () => {
  const stderr = "Caused by:\n    0: Setting up base binary.\n    1: error sending request for url " +
    "(https://dl.deno.land/release/v2.9.6/denort-aarch64-apple-darwin.zip): client error (Connect)";
  const told = explainMissingBase(stderr, "aarch64-apple-darwin") ?? "";
  assert.match(told, /Get https:\/\/dl\.deno\.land\/release\/v2\.9\.6\/denort-aarch64-apple-darwin\.zip on/);
  assert.match(told, /DENORT_BIN=\/path\/to\/denort deno task compile --target aarch64-apple-darwin/);
  assert.equal(explainMissingBase("error: Module not found", target), null);
});

Deno.test("the one file that a program is made of serves", async () => {
  await using folder = await temporaryFolder();
  const file = `${folder.path}/server.js`;
  await deno("bundle", "--quiet", `--output=${file}`, "main.ts");
  const args = ["run", "--quiet", "--no-config", "--unstable-kv", "--allow-all", file];
  await using server = await ProcessServer.start({}, [], { args });
  await converse(server.url);
  assert.equal((await server.stop()).code, 0);
});

const isPossible = await hasBase();

Deno.test({
  name: isPossible
    ? "the compiled program serves, and prints tokens"
    : "the compiled program serves [ignored: no base binary here; set DENORT_BIN, or run `deno task compile` once]",
  ignore: !isPossible,
  async fn() {
    await using folder = await temporaryFolder();
    const command = ["task", "--quiet", "compile", "--output", folder.path];
    await deno(...command);
    const program = { path: outputOf(folder.path, target), args: [] };
    await using server = await ProcessServer.start({}, [], program);
    await converse(server.url);
    const { stdout } = await runProgram(["token", "new"], { KV_PATH: server.path }, undefined, program);
    assert.match(stdout, /^ey\S+\n$/);
    assert.equal((await server.stop()).code, 0);
  },
});
