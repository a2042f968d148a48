/**
 * Tests of the settings of identity providers: what each way to authenticate needs, and what is refused at the start.
 * @module
 */
import assert from "node:assert/strict";
import { ConfigError, loadConfig } from "../lib/config.ts";

type Strings = Readonly<Record<string, string>>;

const JWKS: Strings = {
  AUTH_MODE: "jwks",
  AUTH_JWKS_URL: "https://accounts.example/keys",
  AUTH_ISSUER: "https://accounts.example",
  AUTH_AUDIENCE: "messages",
};

const INTROSPECTION: Strings = {
  AUTH_MODE: "introspection",
  AUTH_INTROSPECTION_URL: "https://accounts.example/introspect",
  AUTH_CLIENT_ID: "messaging",
  AUTH_CLIENT_SECRET: "at least 16 bytes",
};

function problemsOf(env: Strings): readonly string[] {
  try {
    loadConfig(env);
    return [];
  } catch (error) {
    assert.ok(error instanceof ConfigError);
    return error.problems;
  }
}

Deno.test("loadConfig() takes both ways to trust an identity provider, with what they need", () => {
  const jwks = loadConfig(JWKS);
  assert.equal(jwks.authJwksUrl?.href, "https://accounts.example/keys");
  assert.deepEqual([jwks.authUserClaim, jwks.authDeviceClaim], ["sub", undefined]);
  const introspection = loadConfig({ ...INTROSPECTION, AUTH_USER_CLAIM: "uid", AUTH_DEVICE_CLAIM: "dev" });
  assert.equal(introspection.authIntrospectionUrl?.href, "https://accounts.example/introspect");
  assert.deepEqual([introspection.authUserClaim, introspection.authDeviceClaim], ["uid", "dev"]);
});

for (const [mode, all] of [["jwks", JWKS], ["introspection", INTROSPECTION]] as const) {
  for (const name of Object.keys(all).filter((name) => name !== "AUTH_MODE")) {
    Deno.test(`loadConfig() names ${name} if AUTH_MODE=${mode} lacks it`, () => {
      assert.deepEqual(problemsOf({ ...all, [name]: "" }), [`${name}: AUTH_MODE=${mode} needs it`]);
    });
  }

  Deno.test(`loadConfig() names all that AUTH_MODE=${mode} lacks at once`, () => {
    assert.equal(problemsOf({ AUTH_MODE: mode }).length, 3);
  });
}

Deno.test("loadConfig() refuses the URL of a way to authenticate that is not the one in use", () => {
  const { AUTH_JWKS_URL = "" } = JWKS;
  assert.match(problemsOf({ AUTH_JWKS_URL }).join(), /^AUTH_JWKS_URL: is set, but AUTH_MODE=local/);
  assert.match(
    problemsOf({ ...INTROSPECTION, AUTH_JWKS_URL }).join(),
    /^AUTH_JWKS_URL: is set, but AUTH_MODE=introspection/,
  );
});

/** URLs, and what is wrong with each. */
const URLS: Readonly<Record<string, RegExp | null>> = {
  "https://accounts.example": null,
  "https://accounts.example:8443/a/b?c=d": null,
  "http://127.0.0.1:9000/keys": null,
  "http://localhost/keys": null,
  "http://[::1]/keys": null,
  "http://accounts.example/keys": /found an http URL beyond this machine/,
  "http://10.0.0.1/keys": /found an http URL beyond this machine/,
  "http://localhost.evil.example/keys": /found an http URL beyond this machine/,
  "https://user:password@accounts.example/": /found 39 bytes, allowed: an https or http URL, without/,
  "https://user@accounts.example/": /allowed: an https or http URL/,
  "ftp://accounts.example/keys": /allowed: an https or http URL/,
  "file:///etc/keys": /allowed: an https or http URL/,
  "data:application/json,{}": /allowed: an https or http URL/,
  "accounts.example/keys": /allowed: an https or http URL/,
  "https://": /allowed: an https or http URL/,
};

for (const [url, problem] of Object.entries(URLS)) {
  Deno.test(`loadConfig() ${problem === null ? "takes" : "refuses"} the URL ${url}`, () => {
    for (const [all, name] of [[JWKS, "AUTH_JWKS_URL"], [INTROSPECTION, "AUTH_INTROSPECTION_URL"]] as const) {
      const problems = problemsOf({ ...all, [name]: url });
      assert.equal(problems.length, problem === null ? 0 : 1, problems.join());
      if (problem === null) continue;
      assert.match(problems.join(), problem);
      assert.ok(problems.join().startsWith(`${name}: `) && !problems.join().includes("password@"));
    }
  });
}

Deno.test("loadConfig() takes http beyond this machine from whoever says so", () => {
  const url = "http://accounts.internal/keys";
  assert.deepEqual(problemsOf({ ...JWKS, AUTH_JWKS_URL: url, AUTH_HTTP_I_UNDERSTAND: "yes" }), []);
});
