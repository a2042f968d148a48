/**
 * Tests of the settings: defaults that are right, and messages that name every problem and no secret.
 * @module
 */
import assert from "node:assert/strict";
import { type Config, ConfigError, isLoopback, loadConfig } from "../lib/config.ts";
import { DEFAULTS } from "../lib/limits.ts";
import { flagOf, type Setting, SETTINGS } from "../lib/settings.ts";

const rows: readonly Setting<unknown>[] = Object.values(SETTINGS);

type Strings = Readonly<Record<string, string | undefined>>;

/** What is wrong with these settings. */
function problemsOf(env: Strings, flags: Strings = {}): readonly string[] {
  try {
    loadConfig(env, flags);
    return [];
  } catch (error) {
    assert.ok(error instanceof ConfigError);
    return error.problems;
  }
}

Deno.test("loadConfig() without an environment takes every default", () => {
  const config = loadConfig();
  assert.equal(config.host, "127.0.0.1");
  assert.equal(config.port, 8080);
  assert.equal(config.authMode, "local");
  assert.equal(config.onDeploy, false);
  assert.equal(config.authSecret, undefined);
  const values: Readonly<Record<string, unknown>> = config;
  const shared = Object.entries(DEFAULTS).filter(([name]) => name in SETTINGS);
  assert.ok(shared.length > 15);
  for (const [name, value] of shared) assert.equal(values[name], value, `${name} is the one of limits.ts`);
  assert.deepEqual(config.rateSends, { perSecond: 200, burst: 2_000 });
  assert.deepEqual(config.ratePreKeys, { perSecond: 0.1, burst: 20 });
});

/** Settings that may be any text. */
const FREE = [
  "HOST",
  "KV_PATH",
  "TLS_CERT_FILE",
  "TLS_KEY_FILE",
  "AUTH_CLIENT_ID",
  "AUTH_ISSUER",
  "AUTH_AUDIENCE",
  "AUTH_USER_CLAIM",
  "AUTH_DEVICE_CLAIM",
];

for (const [name, row] of Object.entries<Setting<unknown>>(SETTINGS)) {
  Deno.test(`${row.env} has a default that parses and a help text, and refuses what it does not allow`, () => {
    const config: Readonly<Record<string, unknown>> = loadConfig();
    if (row.initial === undefined) assert.equal(config[name], undefined);
    else assert.deepEqual(config[name], row.read(row.initial) ?? null);
    assert.ok(row.help.length > 0);
    if (FREE.includes(row.env)) return;
    const [problem = "", ...others] = problemsOf({ [row.env]: "?" });
    assert.deepEqual(others, []);
    assert.ok(problem.startsWith(`${row.env}: found `), problem);
    assert.ok(problem.endsWith(`allowed: ${row.allowed}`), problem);
  });
}

Deno.test("flagOf() names every setting once", () => {
  const flags = rows.map(flagOf);
  assert.equal(new Set(flags).size, flags.length);
  for (const flag of flags) assert.match(flag, /^[a-z0-9]+(-[a-z0-9]+)*$/);
});

Deno.test("loadConfig() takes a flag over the environment, and an empty variable for none", () => {
  assert.equal(loadConfig({ PORT: "1" }, { PORT: "2" }).port, 2);
  assert.equal(loadConfig({ PORT: "" }).port, 8080);
  assert.equal(loadConfig({ PORT: "1" }, { PORT: undefined }).port, 1);
  assert.match(problemsOf({}, { KV_PATH: "", PORT: "x" }).join(), /--port: found "x"/);
});

Deno.test("loadConfig() names every problem at once", () => {
  const problems = problemsOf({ PORT: "70000", RETENTION: "30", AUTH_MODE: "maybe" }, {
    "RATE_SENDS": "fast",
  });
  assert.equal(problems.length, 4);
  for (const name of ["PORT", "RETENTION", "AUTH_MODE", "--rate-sends"]) {
    assert.equal(problems.filter((problem) => problem.startsWith(`${name}:`)).length, 1, name);
  }
  const { message } = new ConfigError(problems);
  for (const problem of problems) assert.ok(message.includes(problem));
});

