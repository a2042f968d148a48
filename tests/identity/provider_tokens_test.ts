/**
 * Tests of the tokens of an identity provider: which are taken, and that nothing else ever is.
 * @module
 */
import assert from "node:assert/strict";
import { CompactSign, exportJWK, exportSPKI, generateKeyPair, importJWK, SignJWT, UnsecuredJWT } from "jose";
import { KeySet } from "../../lib/identity/key_set.ts";
import { ProviderTokens } from "../../lib/identity/provider_tokens.ts";
import { PROVIDER, TOKEN_BYTES_MAX } from "../../lib/limits.ts";
import { IdentityProvider, newSigningKey, signClaims } from "../support/identity_provider.ts";
import { ManualClock } from "../support/manual_clock.ts";

const USER = "3f0c7e0a-91d4-4b6e-8a57-2d1c9e6f7b10";
const NOW = Date.UTC(2030, 0, 1);
const NOW_SECONDS = NOW / 1_000;
const GOOD = {
  iss: "https://accounts.example",
  aud: "messages",
  sub: USER,
  iat: NOW_SECONDS,
  exp: NOW_SECONDS + 60,
};

const key = await newSigningKey("k1");
const other = await newSigningKey("k1");
const sharedSecret = {
  kty: "oct",
  kid: "k1",
  alg: "HS256",
  k: "c2VjcmV0LXRoYXQtaXMtcHVibGlzaGVkLWJ5LW1pc3Rha2U",
};

type Claims = Readonly<Record<string, unknown>>;

interface Setup {
  readonly keys?: readonly unknown[];
  readonly user?: string;
  readonly device?: string;
}

/** An authenticator at a provider with these keys, and the provider. */
function open({ keys = [key.jwk], user = "sub", device }: Setup = {}) {
  const provider = IdentityProvider.start(() => Response.json({ keys }));
  const clock = new ManualClock(NOW);
  const set = new KeySet(new URL(provider.url()), clock);
  const expected = { issuer: GOOD.iss, audience: GOOD.aud };
  return {
    provider,
    clock,
    tokens: new ProviderTokens(set, expected, { user, device: device ?? null }, clock),
  };
}

const refused = (message: RegExp) => ({ name: "AuthenticationError", message });

