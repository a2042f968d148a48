/** What the program says of its settings: help, errors, and which of two values counts. */
import assert from "node:assert/strict";
import { flagOf, type Setting, SETTINGS } from "../../lib/settings.ts";
import { ProcessServer, runProgram, temporaryFolder } from "../support/process_server.ts";
import { converse } from "./member.ts";

Deno.test("wrong settings are told all at once, each with its name, what was found and what is allowed", async () => {
  const { code, stdout, stderr } = await runProgram(["--idle-ping", "30"], {
    PORT: "65536",
    LOG_LEVEL: "loud",
    AUTH_SECRET: "short-and-secret",
    MESSAGE_BYTES_MAX: "1GiB",
    RATE_SENDS: "0/s:10",
    KNOWN_DEVICES_MAX: "many",
  });
  assert.equal(code, 1);
  assert.equal(stdout, "");
  for (
    const problem of [
      /^ *--idle-ping: found "30", allowed: a duration from .+$/m,
      /^ *PORT: found "65536", allowed: a whole number from 0 to 65535$/m,
      /^ *LOG_LEVEL: found "loud", allowed: debug, info, warning, error$/m,
      /^ *AUTH_SECRET: found 16 bytes, allowed: at least 32 bytes$/m,
      /^ *MESSAGE_BYTES_MAX: found "1GiB", allowed: a size from .+$/m,
      /^ *RATE_SENDS: found "0\/s:10", allowed: .+$/m,
      /^ *KNOWN_DEVICES_MAX: found "many", allowed: .+$/m,
    ]
  ) assert.match(stderr, problem);
  assert.equal(stderr.match(/, allowed: /g)?.length, 7, stderr);
  assert.doesNotMatch(stderr, /short-and-secret|^\s+at /m, "neither a secret nor a stack");
});

Deno.test("settings that don't go together are told, with exit code 1", async () => {
  const half = await runProgram([], {
    TLS_CERT_FILE: "/nowhere/cert.pem",
    PREKEYS_LOW: "400",
    PREKEYS_MAX: "300",
  });
  assert.equal(half.code, 1);
  assert.match(half.stderr, /TLS_CERT_FILE and TLS_KEY_FILE/);
  assert.match(half.stderr, /PREKEYS_LOW: found 400, allowed: at most PREKEYS_MAX \(300\)/);
});

Deno.test("a flag that nobody knows, or a word too many, is an error with exit code 1", async () => {
  await using folder = await temporaryFolder();
  const KV_PATH = `${folder.path}/messaging.kv`;
  for (const args of [["--prot", "8080"], ["serve"], ["--port"]]) {
    const { code, stdout, stderr } = await runProgram(args, { KV_PATH });
    assert.deepEqual([code, stdout], [1, ""], args.join(" "));
    assert.match(stderr, /^error: .*(--prot|serve|argument|--port)/m);
  }
});

Deno.test("--help lists every setting with its flag, its variable and its default", async () => {
  const { code, stdout, stderr } = await runProgram(["--help"]);
  assert.deepEqual([code, stderr], [0, ""]);
  const help = stdout.replaceAll(/\s+/g, " ");
  const rows = Object.values<Setting<unknown>>(SETTINGS);
  assert.ok(rows.length > 30);
  for (const row of rows) {
    const initial = row.initial === undefined ? "" : `, default ${row.initial}`;
    const line = `--${flagOf(row)} <value> ${row.help} [${row.env}${initial}]`;
    assert.ok(help.includes(line), `not in the help: ${line}`);
  }
  assert.match(help, /token \[options\] <user>/);
  assert.match((await runProgram(["--version"])).stdout, /^\d+\.\d+\.\d+\S*\n$/);
});

Deno.test("a flag wins over its variable, and an empty variable is none", async () => {
  await using folder = await temporaryFolder();
  const KV_PATH = `${folder.path}/flag.kv`;
  await using server = await ProcessServer.start(
    { KV_PATH: `${folder.path}/variable.kv`, LOG_LEVEL: "info", FRAME_BYTES_MAX: "" },
    ["--kv-path", KV_PATH, "--log-format=pretty"],
  );
  await converse(server.url);
  assert.match(server.log, /flag\.kv/);
  assert.throws(() => JSON.parse(server.log.split("\n")[0] ?? ""), "pretty is not JSON");
  const files = [...Deno.readDirSync(folder.path)].map(({ name }) => name);
  assert.ok(files.includes("flag.kv") && !files.some((name) => name.startsWith("variable")), files.join());
});

Deno.test("AUTH_MODE=none is refused on all addresses unless one says so, and warned of", async () => {
  const refused = await runProgram([], { AUTH_MODE: "none", HOST: "0.0.0.0" });
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /AUTH_MODE: none with HOST=0\.0\.0\.0 .*AUTH_NONE_I_UNDERSTAND=yes/);
  for (const more of [{ HOST: "0.0.0.0", AUTH_NONE_I_UNDERSTAND: "yes" }, { HOST: "127.0.0.1" }]) {
    await using server = await ProcessServer.start({ AUTH_MODE: "none", ...more });
    await converse(server.url.replace("0.0.0.0", "127.0.0.1"));
    const warnings = server.log.split("\n").filter((line) => line.includes('"level":"WARN'));
    assert.equal(warnings.length, 1);
    assert.match(warnings[0] ?? "", /AUTH_MODE=none/);
  }
});

Deno.test("AUTH_MODE=local does not warn", async () => {
  await using server = await ProcessServer.start();
  assert.doesNotMatch(server.log, /WARN/);
});

Deno.test("an address that can't be had is told without a stack, with the setting to change", async () => {
  await using server = await ProcessServer.start();
  await using folder = await temporaryFolder();
  const KV_PATH = `${folder.path}/messaging.kv`;
  const { port } = new URL(server.httpUrl);
  for (
    const [settings, expected] of [
      [{ PORT: port }, /PORT/],
      [{ HOST: "192.0.2.1" }, /HOST/], // an address for documentation: nobody has it
      [{ HOST: "no-such-host.invalid" }, /HOST/],
    ] as const
  ) {
    const { code, stderr } = await runProgram([], { KV_PATH, ...settings });
    assert.equal(code, 1);
    assert.match(stderr, expected);
    assert.doesNotMatch(stderr, /^\s+at /m, "a stack");
  }
});
