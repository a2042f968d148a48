/**
 * Tests of the tokens that this server signs: what is in them, and what is taken for one.
 * @module
 */
import assert from "node:assert/strict";
import { decodeJwt, decodeProtectedHeader, SignJWT, UnsecuredJWT } from "jose";
import { LocalTokens } from "../../lib/identity/local_tokens.ts";
import { createAuthenticator, signingSecret, signToken } from "../../lib/identity/mod.ts";
import { TOKEN_BYTES_MAX } from "../../lib/limits.ts";
import { ManualClock } from "../support/manual_clock.ts";

const SECRET = new TextEncoder().encode("the secret of this server, long enough");
const OTHER = new TextEncoder().encode("the secret of some other server, as long");
const USER = "3f0c7e0a-91d4-4b6e-8a57-2d1c9e6f7b10";
const NOW = Date.UTC(2030, 0, 1);
const NOW_SECONDS = NOW / 1_000;

const tokensAt = (clock = new ManualClock(NOW), secrets = [SECRET]) => new LocalTokens(secrets, clock);

const refused = (reason: RegExp) => ({ name: "AuthenticationError", message: reason });

/** A token with these claims beside, or in place of, those of a good one. */
function forge(claims: Record<string, unknown>, secret = SECRET, alg = "HS256"): Promise<string> {
  const good = { sub: USER, aud: "messaging-server", iat: NOW_SECONDS, exp: NOW_SECONDS + 60 };
  return new SignJWT({ ...good, ...claims }).setProtectedHeader({ alg }).sign(secret);
}

Deno.test("signToken() says whom it is for, for how long, and nothing else", async () => {
  const token = await signToken(SECRET, { userId: USER, deviceId: 7, ttlMs: 60_000 }, NOW + 999);
  assert.deepEqual(decodeProtectedHeader(token), { alg: "HS256", typ: "JWT" });
  assert.deepEqual(decodeJwt(token), {
    sub: USER,
    device: 7,
    aud: "messaging-server",
    iat: NOW_SECONDS,
    exp: NOW_SECONDS + 60,
  });
});

Deno.test("authenticate() takes what signToken() made, for one device or for all", async () => {
  const one = await signToken(SECRET, { userId: USER, deviceId: 0, ttlMs: 60_000 }, NOW);
  const all = await signToken(SECRET, { userId: USER, ttlMs: 60_000 }, NOW);
  const expiresAt = NOW + 60_000;
  assert.deepEqual(await tokensAt().authenticate(one), { userId: USER, deviceId: 0, expiresAt });
  assert.deepEqual(await tokensAt().authenticate(all), { userId: USER, deviceId: null, expiresAt });
});

Deno.test("authenticate() takes a token until the second in which it ends", async () => {
  const clock = new ManualClock(NOW);
  const token = await signToken(SECRET, { userId: USER, ttlMs: 60_000 }, NOW);
  clock.advance(59_999);
  await tokensAt(clock).authenticate(token);
  clock.advance(1);
  await assert.rejects(tokensAt(clock).authenticate(token), refused(/expired/));
});

Deno.test("authenticate() takes tokens of the secret before, while it is set", async () => {
  const token = await signToken(OTHER, { userId: USER, ttlMs: 60_000 }, NOW);
  const clock = new ManualClock(NOW);
  assert.equal((await tokensAt(clock, [SECRET, OTHER]).authenticate(token)).userId, USER);
  await assert.rejects(tokensAt(clock, [SECRET]).authenticate(token), refused(/signature/));
});

Deno.test("authenticate() makes the user ID canonical", async () => {
  assert.equal((await tokensAt().authenticate(await forge({ sub: USER.toUpperCase() }))).userId, USER);
});

