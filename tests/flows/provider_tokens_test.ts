/** AUTH_MODE=jwks: the tokens of an identity provider open connections, until they end; nothing else does. */
import assert from "node:assert/strict";
import { SignJWT, UnsecuredJWT } from "jose";
import { PROVIDER } from "../../lib/limits.ts";
import { AdvancingClock } from "../support/advancing_clock.ts";
import { Bearer, PLACES, present } from "../support/bearer.ts";
import { numbered, numberOf } from "../support/device.ts";
import { eventually } from "../support/eventually.ts";
import { IdentityProvider, newSigningKey, signClaims } from "../support/identity_provider.ts";
import { newAddress } from "../support/raw_messages.ts";
import { startServer, type TestServer } from "../support/server.ts";

const key = await newSigningKey("k1");
const other = await newSigningKey("k1");

type Claims = Readonly<Record<string, unknown>>;

const inSeconds = (seconds: number) => Math.floor(Date.now() / 1_000) + seconds;

const claims = (userId: string, changes: Claims = {}): Claims => ({
  iss: "https://accounts.example",
  aud: "messages",
  sub: userId,
  exp: inSeconds(600),
  ...changes,
});

const startProvider = () => IdentityProvider.start(() => Response.json({ keys: [key.jwk] }));

function startJwks(
  provider: IdentityProvider,
  clock?: AdvancingClock,
  settings: Readonly<Record<string, string>> = {},
): Promise<TestServer> {
  return startServer({
    AUTH_MODE: "jwks",
    AUTH_JWKS_URL: provider.url("/keys"),
    AUTH_ISSUER: "https://accounts.example",
    AUTH_AUDIENCE: "messages",
    ...settings,
  }, clock === undefined ? {} : { clock });
}

Deno.test("two users with tokens of the provider write to each other", async () => {
  await using provider = startProvider();
  await using server = await startJwks(provider);
  const [a, b] = [newAddress(), newAddress()];
  await using alice = await Bearer.join(server, a, await signClaims(key, claims(a.userId)));
  await using bob = await Bearer.join(server, b, await signClaims(key, claims(b.userId)));
  await alice.connection.send(b, numbered(1));
  await bob.connection.send(a, numbered(2));
  await eventually("both have one", () => alice.inbox.length === 1 && bob.inbox.length === 1);
  assert.deepEqual([alice.inbox, bob.inbox].map(([first]) => numberOf(first?.ciphertext ?? numbered(0))), [
    2,
    1,
  ]);
  assert.equal(provider.asked.length, 1, "the keys are fetched once, at the start");
});

Deno.test("a token is refused in either place: 401 if it is bad, 403 if it is for somebody else", async () => {
  await using provider = startProvider();
  await using server = await startJwks(provider, undefined, { AUTH_DEVICE_CLAIM: "dev" });
  const address = newAddress();
  const good = claims(address.userId, { dev: 1 });
  const sign = (changes: Claims) => signClaims(key, { ...good, ...changes });
  const publicKey = new TextEncoder().encode(JSON.stringify(key.jwk));
  const tokens: readonly (readonly [what: string, status: number, token: string])[] = [
    ["a good one", 101, await sign({})],
    ["another user's", 403, await sign({ sub: crypto.randomUUID() })],
    ["another device's", 403, await sign({ dev: 2 })],
    ["none for a device", 401, await sign({ dev: undefined })],
    ["of another key", 401, await signClaims(other, good)],
    [
      "the public key as a secret",
      401,
      await new SignJWT({ ...good }).setProtectedHeader({
        alg: "HS256",
        kid: "k1",
      }).sign(publicKey),
    ],
    ["unsigned", 401, new UnsecuredJWT({ ...good }).encode()],
    ["for another audience", 401, await sign({ aud: "mail" })],
    ["of another issuer", 401, await sign({ iss: "https://evil.example" })],
    ["expired", 401, await sign({ exp: inSeconds(-1) })],
    ["without an end", 401, await sign({ exp: undefined })],
    ["not good yet", 401, await sign({ nbf: inSeconds(60) })],
    ["of a number", 401, await sign({ sub: 7 })],
    ["without a kid", 401, await signClaims(key, good, { kid: undefined })],
    ["of an unknown kid", 401, await signClaims(key, good, { kid: "k9" })],
    ["huge", 401, await sign({ x: "x".repeat(8_000) })],
    ["of this server", 401, await server.token(address.userId)],
    ["no token", 401, "x"],
  ];
  for (const [what, status, token] of tokens) {
    for (const place of PLACES) {
      const answer = await present(server, address, token, place);
      assert.equal(answer.status, status, `${what}, in the ${place}`);
      assert.ok(!answer.body.includes(token) || token === "x", what);
    }
  }
  await eventually("all are gone", () => server.server.connectionCount === 0);
});

Deno.test("a connection ends with 4401 when the provider's token expires", async () => {
  const clock = new AdvancingClock(30);
  await using provider = startProvider();
  await using server = await startJwks(provider, clock);
  const [a, b] = [newAddress(), newAddress()];
  await using alice = await Bearer.join(server, a, await signClaims(key, claims(a.userId)));
  await using bob = await Bearer.join(
    server,
    b,
    await signClaims(key, claims(b.userId, { exp: inSeconds(9_999) })),
  );
  clock.advance(601_000);
  await eventually("the end", () => alice.closeCode !== null);
  assert.equal(alice.closeCode, 4401);
  await bob.connection.send(b, numbered(1));
  assert.equal(bob.closeCode, null);
});

Deno.test("the provider changes its keys, and nobody is shut out", async () => {
  const clock = new AdvancingClock();
  await using provider = startProvider();
  await using server = await startJwks(provider, clock);
  const address = newAddress();
  const next = await newSigningKey("k2");
  provider.says({ keys: [next.jwk, key.jwk] });
  clock.advance(PROVIDER.keySetCoolDownMs);
  const status = async (signing: typeof key) =>
    (await present(server, address, await signClaims(signing, claims(address.userId)))).status;
  assert.equal(await status(next), 101);
  assert.equal(await status(key), 101);
});

Deno.test("while the provider is gone, a new server answers 503 with Retry-After, and one with keys goes on", async () => {
  const clock = new AdvancingClock();
  await using provider = startProvider();
  await using before = await startJwks(provider, clock);
  await provider.leave();
  await using after = await startJwks(provider, clock);
  const address = newAddress();
  const token = await signClaims(key, claims(address.userId));
  assert.equal((await present(before, address, token)).status, 101);
  const refused = await present(after, address, token);
  assert.equal(refused.status, 503);
  assert.match(refused.headers.get("retry-after") ?? "", /^[1-5]$/);
  assert.match(refused.body, /^\{"error":"unavailable",/);
  assert.equal((await present(after, address, await hmacToken(address.userId))).status, 401);
  provider.comeBack();
  clock.advance(PROVIDER.keySetMissingMs);
  assert.equal((await present(after, address, token)).status, 101);
});

/** What no keys are needed for to see that it is bad. */
function hmacToken(userId: string): Promise<string> {
  return new SignJWT({ ...claims(userId) }).setProtectedHeader({ alg: "HS256", kid: "k1" }).sign(
    new Uint8Array(32),
  );
}