Deno.test("loadConfig() names what does not go together beside what is wrong by itself", () => {
  const problems = problemsOf({ PORT: "x", TLS_CERT_FILE: "cert.pem" });
  assert.deepEqual(problems.map((problem) => problem.split(/:| and /)[0]), ["PORT", "TLS_CERT_FILE"]);
});

/** What each text becomes; `null` if it is refused. */
const READINGS:
  readonly (readonly [env: string, name: keyof Config, readings: Readonly<Record<string, unknown>>])[] = [
    ["PORT", "port", {
      "0": 0,
      "65535": 65_535,
      "65536": null,
      "-1": null,
      "1.5": null,
      "1e3": null,
      " 80": null,
    }],
    ["RETENTION", "retentionMs", {
      "1s": 1_000,
      "1000ms": 1_000,
      "90m": 5_400_000,
      "12h": 43_200_000,
      "365d": 31_536_000_000,
      "366d": null,
      "999ms": null,
      "30": null,
      "1.5h": null,
      "1w": null,
      "1 h": null,
    }],
    ["MAILBOX_BYTES_MAX", "mailboxBytesMax", {
      "65536": 65_536,
      "65536B": 65_536,
      "64KiB": 65_536,
      "2MiB": 2_097_152,
      "16GiB": 17_179_869_184,
      "17GiB": null,
      "64KB": null,
      "64kib": null,
      "1": null,
      "0x10000": null,
    }],
    ["RATE_PAIR", "ratePair", {
      "off": null,
      "5/s:200": { perSecond: 5, burst: 200 },
      "0.1/s:20": { perSecond: 0.1, burst: 20 },
    }],
    ["PREKEY_ORDER", "preKeyOrder", { fifo: "fifo", lifo: "lifo", FIFO: null }],
  ];

for (const [env, name, readings] of READINGS) {
  for (const [text, expected] of Object.entries(readings)) {
    const isRefused = expected === null && text !== "off";
    Deno.test(`${env}=${text} is ${isRefused ? "refused" : JSON.stringify(expected)}`, () => {
      if (isRefused) assert.equal(problemsOf({ [env]: text }).length, 1);
      else assert.deepEqual(loadConfig({ [env]: text })[name], expected);
    });
  }
}

Deno.test("a rate that lets nothing through is refused", () => {
  for (const text of ["0/s:5", "0.0/s:5", "5/s:0", "5/s", "5/m:5", "-1/s:5", "Infinity/s:1", "5/s:5 "]) {
    assert.equal(problemsOf({ RATE_PAIR: text }).length, 1, text);
  }
});

Deno.test("loadConfig() never prints a secret", () => {
  const secret = "too-short-but-dear";
  for (const row of rows.filter(({ secret }) => secret)) {
    const value = secret.slice(0, 11);
    for (const problems of [problemsOf({ [row.env]: value }), problemsOf({}, { [row.env]: value })]) {
      assert.equal(problems.length, 1, row.env);
      assert.doesNotMatch(problems.join(), /too-short/);
      assert.match(problems.join(), /found 11 bytes/);
    }
  }
  assert.deepEqual(
    rows.filter(({ secret }) => secret).map(({ env }) => env),
    rows.map(({ env }) => env).filter((env) => /SECRET|TOKEN|_URL$/.test(env)),
    "whatever is called a secret or token is one, and a URL may hold one",
  );
});

const SECRET = "s".repeat(32);

