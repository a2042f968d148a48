/**
 * Tests of questions to a provider that is slow, long, wrong, elsewhere or gone.
 * @module
 */
import assert from "node:assert/strict";
import { systemClock } from "../../lib/clock.ts";
import { askProvider } from "../../lib/identity/provider.ts";
import { eventually } from "../support/eventually.ts";
import { type Answer, IdentityProvider } from "../support/identity_provider.ts";
import { ManualClock } from "../support/manual_clock.ts";

const questionOf = (url: string) => ({
  url,
  init: { method: "POST" as const, headers: { authorization: "Basic c2VjcmV0" }, body: "token=t" },
  bytesMax: 1_000,
  deadlineMs: 5_000,
});

const failed = (message: RegExp) => ({ name: "ProviderError", message });

/** A body of which only the beginning comes. */
function endless(beginning: string): ReadableStream<Uint8Array> {
  return new ReadableStream({ start: (to) => to.enqueue(new TextEncoder().encode(beginning)) });
}

Deno.test("askProvider() asks as it is told, and gives the answer", async () => {
  await using provider = IdentityProvider.start(() => Response.json({ active: true }));
  assert.deepEqual(await askProvider(questionOf(provider.url("/ask")), systemClock), { active: true });
  const [asked] = provider.asked;
  assert.equal(`${asked?.method} ${asked?.path} ${asked?.body}`, "POST /ask token=t");
  assert.equal(asked?.headers.get("authorization"), "Basic c2VjcmV0");
});

const WRONG: readonly (readonly [what: string, answer: Answer, message: RegExp])[] = [
  ["an answer that is not JSON", () => new Response("<html>"), /not JSON/],
  ["an empty answer", () => new Response(""), /not JSON/],
  ["no body at all", () => new Response(null), /not JSON/],
  ["an answer that is not UTF-8", () => new Response(new Uint8Array([0x22, 0xff, 0x22])), /not JSON/],
  ["an answer over the limit", () => new Response(" ".repeat(1_001)), /more than 1000 bytes/],
  ["an answer that grows for ever", () => new Response(endless(" ".repeat(5_000))), /more than 1000 bytes/],
  ["status 500", () => Response.json({ active: true }, { status: 500 }), /answered 500/],
  ["status 401", () => Response.json({ active: true }, { status: 401 }), /answered 401/],
  ["status 204", () => new Response(null, { status: 204 }), /answered 204/],
  ["an error with a body without end", () => new Response(endless("x"), { status: 503 }), /answered 503/],
];

for (const [what, answer, message] of WRONG) {
  Deno.test(`askProvider() fails on ${what}`, async () => {
    await using provider = IdentityProvider.start(answer);
    await assert.rejects(askProvider(questionOf(provider.url()), systemClock), failed(message));
  });
}

Deno.test("askProvider() takes an answer of exactly the limit", async () => {
  const body = JSON.stringify("x".repeat(998));
  await using provider = IdentityProvider.start(() => new Response(body));
  assert.equal(await askProvider(questionOf(provider.url()), systemClock), "x".repeat(998));
});

Deno.test("askProvider() follows no redirect, so that nobody else gets the secret", async () => {
  await using elsewhere = IdentityProvider.start(() => Response.json({ active: true }));
  await using provider = IdentityProvider.start(() => Response.json({}));
  for (const status of [301, 302, 303, 307, 308]) {
    provider.answer = () => new Response(null, { status, headers: { location: elsewhere.url() } });
    await assert.rejects(
      askProvider(questionOf(provider.url()), systemClock),
      failed(new RegExp(`answered ${status}`)),
    );
  }
  assert.equal(elsewhere.asked.length, 0);
});

Deno.test("askProvider() gives up at its deadline, whether the answer or the rest of it is missing", async () => {
  await using provider = IdentityProvider.start(() => Response.json({}));
  const slow: Answer[] = [() => new Promise(() => {}), () => new Response(endless("{"))];
  for (const [i, answer] of slow.entries()) {
    provider.answer = answer;
    const clock = new ManualClock();
    const failing = assert.rejects(askProvider(questionOf(provider.url()), clock), failed(/within 5000 ms/));
    await eventually("it is asked", () => provider.asked.length === i + 1);
    clock.advance(5_000);
    await failing;
  }
});

Deno.test("askProvider() says that nobody is there, without the URL", async () => {
  const provider = IdentityProvider.start(() => Response.json({}));
  await provider.leave();
  const url = provider.url("/secret-path");
  await assert.rejects(
    askProvider(questionOf(url), systemClock),
    failed(/^it can't be reached, or hung up$/),
  );
});
