/** Which tokens open a connection, for how long, and which never do. */
import assert from "node:assert/strict";
import { generateKeyPair, SignJWT, UnsecuredJWT } from "jose";
import { handshake } from "../support/handshake.ts";
import { AdvancingClock } from "../support/advancing_clock.ts";
import { PLACES, present } from "../support/bearer.ts";
import { Device } from "../support/device.ts";
import { eventually } from "../support/eventually.ts";
import { RawClient } from "../support/raw_client.ts";
import { newAddress } from "../support/raw_messages.ts";
import { startServer, TEST_ENVIRONMENT, type TestServer } from "../support/server.ts";

const SECRET = new TextEncoder().encode(TEST_ENVIRONMENT["AUTH_SECRET"]);
const OTHER_SECRET = "another secret, just as long as it has to be";
const { userId } = newAddress();

async function statusOf(server: TestServer, token: string): Promise<number> {
  const headers = { authorization: `Bearer ${token}` };
  const { status, upgraded } = await handshake(server.url, `/${userId}/1`, { headers });
  upgraded?.conn.close();
  return status;
}

function inSeconds(seconds: number): number {
  return Math.floor(Date.now() / 1_000) + seconds;
}

type Claims = Record<string, unknown>;

/** The claims of a good token, with changes; a claim that is `undefined` is left out. */
function claims(changes: Claims = {}): Claims {
  return { sub: userId, aud: "messaging-server", exp: inSeconds(60), ...changes };
}

function sign(payload: Claims, alg = "HS256", secret = SECRET): Promise<string> {
  return new SignJWT(JSON.parse(JSON.stringify(payload))).setProtectedHeader({ alg }).sign(secret);
}

Deno.test("a token with the claims of the README opens a connection", async () => {
  await using server = await startServer();
  assert.equal(await statusOf(server, await sign(claims())), 101);
  assert.equal(await statusOf(server, await sign(claims({ sub: userId.toUpperCase() }))), 101);
  assert.equal(await statusOf(server, await sign(claims({ aud: ["other", "messaging-server"] }))), 101);
  assert.equal(await statusOf(server, await sign(claims({ nbf: inSeconds(-5), device: 1 }))), 101);
});

Deno.test("a token with a claim that is missing or wrong is refused with 401", async () => {
  await using server = await startServer();
  const wrong: Claims[] = [
    { exp: undefined },
    { exp: inSeconds(-1) },
    { exp: 0 },
    { nbf: inSeconds(60) },
    { aud: undefined },
    { aud: "another-service" },
    { aud: [] },
    { sub: undefined },
    { sub: "bob" },
    { sub: userId.replace(/^(.{14})4/, "$11") },
    { device: "1" },
    { device: -1 },
    { device: 1.5 },
    { device: 2 ** 32 },
  ];
  for (const changes of wrong) {
    assert.equal(await statusOf(server, await sign(claims(changes))), 401, JSON.stringify(changes));
  }
});

Deno.test("a token with another algorithm or another secret is refused with 401", async () => {
  await using server = await startServer();
  assert.equal(await statusOf(server, new UnsecuredJWT(claims()).encode()), 401);
  assert.equal(await statusOf(server, await sign(claims(), "HS512")), 401);
  assert.equal(await statusOf(server, await sign(claims(), "HS384")), 401);
  assert.equal(
    await statusOf(server, await sign(claims(), "HS256", new TextEncoder().encode(OTHER_SECRET))),
    401,
  );
});