/** Settings that do not go together, and those that do beside them. */
const TOGETHER: readonly (readonly [what: string, env: Strings, problem: RegExp | null])[] = [
  ["a certificate without its key", { TLS_CERT_FILE: "c.pem" }, /TLS_CERT_FILE and TLS_KEY_FILE/],
  ["a key without its certificate", { TLS_KEY_FILE: "k.pem" }, /TLS_CERT_FILE and TLS_KEY_FILE/],
  ["a certificate with its key", { TLS_CERT_FILE: "c.pem", TLS_KEY_FILE: "k.pem" }, null],
  ["an old secret without a new one", { AUTH_SECRET_PREVIOUS: SECRET }, /AUTH_SECRET_PREVIOUS/],
  ["an old secret with a new one", { AUTH_SECRET_PREVIOUS: SECRET, AUTH_SECRET: SECRET }, null],
  ["no tokens on loopback", { AUTH_MODE: "none" }, null],
  ["no tokens on all addresses", { AUTH_MODE: "none", HOST: "0.0.0.0" }, /AUTH_MODE: none.*HOST=0\.0\.0\.0/],
  [
    "no tokens on Deno Deploy",
    { AUTH_MODE: "none", DENO_DEPLOYMENT_ID: "x" },
    /AUTH_MODE: none on Deno Deploy/,
  ],
  ["no tokens where DENO_DEPLOY says so", { AUTH_MODE: "none", DENO_DEPLOY: "true" }, /none on Deno Deploy/],
  ["KV Connect without its token", { KV_PATH: "http://127.0.0.1:4512" }, /KV_PATH.*DENO_KV_ACCESS_TOKEN/],
  ["KV Connect with its token", { KV_PATH: "http://127.0.0.1:4512", DENO_KV_ACCESS_TOKEN: "t" }, null],
  ["KV Connect on Deno Deploy, where it is not used", { KV_PATH: "http://k", DENO_DEPLOY: "1" }, null],
  ["another engine on Deno Deploy", { WS_ENGINE: "ws", DENO_DEPLOYMENT_ID: "x" }, /WS_ENGINE: found "ws"/],
  ["another engine", { WS_ENGINE: "ws" }, null],
  ["no tokens, understood", { AUTH_MODE: "none", HOST: "0.0.0.0", AUTH_NONE_I_UNDERSTAND: "yes" }, null],
  ["a limit of low prekeys over the pool", { PREKEYS_LOW: "20", PREKEYS_MAX: "19" }, /PREKEYS_LOW: found 20/],
  ["a limit of low prekeys of all the pool", { PREKEYS_LOW: "19", PREKEYS_MAX: "19" }, null],
  ["frames that hold no Register", { FRAME_BYTES_MAX: "256KiB" }, /FRAME_BYTES_MAX: found 262144/],
  ["frames that hold no message", {
    FRAME_BYTES_MAX: "60KiB",
    REGISTER_BYTES_MAX: "1KiB",
  }, /FRAME_BYTES_MAX: found 61440/],
];

for (const [what, env, problem] of TOGETHER) {
  Deno.test(`loadConfig() ${problem === null ? "takes" : "refuses"} ${what}`, () => {
    const problems = problemsOf(env);
    assert.equal(problems.length, problem === null ? 0 : 1);
    if (problem !== null) assert.match(problems.join(), problem);
  });
}

Deno.test("isLoopback() knows this machine by all its names", () => {
  for (const host of ["localhost", "127.0.0.1", "127.1.2.3", "::1", "[::1]"]) {
    assert.equal(isLoopback(host), true, host);
  }
  for (const host of ["0.0.0.0", "::", "10.0.0.1", "127.evil.com", "1127.0.0.1", "localhost.evil.com", ""]) {
    assert.equal(isLoopback(host), false, host);
  }
});

Deno.test("TRUSTED_PROXIES takes addresses and blocks, and refuses all that would trust somebody by mistake", () => {
  assert.equal(loadConfig().trustedProxies, undefined);
  const { trustedProxies } = loadConfig({ TRUSTED_PROXIES: "127.0.0.1, ::1,10.0.0.0/8 , fd00::/8" });
  assert.deepEqual(trustedProxies?.map(({ bits }) => bits), [128, 128, 104, 8]);
  for (const wrong of ["0.0.0.0/0", "10.0.0.1/8", "proxy.lan", "10.0.0.0/8,", ",", "10.0.0.0/40", "*"]) {
    const [problem = "", ...others] = problemsOf({ TRUSTED_PROXIES: wrong });
    assert.deepEqual(others, []);
    assert.ok(
      problem.startsWith(`TRUSTED_PROXIES: found ${JSON.stringify(wrong)}, allowed: IP addresses`),
      problem,
    );
  }
});
