/**
 * Tests of the tokens of an identity provider: which are taken, and which are not.
 * @module
 */
import assert from "node:assert/strict";
import { SignJWT } from "jose";
import { PROVIDER, TOKEN_BYTES_MAX } from "../../lib/limits.ts";
import { newSigningKey, signClaims } from "../support/identity_provider.ts";
import { GOOD, key, NOW, NOW_SECONDS, openProvider, refused, USER } from "./open_provider.ts";

type Claims = Readonly<Record<string, unknown>>;

Deno.test("authenticate() takes a token of the provider until the second in which it ends", async () => {
  const { provider, tokens, clock } = openProvider();
  await using _ = provider;
  const token = await signClaims(key, GOOD);
  const identity = { userId: USER, deviceId: null, expiresAt: NOW + 60_000 };
  assert.deepEqual(await tokens.authenticate(token), identity);
  assert.equal(tokens.isOpen, false);
  clock.advance(59_999);
  assert.deepEqual(await tokens.authenticate(token), identity);
  clock.advance(1);
  await assert.rejects(tokens.authenticate(token), refused(/expired/));
});

for (const alg of ["RS256", "PS384", "ES384", "EdDSA", "Ed25519"]) {
  Deno.test(`authenticate() takes ${alg}`, async () => {
    const signing = await newSigningKey("k", alg);
    const { provider, tokens } = openProvider({ keys: [key.jwk, signing.jwk] });
    await using _ = provider;
    assert.equal((await tokens.authenticate(await signClaims(signing, GOOD))).userId, USER);
  });
}

const GOOD_CLAIMS: readonly (readonly [what: string, claims: Claims, header?: Claims])[] = [
  ["a user ID in capitals", { sub: USER.toUpperCase() }],
  ["several audiences", { aud: ["other", "messages"] }],
  ["an nbf that is just ahead", { nbf: NOW_SECONDS + PROVIDER.clockSkewMs / 1_000 }],
  ["an end in 300 years", { exp: NOW_SECONDS + 300 * 365 * 86_400 }],
  ["the type JWT", {}, { typ: "JWT" }],
  ["the type of an access token", {}, { typ: "at+jwt" }],
  ["the same in full", {}, { typ: "application/at+JWT" }],
];

for (const [what, claims, header] of GOOD_CLAIMS) {
  Deno.test(`authenticate() takes a token with ${what}`, async () => {
    const { provider, tokens } = openProvider();
    await using _ = provider;
    const token = await signClaims(key, { ...GOOD, ...claims }, header);
    assert.equal((await tokens.authenticate(token)).userId, USER);
  });
}

const BAD_CLAIMS: readonly (readonly [what: string, claims: Claims, message: RegExp, header?: Claims])[] = [
  ["no exp", { exp: undefined }, /exp/],
  ["an exp that is text", { exp: `${NOW_SECONDS + 60}` }, /exp/],
  ["an exp that is over", { exp: NOW_SECONDS }, /expired/],
  ["an exp within the tolerance for clocks", { exp: NOW_SECONDS - 1 }, /expired/],
  ["an nbf to come", { nbf: NOW_SECONDS + PROVIDER.clockSkewMs / 1_000 + 1 }, /nbf|yet/],
  ["an nbf that is text", { nbf: "0" }, /nbf/],
  ["no issuer", { iss: undefined }, /iss/],
  ["another issuer", { iss: "https://accounts.example/" }, /iss/],
  ["several issuers", { iss: [GOOD.iss] }, /iss/],
  ["no audience", { aud: undefined }, /aud/],
  ["another audience", { aud: "messages2" }, /aud/],
  ["an audience that contains ours", { aud: "x messages" }, /aud/],
  ["no audience in a list", { aud: [] }, /aud/],
  ["no sub", { sub: undefined }, /sub/],
  ["a sub that is a number", { sub: 7 }, /sub/],
  ["a sub that is no UUID", { sub: "alice" }, /sub/],
  ["a sub of another version", { sub: USER.replace("-4b6e", "-1b6e") }, /sub/],
  ["a sub that is a list", { sub: [USER] }, /sub/],
  ["no kid", {}, /no key/, { kid: undefined }],
  ["an empty kid", {}, /no key/, { kid: "" }],
  ["another kid", {}, /not one of the identity provider/, { kid: "k2" }],
  ["the type of a logout token", {}, /another type/, { typ: "logout+jwt" }],
  ["the type of a DPoP proof", {}, /another type/, { typ: "dpop+jwt" }],
  ["an extension that must be understood", {}, /./, { crit: ["http://example/x"], "http://example/x": true }],
];

