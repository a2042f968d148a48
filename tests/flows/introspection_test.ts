/** AUTH_MODE=introspection: an account system says whose a token is, and when it is over. */
import assert from "node:assert/strict";
import { PROVIDER } from "../../lib/limits.ts";
import { Accounts } from "../support/accounts.ts";
import { AdvancingClock } from "../support/advancing_clock.ts";
import { Bearer, PLACES, present } from "../support/bearer.ts";
import { numbered, numberOf } from "../support/device.ts";
import { eventually } from "../support/eventually.ts";
import { requestText } from "../support/handshake.ts";
import { newAddress } from "../support/raw_messages.ts";

/** Longer than any wait before a token is asked about again. */
const CONFIRM_MS = 1.25 * PROVIDER.confirmMs;

const inSeconds = (seconds: number) => Math.floor(Date.now() / 1_000) + seconds;

Deno.test("two users with tokens of the account system write to each other", async () => {
  await using accounts = new Accounts();
  await using server = await accounts.start();
  const [a, b] = [newAddress(), newAddress()];
  await using alice = await Bearer.join(server, a, accounts.issue(a.userId));
  await using bob = await Bearer.join(server, b, accounts.issue(b.userId, { exp: inSeconds(60) }));
  await alice.connection.send(b, numbered(1));
  await bob.connection.send(a, numbered(2));
  await eventually("both have one", () => alice.inbox.length === 1 && bob.inbox.length === 1);
  assert.deepEqual([alice.inbox, bob.inbox].map(([first]) => numberOf(first?.ciphertext ?? numbered(0))), [
    2,
    1,
  ]);
});

Deno.test("a token is refused in either place: 401 if it is not active, 403 if it is for somebody else", async () => {
  await using accounts = new Accounts();
  const audience = { AUTH_AUDIENCE: "messages", AUTH_ISSUER: "accounts", AUTH_DEVICE_CLAIM: "dev" };
  await using server = await accounts.start(undefined, audience);
  const address = newAddress();
  const good = { aud: "messages", iss: "accounts", dev: 1 };
  const issue = (changes: Readonly<Record<string, unknown>>) =>
    accounts.issue(address.userId, { ...good, ...changes });
  const tokens: readonly (readonly [what: string, status: number, token: string])[] = [
    ["a good one", 101, issue({})],
    ["another user's", 403, issue({ sub: crypto.randomUUID() })],
    ["another device's", 403, issue({ dev: 2 })],
    ["not active", 401, issue({ active: false })],
    ["one that nobody issued", 401, crypto.randomUUID()],
    ["expired", 401, issue({ exp: inSeconds(-1) })],
    ["not good yet", 401, issue({ nbf: inSeconds(60) })],
    ["for others", 401, issue({ aud: "mail" })],
    ["of others", 401, issue({ iss: "mail" })],
  ];
  for (const [what, status, token] of tokens) {
    for (const place of PLACES) {
      assert.equal((await present(server, address, token, place)).status, status, `${what}, in the ${place}`);
    }
  }
  assert.equal(accounts.provider.asked.length, tokens.length, "each was asked about once");
  const local = await server.token(address.userId);
  for (const token of [`${"x".repeat(9_000)}`, "a=b", "é"]) {
    assert.equal((await present(server, address, token)).status, 401);
  }
  assert.equal(accounts.provider.asked.length, tokens.length, "these were not asked about");
  assert.equal((await present(server, address, local)).status, 401);
});

