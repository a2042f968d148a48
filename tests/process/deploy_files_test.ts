/** The files in `scripts/deploy`, as far as they can be checked without a container engine. */
import assert from "node:assert/strict";
import { BASE_VERSION } from "../../scripts/base_binary.ts";
import { temporaryFolder } from "../support/process_server.ts";

const read = (path: string) => Deno.readTextFile(new URL(`../../${path}`, import.meta.url));

Deno.test("the Dockerfile takes the tested Deno, and gives the permissions of the task start", async () => {
  const file = await read("scripts/deploy/Dockerfile");
  const bases = [...file.matchAll(/^FROM (\S+)/gm)].map(([, image]) => image);
  assert.deepEqual(bases, bases.map(() => `denoland/deno:${BASE_VERSION}`));
  const flags = (text: string) => text.match(/--allow-[a-z]+/g)?.toSorted();
  assert.deepEqual(
    flags(file.slice(file.indexOf("ENTRYPOINT"))),
    flags(JSON.parse(await read("deno.json")).tasks.start.command),
  );
});

Deno.test("deno.json tells Deno Deploy what to start", async () => {
  const { deploy, unstable } = JSON.parse(await read("deno.json"));
  assert.deepEqual(deploy.runtime, { type: "dynamic", entrypoint: "main.ts" });
  assert.deepEqual(unstable, ["kv", "no-legacy-abort"]);
});

const hasAnalyze = await new Deno.Command("systemd-analyze", { args: ["--version"], stdout: "null" }).output()
  .then(({ success }) => success, () => false);

Deno.test({
  name: `systemd takes the unit as it is${hasAnalyze ? "" : " [ignored: no systemd-analyze here]"}`,
  ignore: !hasAnalyze,
  async fn() {
    await using folder = await temporaryFolder();
    const unit = `${folder.path}/messaging-server.service`;
    const text = await read("scripts/deploy/messaging-server.service");
    // The program need not be installed for this.
    await Deno.writeTextFile(unit, text.replace(/^ExecStart=.*/m, "ExecStart=/bin/true"));
    const { success, stderr } = await new Deno.Command("systemd-analyze", { args: ["verify", unit] })
      .output();
    assert.deepEqual([success, new TextDecoder().decode(stderr)], [true, ""]);
  },
});
