/**
 * Tests of introspection: what is asked, how often, what of the answer counts, and that only a clear yes opens anything.
 * @module
 */
import assert from "node:assert/strict";
import type { Authenticator } from "../../lib/identity/mod.ts";
import { Introspection, type IntrospectionOptions } from "../../lib/identity/introspection.ts";
import { PROVIDER, TOKEN_BYTES_MAX } from "../../lib/limits.ts";
import { eventually } from "../support/eventually.ts";
import { type Answer, IdentityProvider } from "../support/identity_provider.ts";
import { ManualClock } from "../support/manual_clock.ts";

const USER = "3f0c7e0a-91d4-4b6e-8a57-2d1c9e6f7b10";
const NOW = Date.UTC(2030, 0, 1);
const NOW_SECONDS = NOW / 1_000;
const YES = { active: true, sub: USER, exp: NOW_SECONDS + 3_600 };

const refused = (message: RegExp) => ({ name: "AuthenticationError", message });
const unavailable = (isFlood = false) => ({ name: "AuthenticationUnavailable", isFlood });

/** An authenticator that asks a provider which says yes. */
function open(options: Partial<IntrospectionOptions> = {}) {
  const provider = IdentityProvider.start(() => Response.json(YES));
  const clock = new ManualClock(NOW);
  const tokens: Authenticator = new Introspection({
    url: new URL(provider.url("/introspect")),
    clientId: "messaging",
    clientSecret: "the secret of the server",
    issuer: undefined,
    audience: undefined,
    names: { user: "sub", device: null },
    ...options,
  }, clock);
  return { provider, clock, tokens };
}

Deno.test("authenticate() asks as RFC 7662 has it, with ID and secret encoded as RFC 6749 has it", async () => {
  const { provider, tokens } = open({ clientId: "a:b c", clientSecret: "100 % geheim: ä" });
  await using _ = provider;
  const { confirm, ...identity } = await tokens.authenticate("to+ken/1.~_-==", "192.0.2.1");
  assert.deepEqual(identity, { userId: USER, deviceId: null, expiresAt: NOW + 3_600_000 });
  assert.equal(typeof confirm, "function");
  assert.equal(tokens.isOpen, false);
  const [asked] = provider.asked;
  assert.equal(`${asked?.method} ${asked?.path}`, "POST /introspect");
  assert.equal(asked?.headers.get("content-type"), "application/x-www-form-urlencoded");
  assert.equal(asked?.headers.get("accept"), "application/json");
  assert.deepEqual(Object.fromEntries(new URLSearchParams(asked?.body)), {
    token: "to+ken/1.~_-==",
    token_type_hint: "access_token",
  });
  const basic = atob(asked?.headers.get("authorization")?.replace(/^Basic /, "") ?? "");
  assert.equal(basic, "a%3Ab+c:100+%25+geheim%3A+%C3%A4");
});

const ANSWERS: readonly (readonly [what: string, answer: unknown, message: RegExp])[] = [
  ["no", { active: false }, /not active/],
  ["no, with claims", { ...YES, active: false }, /not active/],
  ["yes without a user", { active: true }, /sub/],
  ["yes for a user that is a number", { ...YES, sub: 1 }, /sub/],
  ["yes for what is no user ID", { ...YES, sub: "alice" }, /sub/],
  ["yes for what is over", { ...YES, exp: NOW_SECONDS }, /expired/],
  ["yes for what is not good yet", { ...YES, nbf: NOW_SECONDS + 6 }, /yet/],
  ["yes until a time that is text", { ...YES, exp: "2031-01-01" }, /exp/],
  ["yes without an issuer", { ...YES, aud: "messages" }, /iss/],
  ["yes of another issuer", { ...YES, aud: "messages", iss: "b" }, /iss/],
  ["yes for nobody in particular", { ...YES, iss: "a" }, /aud/],
  ["yes for others", { ...YES, iss: "a", aud: ["other"] }, /aud/],
];

for (const [what, answer, message] of ANSWERS) {
  Deno.test(`authenticate() refuses a token on the answer: ${what}`, async () => {
    const { provider, tokens } = open(
      /iss|aud/.test(message.source) ? { issuer: "a", audience: "messages" } : {},
    );
    await using _ = provider;
    provider.says(answer);
    await assert.rejects(tokens.authenticate("token"), refused(message));
  });
}

Deno.test("authenticate() takes a token that names no end, and one for us among others", async () => {
  const { provider, tokens } = open({
    issuer: "a",
    audience: "messages",
    names: { user: "uid", device: "dev" },
  });
  await using _ = provider;
  provider.says({ active: true, uid: USER, dev: 3, iss: "a", aud: ["x", "messages"] });
  const { userId, deviceId, expiresAt } = await tokens.authenticate("token");
  assert.deepEqual([userId, deviceId, expiresAt], [USER, 3, null]);
});