Deno.test("authenticate() takes a token of the provider until the second in which it ends", async () => {
  const { provider, tokens, clock } = open();
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
    const { provider, tokens } = open({ keys: [key.jwk, signing.jwk] });
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
    const { provider, tokens } = open();
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
    const { provider, tokens } = open();
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

Deno.test("authenticate() refuses every way to have a token count that the provider did not sign", async () => {
  const { provider, tokens } = open({ keys: [key.jwk, sharedSecret] });
  await using _ = provider;
  const bytes = (text: string) => new TextEncoder().encode(text);
  const publicKey = await importJWK(key.jwk, "ES256", { extractable: true });
  assert.ok(publicKey instanceof CryptoKey);
  const hmac = (secret: Uint8Array, alg = "HS256") =>
    new SignJWT({ ...GOOD }).setProtectedHeader({ alg, kid: "k1" }).sign(secret);
  const good = await signClaims(key, GOOD);
  const [header, payload, signature = ""] = good.split(".");
  const encode = (value: unknown) => btoa(JSON.stringify(value)).replaceAll("=", "");
  const ownKey = await exportJWK((await generateKeyPair("ES256", { extractable: true })).publicKey);
  const forged: Readonly<Record<string, string>> = {
    "another key under the same kid": await signClaims(other, GOOD),
    "the public key as a secret, as PEM": await hmac(bytes(await exportSPKI(publicKey))),
    "the public key as a secret, as JSON": await hmac(bytes(JSON.stringify(key.jwk))),
    "the same with SHA-512": await hmac(bytes(JSON.stringify(key.jwk)), "HS512"),
    "a secret that the key set contains": await hmac(
      Uint8Array.from(atob(`${sharedSecret.k}=`), (letter) => letter.charCodeAt(0)),
    ),
    "no signature": new UnsecuredJWT({ ...GOOD }).encode(),
    "no signature, with a kid": `${encode({ alg: "none", kid: "k1" })}.${payload}.`,
    "none in other letters": `${encode({ alg: "NonE", kid: "k1" })}.${payload}.`,
    "a key of its own in the header": await signClaims(other, GOOD, { jwk: ownKey }),
    "a key elsewhere": await signClaims(other, GOOD, {
      jku: provider.url("/jku"),
      x5u: provider.url("/x5u"),
    }),
    "a signature that was cut off": `${header}.${payload}.`,
    "a signature that was changed": `${header}.${payload}.${
      signature.replace(/^./, (letter) => letter === "A" ? "B" : "A")
    }`,
    "zeros as signature": `${header}.${payload}.${"A".repeat(86)}`,
    "other claims under the signature": `${header}.${
      encode({ ...GOOD, sub: crypto.randomUUID() })
    }.${signature}`,
    "an algorithm of another curve": `${encode({ alg: "ES384", kid: "k1" })}.${payload}.${signature}`,
    "no algorithm": `${encode({ kid: "k1" })}.${payload}.${signature}`,
    "a header that is no object": `${encode("x")}.${payload}.${signature}`,
    "claims that are no object": await new CompactSign(bytes("[1]"))
      .setProtectedHeader({ alg: "ES256", kid: "k1" }).sign(key.privateKey),
    "five parts, as if encrypted": `${good}.x.y`,
    "two parts": `${header}.${payload}`,
    "nothing of a token": "x",
  };
  for (const [what, token] of Object.entries(forged)) {
    await assert.rejects(tokens.authenticate(token), refused(/./), what);
  }
  assert.equal((await tokens.authenticate(good)).userId, USER);
  assert.deepEqual([...new Set(provider.asked.map(({ path }) => path))], ["/"], "no URL of a token is asked");
});

Deno.test("authenticate() of a provider's token refuses none, an empty one, and a huge one, and asks nobody", async () => {
  const { provider, tokens } = open();
  await using _ = provider;
  await assert.rejects(tokens.authenticate(null), refused(/needed/));
  await assert.rejects(tokens.authenticate(""), refused(/needed/));
  const huge = await signClaims(key, { ...GOOD, x: "x".repeat(TOKEN_BYTES_MAX) });
  await assert.rejects(tokens.authenticate(huge), refused(/too long/));
  assert.equal(provider.asked.length, 0);
});

Deno.test("authenticate() refuses what no provider should publish: a weak key, and a private one", async () => {
  const { privateKey, publicKey } = await crypto.subtle.generateKey(
    {
      name: "RSASSA-PKCS1-v1_5",
      modulusLength: 1_024,
      publicExponent: new Uint8Array([1, 0, 1]),
      hash: "SHA-256",
    },
    true,
    ["sign", "verify"],
  );
  const weak = { ...await exportJWK(publicKey), kid: "weak", alg: "RS256" };
  const unsafe = await generateKeyPair("ES256", { extractable: true });
  const published = { ...await exportJWK(unsafe.privateKey), kid: "private", alg: "ES256" };
  const { provider, tokens } = open({ keys: [key.jwk, weak, published] });
  await using _ = provider;
  const head = `${btoa('{"alg":"RS256","kid":"weak"}').replaceAll("=", "")}.${
    btoa(JSON.stringify(GOOD)).replaceAll("=", "")
  }`;
  const signed = await crypto.subtle.sign("RSASSA-PKCS1-v1_5", privateKey, new TextEncoder().encode(head));
  const signature = btoa(String.fromCharCode(...new Uint8Array(signed)))
    .replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  await assert.rejects(tokens.authenticate(`${head}.${signature}`), refused(/./));
  const stolen = { privateKey: unsafe.privateKey, jwk: published, alg: "ES256" };
  await assert.rejects(tokens.authenticate(await signClaims(stolen, GOOD)), refused(/./));
  assert.equal((await tokens.authenticate(await signClaims(key, GOOD))).userId, USER);
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
  const { provider, tokens } = open({ user: "https://example/uid", device: "dev" });
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
  const { provider, tokens } = open({ user: "constructor" });
  await using _ = provider;
  await assert.rejects(tokens.authenticate(await signClaims(key, GOOD)), refused(/constructor/));
});

Deno.test("authenticate() goes on through a change of keys, and refuses what the old one signs after it", async () => {
  const { provider, tokens, clock } = open();
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
  const { provider, tokens } = open();
  await provider.leave();
  const token = await signClaims(key, GOOD);
  await assert.rejects(tokens.authenticate(token), { name: "AuthenticationUnavailable", isFlood: false });
  // No key is needed to see that an algorithm does not count.
  const hmac = new SignJWT({ ...GOOD }).setProtectedHeader({ alg: "HS256", kid: "k1" }).sign(
    new Uint8Array(32),
  );
  await assert.rejects(tokens.authenticate(await hmac), refused(/algorithm/));
});