Deno.test("an account system that fails, or is gone, is a 503 with Retry-After, and no 401", async () => {
  await using accounts = new Accounts();
  await using server = await accounts.start();
  const address = newAddress();
  const token = accounts.issue(address.userId);
  const { answer } = accounts.provider;
  accounts.provider.answer = () => new Response(null, { status: 500 });
  const expectRefusal = async () => {
    const { status, headers, body } = await present(server, address, token);
    assert.equal(status, 503);
    assert.match(headers.get("retry-after") ?? "", /^[1-9]$/);
    assert.match(body, /^\{"error":"unavailable",/);
    assert.ok(!body.includes(token) && !body.includes("introspect"));
  };
  await expectRefusal();
  await accounts.provider.leave();
  await expectRefusal();
  accounts.provider.comeBack();
  accounts.provider.answer = answer;
  assert.equal((await present(server, address, token)).status, 101);
});

Deno.test("a server with the wrong secret lets nobody in, and calls no token bad", async () => {
  await using accounts = new Accounts();
  await using server = await accounts.start(undefined, {
    AUTH_CLIENT_SECRET: "another secret of some bytes",
  });
  const address = newAddress();
  assert.equal((await present(server, address, accounts.issue(address.userId))).status, 503);
});

Deno.test("a flood of tokens from one address is refused with 429, and known ones go on", async () => {
  const clock = new AdvancingClock();
  await using accounts = new Accounts();
  await using server = await accounts.start(clock);
  const address = newAddress();
  const known = accounts.issue(address.userId);
  assert.equal((await present(server, address, known)).status, 101);
  // All at once: a machine that is slow would otherwise not flood at all.
  const flood = Array.from({ length: 100 }, (_, i) => present(server, address, `forged-${i}`));
  const statuses = (await Promise.all(flood)).map(({ status, headers }) => {
    if (status === 429) assert.match(headers.get("retry-after") ?? "", /^[1-9]$/);
    return status;
  });
  assert.ok(statuses.includes(429), "the flood is refused");
  assert.deepEqual(statuses.filter((status) => status !== 401 && status !== 429), []);
  assert.equal((await present(server, address, known)).status, 101);
  clock.advance(1_000);
  assert.equal((await present(server, address, accounts.issue(address.userId))).status, 101);
});

Deno.test("a connection ends with 4401 when its token expires, unless the end has moved", async () => {
  const clock = new AdvancingClock(30);
  await using accounts = new Accounts();
  await using server = await accounts.start(clock);
  const [a, b] = [newAddress(), newAddress()];
  const [short, long] = [
    accounts.issue(a.userId, { exp: inSeconds(120) }),
    accounts.issue(b.userId, { exp: inSeconds(120) }),
  ];
  await using alice = await Bearer.join(server, a, short);
  await using bob = await Bearer.join(server, b, long);
  accounts.tokens.set(long, { sub: b.userId, exp: inSeconds(9_999) });
  clock.advance(CONFIRM_MS);
  await eventually("both are asked about again", () => accounts.provider.asked.length === 4);
  // Another connection with each token waits for the same answer.
  for (const [address, token] of [[a, short], [b, long]] as const) {
    assert.equal((await present(server, { ...address, deviceId: 2 }, token)).status, 101);
  }
  clock.advance(121_000 - CONFIRM_MS);
  await eventually("the end", () => alice.closeCode !== null);
  assert.equal(alice.closeCode, 4401);
  await bob.connection.send(b, numbered(1));
  assert.equal(bob.closeCode, null);
});

Deno.test("a connection ends with 4401 when its token is revoked, not while nobody can tell, and others go on", async () => {
  const clock = new AdvancingClock(30);
  await using accounts = new Accounts();
  await using server = await accounts.start(clock);
  const [a, b] = [newAddress(), newAddress()];
  const [revoked, good] = [accounts.issue(a.userId), accounts.issue(b.userId)];
  await using alice = await Bearer.join(server, a, revoked);
  await using bob = await Bearer.join(server, b, good);
  const { answer } = accounts.provider;
  accounts.tokens.delete(revoked);
  accounts.provider.answer = () => new Response(null, { status: 500 });
  clock.advance(CONFIRM_MS);
  await eventually("both are asked about again", () => accounts.provider.asked.length === 4);
  for (const [address, token] of [[a, revoked], [b, good]] as const) {
    assert.equal((await present(server, { ...address, deviceId: 2 }, token)).status, 503);
  }
  await alice.connection.send(b, numbered(1));
  assert.deepEqual([alice.closeCode, bob.closeCode], [null, null]);
  accounts.provider.answer = answer;
  clock.advance(1.25 * PROVIDER.confirmRetryMs);
  await eventually("the end", () => alice.closeCode !== null);
  assert.equal(alice.closeCode, 4401);
  assert.equal((await present(server, a, revoked)).status, 401);
  await bob.connection.send(b, numbered(2));
  await eventually("both messages", () => bob.inbox.length === 2);
  assert.equal(bob.closeCode, null);
});

Deno.test("connections end with 4401 when the account system has been gone for 15 min", async () => {
  const clock = new AdvancingClock(30);
  await using accounts = new Accounts();
  await using server = await accounts.start(clock);
  const address = newAddress();
  await using alice = await Bearer.join(server, address, accounts.issue(address.userId));
  await accounts.provider.leave();
  clock.advance(PROVIDER.unconfirmedMs - 30_000);
  await clock.ticked();
  // No message that would have to be acknowledged: a connection that is busy loses its close code.
  await alice.connection.requestDevices(address.userId);
  assert.equal(alice.closeCode, null);
  clock.advance(30_000);
  await eventually("the end", () => alice.closeCode !== null);
  assert.equal(alice.closeCode, 4401);
});

Deno.test("clients that leave while their token is looked up leave nothing behind", async () => {
  await using accounts = new Accounts();
  await using server = await accounts.start();
  const { userId } = newAddress();
  const { answer } = accounts.provider;
  const { promise: released, resolve: release } = Promise.withResolvers<void>();
  accounts.provider.answer = (asked) => released.then(() => answer(asked));
  const { hostname, port } = new URL(server.url);
  for (let deviceId = 1; deviceId <= 5; deviceId++) {
    const conn = await Deno.connect({ hostname, port: Number(port) });
    const headers = { authorization: `Bearer ${accounts.issue(userId)}` };
    await conn.write(
      new TextEncoder().encode(requestText(`${hostname}:${port}`, `/${userId}/${deviceId}`, { headers })),
    );
    await eventually("it is asked about", () => accounts.provider.asked.length === deviceId);
    conn.close();
  }
  assert.equal(server.server.connectionCount, 5);
  release();
  await eventually("all are gone", () => server.server.connectionCount === 0, 20_000);
  assert.equal((await present(server, { userId, deviceId: 1 }, accounts.issue(userId))).status, 101);
});

Deno.test("a server that stops does not wait for a token that is being looked up", async () => {
  await using accounts = new Accounts();
  const server = await accounts.start();
  const address = newAddress();
  const { answer } = accounts.provider;
  const { promise: released, resolve: release } = Promise.withResolvers<void>();
  accounts.provider.answer = (asked) => released.then(() => answer(asked));
  const refused = present(server, address, accounts.issue(address.userId)).catch(() => null);
  await eventually("it is asked about", () => accounts.provider.asked.length === 1);
  await server[Symbol.asyncDispose]();
  release();
  assert.notEqual((await refused)?.status, 101);
});