const NO_ANSWERS: Readonly<Record<string, Answer>> = {
  "nothing": () => new Response(""),
  "a page": () => new Response("<html>"),
  "a word": () => Response.json("active"),
  "null": () => Response.json(null),
  "a list": () => Response.json([YES]),
  "nothing on the token": () => Response.json({ sub: USER }),
  "active as text": () => Response.json({ ...YES, active: "true" }),
  "active as a number": () => Response.json({ ...YES, active: 1 }),
  "a yes that is too long": () => Response.json({ ...YES, x: "x".repeat(PROVIDER.answerBytesMax) }),
  "a yes that is created": () => Response.json(YES, { status: 201 }),
  "that we are not known": () => Response.json(YES, { status: 401 }),
  "that we ask too much": () => Response.json({}, { status: 429 }),
  "a failure": () => Response.json(YES, { status: 500 }),
  "a redirect": () => new Response(null, { status: 307, headers: { location: "/elsewhere" } }),
};

for (const [what, answer] of Object.entries(NO_ANSWERS)) {
  Deno.test(`authenticate() neither takes a token nor calls it bad on the answer: ${what}`, async () => {
    const { provider, tokens } = open();
    await using _ = provider;
    provider.answer = answer;
    await assert.rejects(
      tokens.authenticate("token"),
      (error: { retryAfterSeconds?: number; name?: string }) => {
        assert.equal(error.name, "AuthenticationUnavailable");
        const { retryAfterSeconds: seconds = 0 } = error;
        assert.ok(Number.isInteger(seconds) && seconds >= 1 && seconds <= 10, `${seconds}`);
        return true;
      },
    );
    provider.says(YES); // nothing was remembered of it
    assert.equal((await tokens.authenticate("token")).userId, USER);
    assert.deepEqual([...new Set(provider.asked.map(({ path }) => path))], ["/introspect"]);
  });
}

Deno.test("authenticate() gives up after 5 s, together with all who wait for the same answer", async () => {
  const { provider, tokens, clock } = open();
  await using _ = provider;
  provider.hangs();
  const waiting = Array.from(
    { length: 20 },
    () => assert.rejects(tokens.authenticate("token"), unavailable()),
  );
  await eventually("it is asked", () => provider.asked.length === 1);
  clock.advance(PROVIDER.deadlineMs);
  await Promise.all(waiting);
  assert.equal(provider.asked.length, 1);
});

Deno.test("authenticate() asks nobody about nothing, what is huge, and what can't be a token", async () => {
  const { provider, tokens } = open();
  await using _ = provider;
  for (const token of [null, "", "a b", "tök", "a\u0000", "=", "a=b", "x".repeat(TOKEN_BYTES_MAX + 1)]) {
    await assert.rejects(tokens.authenticate(token), refused(/needed|malformed|too long/));
  }
  assert.equal(provider.asked.length, 0);
  await tokens.authenticate("x".repeat(TOKEN_BYTES_MAX));
});

Deno.test("authenticate() asks about a good token once in 60 s, and about a bad one once in 10 s", async () => {
  const { provider, tokens, clock } = open();
  await using _ = provider;
  provider.answer = ({ body }) => Response.json(body.includes("good") ? YES : { active: false });
  const both = async () => {
    assert.equal((await tokens.authenticate("good")).userId, USER);
    await assert.rejects(tokens.authenticate("bad"), refused(/not active/));
  };
  const asked = (name: string) => provider.asked.filter(({ body }) => body.includes(name)).length;
  await both();
  clock.advance(PROVIDER.refusedMs - 1);
  await both();
  assert.deepEqual([asked("good"), asked("bad")], [1, 1]);
  clock.advance(1);
  await both();
  assert.deepEqual([asked("good"), asked("bad")], [1, 2]);
  clock.advance(PROVIDER.acceptedMs - PROVIDER.refusedMs - 1);
  await both();
  assert.deepEqual([asked("good"), asked("bad")], [1, 3]);
  clock.advance(1);
  await both();
  assert.deepEqual([asked("good"), asked("bad")], [2, 3]);
});

Deno.test("authenticate() does not take a token beyond its end, though the answer is remembered", async () => {
  const { provider, tokens, clock } = open();
  await using _ = provider;
  provider.says({ ...YES, exp: NOW_SECONDS + 5 });
  await tokens.authenticate("token");
  clock.step(5_000);
  await assert.rejects(tokens.authenticate("token"), refused(/expired/));
  assert.equal(provider.asked.length, 1);
});

