/**
 * `deno task compile`: the server as one program, for this machine or for others.
 *
 * The program is Deno's base binary, `denort`, with the server's code behind it. Deno downloads the base from
 * dl.deno.land once for each platform, and keeps it. Where that host can't be reached, `DENORT_BIN` names one by hand.
 * @module
 */
import { Command } from "commander";
import { BASE_VERSION, explainMissingBase, outputOf, TARGETS } from "./base_binary.ts";

/** What the program may do, embedded in it: the same as the task `start`. */
const PERMISSIONS = [
  "--allow-net",
  "--allow-read",
  "--allow-write",
  "--allow-env",
  "--allow-sys",
  "--no-prompt",
];

/** What the program is made of: one file, since Deno 2.9 overflows its stack on some npm packages (denoland/deno#36746). */
const FORM = ["--bundle", "--no-check", "--app-name=messaging-server"];

async function compile(target: string, folder: string): Promise<string | null> {
  const root = new URL("../", import.meta.url);
  const { success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "compile",
      "--quiet",
      ...FORM,
      ...PERMISSIONS,
      `--target=${target}`,
      `--output=${outputOf(folder, target)}`,
      "main.ts",
    ],
    cwd: root,
    env: { NO_COLOR: "1" },
    stdout: "inherit",
    stderr: "piped",
  }).output();
  if (success) return null;
  const text = new TextDecoder().decode(stderr);
  return explainMissingBase(text, target) ?? text;
}

async function run(options: { readonly target: string; readonly output: string }): Promise<number> {
  if (Deno.version.deno !== BASE_VERSION) {
    console.error(`compile: this is Deno ${Deno.version.deno}; programs are built with ${BASE_VERSION}`);
    return 1;
  }
  const targets = options.target === "all" ? TARGETS : [options.target];
  if (Deno.env.has("DENORT_BIN") && targets.length > 1) {
    console.error("compile: DENORT_BIN is for one platform: name it with --target");
    return 1;
  }
  const folder = await Deno.mkdir(options.output, { recursive: true }).then(() =>
    Deno.realPath(options.output)
  );
  let failures = 0;
  for (const target of targets) {
    const problem = await compile(target, folder);
    if (problem === null) console.log(outputOf(folder, target));
    else {
      failures++;
      console.error(`compile: ${problem}`);
    }
  }
  return failures === 0 ? 0 : 1;
}

if (import.meta.main) {
  await new Command("compile")
    .description("Build the server as one program.")
    .option("--target <platform>", `one of ${TARGETS.join(", ")}, or all`, Deno.build.target)
    .option("--output <folder>", "where the programs go", "dist")
    .action(async (options: { target: string; output: string }) => Deno.exit(await run(options)))
    .parseAsync(Deno.args, { from: "user" });
}
