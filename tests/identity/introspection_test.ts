/**
 * Tests of introspection: what is asked, what of the answer counts, and that only a clear yes opens anything.
 * @module
 */
import assert from "node:assert/strict";
import { PROVIDER, TOKEN_BYTES_MAX } from "../../lib/limits.ts";
import type { Answer } from "../support/identity_provider.ts";
import { NOW, NOW_SECONDS, openIntrospection, refused, USER, YES } from "./open_introspection.ts";

Deno.test("authenticate() asks as RFC 7662 has it, with ID and secret encoded as RFC 6749 has it", async () => {
  const { provider, tokens } = openIntrospection({ clientId: "a:b c", clientSecret: "100 % geheim: ä" });
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
    const { provider, tokens } = openIntrospection(
      /iss|aud/.test(message.source) ? { issuer: "a", audience: "messages" } : {},
    );
    await using _ = provider;
    provider.says(answer);
    await assert.rejects(tokens.authenticate("token"), refused(message));
  });
}

Deno.test("authenticate() takes a token that names no end, and one for us among others", async () => {
  const { provider, tokens } = openIntrospection({
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
    const { provider, tokens } = openIntrospection();
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

Deno.test("authenticate() asks nobody about nothing, what is huge, and what can't be a token", async () => {
  const { provider, tokens } = openIntrospection();
  await using _ = provider;
  for (const token of [null, "", "a b", "tök", "a\u0000", "=", "a=b", "x".repeat(TOKEN_BYTES_MAX + 1)]) {
    await assert.rejects(tokens.authenticate(token), refused(/needed|malformed|too long/));
  }
  assert.equal(provider.asked.length, 0);
  await tokens.authenticate("x".repeat(TOKEN_BYTES_MAX));
});