Deno.test("authenticate() asks 10 times a second for one address, and knows networks of IPv6", async () => {
  const { provider, tokens, clock } = open();
  await using _ = provider;
  const flood = async (count: number, address: (i: number) => string | null) => {
    const tried = Array.from(
      { length: count },
      (_, i) => tokens.authenticate(crypto.randomUUID(), address(i)),
    );
    const settled = await Promise.allSettled(tried);
    for (const outcome of settled) {
      if (outcome.status === "rejected") assert.deepEqual({ ...outcome.reason }.isFlood, true);
    }
    return settled.filter(({ status }) => status === "fulfilled").length;
  };
  assert.equal(await flood(30, () => "192.0.2.1"), 10);
  assert.equal(await flood(30, () => "::ffff:192.0.2.1"), 0);
  assert.equal(await flood(30, (i) => `2001:db8::${i}`), 10);
  assert.equal(await flood(20, () => null), 10);
  assert.equal(await flood(10, (i) => `192.0.2.${i + 2}`), 10);
  clock.advance(500);
  assert.equal(await flood(30, () => "192.0.2.1"), 5);
  assert.equal(provider.asked.length, 45);
});

Deno.test("authenticate() takes what it knows from an address that has asked too much", async () => {
  const { provider, tokens } = open();
  await using _ = provider;
  const from = (token: string) => tokens.authenticate(token, "192.0.2.1");
  for (let i = 0; i < 10; i++) await from(`token${i}`);
  await assert.rejects(from("another"), unavailable(true));
  for (let i = 0; i < 10; i++) await from(`token${i}`);
});

Deno.test("authenticate() has at most 40 questions for new connections under way, and 10 more for open ones", async () => {
  const { provider, tokens, clock } = open();
  await using _ = provider;
  const confirmations = [];
  for (let i = 0; i < 12; i++) confirmations.push(await tokens.authenticate(`open${i}`, `192.0.2.${i}`));
  clock.advance(PROVIDER.acceptedMs);
  provider.hangs();
  provider.busiest = 0;
  const newcomers = Array.from(
    { length: 60 },
    (_, i) => assert.rejects(tokens.authenticate(`new${i}`, `198.51.100.${i}`), unavailable()),
  );
  await eventually("newcomers are asked about", () => provider.busiest === PROVIDER.questionsOfAKindMax);
  const confirmed = confirmations.map(({ confirm }) =>
    assert.rejects(confirm?.() ?? assert.fail(), unavailable())
  );
  await eventually("open ones are asked about", () => provider.busiest === PROVIDER.questionsMax);
  clock.advance(PROVIDER.turnMs); // the others give up waiting
  clock.advance(PROVIDER.deadlineMs);
  await Promise.all([...newcomers, ...confirmed]);
  assert.equal(provider.busiest, PROVIDER.questionsMax);
  assert.equal(provider.asked.length, 12 + PROVIDER.questionsMax);
  provider.says(YES);
  clock.advance(PROVIDER.pauseMs);
  await tokens.authenticate("later");
});

Deno.test("confirm() tells a token that was revoked, from one that nobody can tell about", async () => {
  const { provider, tokens, clock } = open();
  await using _ = provider;
  const { confirm = () => assert.fail("it can be revoked") } = await tokens.authenticate("token");
  await confirm();
  assert.equal(provider.asked.length, 1, "the answer is still fresh");
  clock.advance(PROVIDER.acceptedMs);
  provider.says({ ...YES, exp: NOW_SECONDS + 7_200 });
  assert.equal((await confirm()).expiresAt, NOW + 7_200_000);
  clock.advance(PROVIDER.acceptedMs);
  provider.answer = () => new Response(null, { status: 502 });
  await assert.rejects(confirm(), unavailable());
  provider.says({ active: false });
  await assert.rejects(confirm(), refused(/not active/));
  provider.says(YES);
  await assert.rejects(tokens.authenticate("token"), refused(/not active/), "it stays refused for a while");
});

Deno.test("authenticate() and confirm() leave a provider alone for a second after ten failures in a row", async () => {
  const { provider, tokens, clock } = open();
  await using _ = provider;
  const { confirm = () => assert.fail("it can be revoked") } = await tokens.authenticate("token");
  clock.advance(PROVIDER.acceptedMs);
  provider.answer = () => new Response(null, { status: 500 });
  for (let second = 0; second < 3; second++) {
    for (let i = 0; i < 20; i++) await assert.rejects(confirm(), unavailable());
    await assert.rejects(tokens.authenticate("another"), unavailable());
    assert.equal(provider.asked.length, 1 + PROVIDER.failuresMax + second);
    clock.advance(PROVIDER.pauseMs);
  }
  provider.says(YES);
  await confirm();
  for (let i = 1; i < PROVIDER.failuresMax; i++) {
    provider.answer = () => new Response(null, { status: 500 });
    await assert.rejects(tokens.authenticate(`new${i}`), unavailable());
  }
  provider.says(YES);
  await tokens.authenticate("fewer-failures-are-no-reason");
});

Deno.test("authenticate() recovers by itself from a provider that was gone", async () => {
  const { provider, tokens } = open();
  await using _ = provider;
  await provider.leave();
  await assert.rejects(tokens.authenticate("token"), unavailable());
  provider.comeBack();
  assert.equal((await tokens.authenticate("token")).userId, USER);
});