const CLAIMS: readonly (readonly [what: string, claims: Record<string, unknown>, reason: RegExp])[] = [
  ["no sub", { sub: undefined }, /sub/],
  ["a sub that is a number", { sub: 7 }, /sub|not one of this server/],
  ["a sub that is no UUID", { sub: "alice" }, /sub/],
  ["a sub of another version", { sub: USER.replace("-4b6e", "-1b6e") }, /sub/],
  ["no exp", { exp: undefined }, /exp/],
  ["an exp that is no number", { exp: "never" }, /exp|not one of this server/],
  ["an exp that is over", { exp: NOW_SECONDS }, /expired/],
  ["an nbf to come", { nbf: NOW_SECONDS + 1 }, /nbf/],
  ["no audience", { aud: undefined }, /aud/],
  ["another audience", { aud: "another-server" }, /aud/],
  ["a device that is text", { device: "1" }, /device/],
  ["a device below 0", { device: -1 }, /device/],
  ["a device above uint32", { device: 4_294_967_296 }, /device/],
  ["a device that is a fraction", { device: 1.5 }, /device/],
];

for (const [what, claims, reason] of CLAIMS) {
  Deno.test(`authenticate() refuses a token with ${what}`, async () => {
    const token = await forge(claims);
    await assert.rejects(tokensAt().authenticate(token), (error) => {
      assert.ok(error instanceof Error && error.name === "AuthenticationError", String(error));
      assert.match(error.message, reason);
      assert.ok(!error.message.includes(token) && !error.message.includes(USER), "it repeats nothing");
      return true;
    });
  });
}

Deno.test("authenticate() refuses what is signed otherwise, or not at all", async () => {
  const unsigned = new UnsecuredJWT({}).setSubject(USER).setAudience("messaging-server")
    .setExpirationTime(NOW_SECONDS + 60).encode();
  const good = await forge({});
  const [header, payload, signature = ""] = good.split(".");
  const bad = [
    await forge({}, OTHER),
    await forge({}, new Uint8Array(64).fill(7), "HS512"),
    unsigned,
    `${header}.${payload}.`,
    `${header}.${payload}.${signature.replace(/^./, (first) => first === "A" ? "B" : "A")}`,
    `${header}.${payload}`,
    "a.b.c",
    "not a token",
  ];
  for (const token of bad) await assert.rejects(tokensAt().authenticate(token), refused(/./), token);
  await tokensAt().authenticate(good);
});

Deno.test("authenticate() refuses no token, an empty one, and one that is too long", async () => {
  await assert.rejects(tokensAt().authenticate(null), refused(/needed/));
  await assert.rejects(tokensAt().authenticate(""), refused(/needed/));
  await assert.rejects(tokensAt().authenticate("a".repeat(TOKEN_BYTES_MAX + 1)), refused(/too long/));
});

Deno.test("createAuthenticator() uses the secret that is set, and else the one that is kept", async () => {
  const clock = new ManualClock(NOW);
  const token = await signToken(SECRET, { userId: USER, ttlMs: 60_000 }, NOW);
  const text = new TextDecoder().decode(SECRET);
  const other = new TextDecoder().decode(OTHER);
  const kept = () => Promise.resolve(SECRET);
  const notAsked = () => Promise.reject(new Error("the database is not asked"));
  const base = { authMode: "local", authSecret: undefined, authSecretPrevious: undefined } as const;
  const cases = [
    [base, kept],
    [{ ...base, authSecret: text }, notAsked],
    [{ ...base, authSecret: other, authSecretPrevious: text }, notAsked],
  ] as const;
  for (const [settings, kept] of cases) {
    const authenticator = await createAuthenticator(settings, clock, kept);
    assert.equal((await authenticator.authenticate(token)).userId, USER);
    assert.equal(authenticator.isOpen, false);
  }
  assert.deepEqual(await signingSecret({ ...base, authSecret: other }, notAsked), OTHER);
});

Deno.test("createAuthenticator() without authentication takes anyone for anyone", async () => {
  const settings = { authMode: "none", authSecret: undefined, authSecretPrevious: undefined } as const;
  const authenticator = await createAuthenticator(
    settings,
    new ManualClock(),
    () => assert.fail("not asked"),
  );
  assert.equal(authenticator.isOpen, true);
  assert.deepEqual(await authenticator.authenticate(null), { userId: null, deviceId: null, expiresAt: null });
});