Deno.test("a token counts in the subprotocol as it does in the header", async () => {
  await using server = await startServer();
  const address = { userId, deviceId: 1 };
  const [, payload, signature] = (await sign(claims())).split(".");
  const header = (alg: string) => btoa(JSON.stringify({ alg, typ: "JWT" })).replaceAll("=", "");
  const { privateKey } = await generateKeyPair("ES256");
  const tokens: readonly (readonly [what: string, status: number, token: string])[] = [
    ["good", 101, await sign(claims())],
    ["of another user", 403, await sign(claims({ sub: crypto.randomUUID() }))],
    ["of another device", 403, await sign(claims({ device: 2 }))],
    ["unsigned", 401, new UnsecuredJWT(claims()).encode()],
    ["unsigned, with a signature", 401, `${header("none")}.${payload}.${signature}`],
    ["unsigned in other letters", 401, `${header("NONE")}.${payload}.`],
    ["of another length of hash", 401, await sign(claims(), "HS384")],
    ["of another length of hash by name", 401, `${header("HS512")}.${payload}.${signature}`],
    ["of an RSA key by name", 401, `${header("RS256")}.${payload}.${signature}`],
    ["of a key pair", 401, await new SignJWT(claims()).setProtectedHeader({ alg: "ES256" }).sign(privateKey)],
    ["of a secret of one byte", 401, await sign(claims(), "HS256", new Uint8Array(1))],
    ["for another audience", 401, await sign(claims({ aud: "another-service" }))],
    ["without an end", 401, await sign(claims({ exp: undefined }))],
    ["expired", 401, await sign(claims({ exp: inSeconds(-1) }))],
    ["not good yet", 401, await sign(claims({ nbf: inSeconds(60) }))],
    ["of a number", 401, await sign(claims({ sub: 7 }))],
    ["huge", 401, await sign(claims({ x: "x".repeat(8_000) }))],
  ];
  for (const [what, status, token] of tokens) {
    for (const place of PLACES) {
      assert.equal((await present(server, address, token, place)).status, status, `${what}, in the ${place}`);
    }
  }
});

Deno.test("what is no token, or not whole, is refused with 401 and a challenge", async () => {
  await using server = await startServer();
  const token = await sign(claims());
  const [header, payload, signature] = token.split(".");
  const broken = [
    "x",
    "..",
    `${header}.${payload}.`,
    `${header}.${payload}`,
    `${token}x`,
    `.${payload}.${signature}`,
  ];
  for (const bad of [...broken, `${token}${"A".repeat(9_000)}`]) {
    assert.equal(await statusOf(server, bad), 401, bad);
  }
  const { status, headers } = await handshake(server.url, `/${userId}/1`);
  assert.equal(status, 401);
  assert.match(headers.get("www-authenticate") ?? "", /^Bearer/);
});

Deno.test("a refusal does not repeat the token", async () => {
  await using server = await startServer();
  const headers = { authorization: "Bearer very.secret.nonsense" };
  const { body } = await handshake(server.url, `/${userId}/1`, { headers });
  assert.ok(!body.includes("secret"), body);
});

Deno.test("AUTH_SECRET_PREVIOUS verifies the tokens of before, and no others", async () => {
  await using server = await startServer({ AUTH_SECRET_PREVIOUS: OTHER_SECRET });
  const previous = new TextEncoder().encode(OTHER_SECRET);
  assert.equal(await statusOf(server, await sign(claims())), 101);
  assert.equal(await statusOf(server, await sign(claims(), "HS256", previous)), 101);
  assert.equal(await statusOf(server, await sign(claims({ exp: inSeconds(-1) }), "HS256", previous)), 401);
  const third = new TextEncoder().encode("a third secret, which nobody has ever set");
  assert.equal(await statusOf(server, await sign(claims(), "HS256", third)), 401);
});

Deno.test("a token that has expired is refused with 401", async () => {
  const clock = new AdvancingClock();
  await using server = await startServer({}, { clock });
  const token = await server.token(userId, undefined, 60_000);
  assert.equal(await statusOf(server, token), 101);
  clock.advance(61_000);
  assert.equal(await statusOf(server, token), 401);
});

Deno.test("a connection ends with 4401 when its token expires, and others go on", async () => {
  const clock = new AdvancingClock(30);
  await using server = await startServer({}, { clock });
  const address = newAddress();
  const short = `Bearer ${await server.token(address.userId, undefined, 60_000)}`;
  await using ends = await RawClient.connect(server, address, { headers: { authorization: short } });
  await using bob = await Device.join(server);
  clock.advance(61_000);
  await eventually("the end", () => ends.isClosed, 3_000);
  assert.equal((await ends.closed).code, 4401);
  await bob.send(bob.address, 1);
  await bob.untilNumbers([1]);
});

Deno.test("a connection whose token is good for 300 years stays open", async () => {
  await using server = await startServer();
  const token = await sign(claims({ exp: inSeconds(300 * 365 * 86_400) }));
  const headers = { authorization: `Bearer ${token}` };
  await using client = await RawClient.connect(server, { userId, deviceId: 1 }, { headers });
  await client.settle();
  assert.equal(client.isClosed, false);
});