for (const [what, claims, message, header = {}] of BAD_CLAIMS) {
  Deno.test(`authenticate() of a provider's token refuses ${what}`, async () => {
    const { provider, tokens } = openProvider();
    await using _ = provider;
    await tokens.authenticate(await signClaims(key, GOOD));
    const isExtended = "crit" in header;
    const token = isExtended
      ? await new SignJWT({ ...GOOD }).setProtectedHeader({ alg: "ES256", kid: "k1", ...header })
        .sign(key.privateKey, { crit: { "http://example/x": true } })
      : await signClaims(key, { ...GOOD, ...claims }, header);
    await assert.rejects(tokens.authenticate(token), (error) => {
      assert.ok(error instanceof Error && error.name === "AuthenticationError", String(error));
      assert.match(error.message, message);
      assert.ok(!error.message.includes(token) && !error.message.includes(USER), "it repeats nothing");
      return true;
    });
  });
}

Deno.test("authenticate() of a provider's token refuses none, an empty one, and a huge one, and asks nobody", async () => {
  const { provider, tokens } = openProvider();
  await using _ = provider;
  await assert.rejects(tokens.authenticate(null), refused(/needed/));
  await assert.rejects(tokens.authenticate(""), refused(/needed/));
  const huge = await signClaims(key, { ...GOOD, x: "x".repeat(TOKEN_BYTES_MAX) });
  await assert.rejects(tokens.authenticate(huge), refused(/too long/));
  assert.equal(provider.asked.length, 0);
});

const DEVICES: readonly (readonly [device: unknown, deviceId: number | null])[] = [
  [0, 0],
  [4_294_967_295, 4_294_967_295],
  ["7", 7],
  [undefined, null],
  [null, null],
  ["", null],
  ["07", null],
  ["7 ", null],
  [-1, null],
  [1.5, null],
  [4_294_967_296, null],
  [[7], null],
  [true, null],
];

Deno.test("authenticate() reads user and device from the claims that are set, and needs both", async () => {
  const { provider, tokens } = openProvider({ user: "https://example/uid", device: "dev" });
  await using _ = provider;
  const claims = { ...GOOD, sub: "auth0|17", "https://example/uid": USER };
  for (const [dev, deviceId] of DEVICES) {
    const verified = tokens.authenticate(await signClaims(key, { ...claims, dev }));
    if (deviceId === null) await assert.rejects(verified, refused(/dev/), String(dev));
    else assert.deepEqual(await verified, { userId: USER, deviceId, expiresAt: NOW + 60_000 });
  }
  await assert.rejects(tokens.authenticate(await signClaims(key, { ...GOOD, dev: 1 })), refused(/example/));
});

Deno.test("authenticate() does not take a property of every object for a claim", async () => {
  const { provider, tokens } = openProvider({ user: "constructor" });
  await using _ = provider;
  await assert.rejects(tokens.authenticate(await signClaims(key, GOOD)), refused(/constructor/));
});

Deno.test("authenticate() goes on through a change of keys, and refuses what the old one signs after it", async () => {
  const { provider, tokens, clock } = openProvider();
  await using _ = provider;
  const later = { ...GOOD, exp: NOW_SECONDS + 86_400 };
  const before = await signClaims(key, later);
  await tokens.authenticate(before);
  const next = await newSigningKey("k2", "EdDSA");
  provider.says({ keys: [key.jwk, next.jwk] });
  clock.advance(PROVIDER.keySetCoolDownMs);
  await tokens.authenticate(await signClaims(next, later));
  await tokens.authenticate(before);
  provider.says({ keys: [next.jwk] });
  clock.advance(PROVIDER.keySetStaleMs);
  await assert.rejects(tokens.authenticate(before), refused(/key/));
  await tokens.authenticate(await signClaims(next, later));
});

Deno.test("authenticate() calls no token bad while the provider's keys can't be had", async () => {
  const { provider, tokens } = openProvider();
  await provider.leave();
  const token = await signClaims(key, GOOD);
  await assert.rejects(tokens.authenticate(token), { name: "AuthenticationUnavailable", isFlood: false });
  // No key is needed to see that an algorithm does not count.
  const hmac = new SignJWT({ ...GOOD }).setProtectedHeader({ alg: "HS256", kid: "k1" }).sign(
    new Uint8Array(32),
  );
  await assert.rejects(tokens.authenticate(await hmac), refused(/algorithm/));
});
