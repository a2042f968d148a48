/**
 * Tests of how often an account system is asked, what is remembered of its answers, and what happens without it.
 * @module
 */
import assert from "node:assert/strict";
import { PROVIDER } from "../../lib/limits.ts";
import { remoteOf } from "../../lib/server/remote.ts";
import { eventually } from "../support/eventually.ts";
import {
  NOW,
  NOW_SECONDS,
  openIntrospection,
  refused,
  unavailable,
  USER,
  YES,
} from "./open_introspection.ts";

Deno.test("authenticate() gives up after 5 s, together with all who wait for the same answer", async () => {
  const { provider, tokens, clock } = openIntrospection();
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

Deno.test("authenticate() asks about a good token once in 60 s, and about a bad one once in 10 s", async () => {
  const { provider, tokens, clock } = openIntrospection();
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
  const { provider, tokens, clock } = openIntrospection();
  await using _ = provider;
  provider.says({ ...YES, exp: NOW_SECONDS + 5 });
  await tokens.authenticate("token");
  clock.step(5_000);
  await assert.rejects(tokens.authenticate("token"), refused(/expired/));
  assert.equal(provider.asked.length, 1);
});

Deno.test("authenticate() asks 10 times a second for one address, and knows networks of IPv6", async () => {
  const { provider, tokens, clock } = openIntrospection();
  await using _ = provider;
  const flood = async (count: number, address: (i: number) => string | null) => {
    const tried = Array.from(
      { length: count },
      (_, i) => tokens.authenticate(crypto.randomUUID(), remoteOf(address(i), null, []).key),
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
  const { provider, tokens } = openIntrospection();
  await using _ = provider;
  const from = (token: string) => tokens.authenticate(token, "192.0.2.1");
  for (let i = 0; i < 10; i++) await from(`token${i}`);
  await assert.rejects(from("another"), unavailable(true));
  for (let i = 0; i < 10; i++) await from(`token${i}`);
});

Deno.test("authenticate() has at most 40 questions for new connections under way, and 10 more for open ones", async () => {
  const { provider, tokens, clock } = openIntrospection();
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
  const { provider, tokens, clock } = openIntrospection();
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
  const { provider, tokens, clock } = openIntrospection();
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
  const { provider, tokens } = openIntrospection();
  await using _ = provider;
  await provider.leave();
  await assert.rejects(tokens.authenticate("token"), unavailable());
  provider.comeBack();
  assert.equal((await tokens.authenticate("token")).userId, USER);
});
