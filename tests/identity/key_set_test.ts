/**
 * Tests of the key set: when it is fetched, that it is fetched no more often, and what happens without it.
 * @module
 */
import assert from "node:assert/strict";
import type { JWTHeaderParameters } from "jose";
import { KeySet } from "../../lib/identity/key_set.ts";
import { PROVIDER } from "../../lib/limits.ts";
import { eventually } from "../support/eventually.ts";
import { type Answer, IdentityProvider, newSigningKey } from "../support/identity_provider.ts";
import { ManualClock } from "../support/manual_clock.ts";

const [first, second] = await Promise.all([newSigningKey("first"), newSigningKey("second")]);

const unavailable = { name: "AuthenticationUnavailable" };
const unknown = { code: "ERR_JWKS_NO_MATCHING_KEY" };

/** A key set at a provider that publishes the first key. */
function open(): { provider: IdentityProvider; keys: KeySet; clock: ManualClock } {
  const provider = IdentityProvider.start(() => Response.json({ keys: [first.jwk] }));
  const clock = new ManualClock();
  return { provider, clock, keys: new KeySet(new URL(provider.url("/keys")), clock) };
}

const find = (keys: KeySet, kid: string) => {
  const header: JWTHeaderParameters = { alg: "ES256", kid };
  return Promise.resolve(keys.find(header, { payload: "", signature: "" }));
};

/** Waits until what was begun beside the work has ended. */
const settled = (keys: KeySet, provider: IdentityProvider, count: number) =>
  eventually(`${count} requests`, () => provider.asked.length === count).then(() => keys.refresh());

Deno.test("find() fetches once for all who wait, and not again while the keys are fresh", async () => {
  const { provider, keys, clock } = open();
  await using _ = provider;
  const found = await Promise.all(Array.from({ length: 20 }, () => find(keys, "first")));
  assert.equal(new Set(found).size, 1);
  clock.advance(PROVIDER.keySetFreshMs - 1);
  await find(keys, "first");
  assert.deepEqual(provider.asked.map(({ method, path }) => `${method} ${path}`), ["GET /keys"]);
});

Deno.test("find() fetches keys that are not fresh beside the work, and stale ones before it", async () => {
  const { provider, keys, clock } = open();
  await using _ = provider;
  await find(keys, "first");
  provider.hangs();
  clock.advance(PROVIDER.keySetFreshMs);
  await find(keys, "first"); // does not wait for the one that hangs
  await eventually("it is asked", () => provider.asked.length === 2);
  await find(keys, "first");
  clock.advance(PROVIDER.deadlineMs);
  await keys.refresh();
  assert.equal(provider.asked.length, 2);
  provider.says({ keys: [second.jwk] });
  clock.advance(PROVIDER.keySetStaleMs);
  await assert.rejects(find(keys, "first"), unknown);
  await find(keys, "second");
  assert.equal(provider.asked.length, 3);
});

Deno.test("find() fetches for a key that it does not know, once in a cool-down, whatever comes", async () => {
  const { provider, keys, clock } = open();
  await using _ = provider;
  await find(keys, "first");
  for (let i = 0; i < 50; i++) await assert.rejects(find(keys, `forged ${i}`), unknown);
  assert.equal(provider.asked.length, 1);
  clock.advance(PROVIDER.keySetCoolDownMs);
  const forged = Array.from({ length: 50 }, (_, i) => assert.rejects(find(keys, `forged ${i}`), unknown));
  await Promise.all(forged);
  assert.equal(provider.asked.length, 2);
  provider.says({ keys: [second.jwk, first.jwk] });
  clock.advance(PROVIDER.keySetCoolDownMs);
  await Promise.all([find(keys, "second"), find(keys, "first"), find(keys, "second")]);
  assert.equal(provider.asked.length, 3);
  await Promise.all([find(keys, "second"), find(keys, "first")]);
});

Deno.test("find() without keys is unavailable, and asks a dead host once in a cool-down", async () => {
  const { provider, keys, clock } = open();
  await using _ = provider;
  provider.answer = () => new Response(null, { status: 500 });
  for (let i = 0; i < 20; i++) {
    await assert.rejects(find(keys, "first"), { ...unavailable, retryAfterSeconds: 5, isFlood: false });
  }
  assert.equal(provider.asked.length, 1);
  clock.advance(PROVIDER.keySetMissingMs - 1);
  await assert.rejects(find(keys, "first"), { ...unavailable, retryAfterSeconds: 1 });
  provider.says({ keys: [first.jwk] });
  await assert.rejects(find(keys, "first"), unavailable);
  clock.advance(1);
  await find(keys, "first");
  assert.equal(provider.asked.length, 2);
});

Deno.test("find() waits for a host that hangs no longer than its deadline, all together", async () => {
  const { provider, keys, clock } = open();
  await using _ = provider;
  provider.hangs();
  const waiting = Array.from({ length: 20 }, () => assert.rejects(find(keys, "first"), unavailable));
  await eventually("it is asked", () => provider.asked.length === 1);
  clock.advance(PROVIDER.deadlineMs);
  await Promise.all(waiting);
  await assert.rejects(find(keys, "first"), unavailable);
  assert.equal(provider.asked.length, 1);
});

Deno.test("find() keeps the last good keys for a day while the provider is gone, and recovers", async () => {
  const { provider, keys, clock } = open();
  await using _ = provider;
  await find(keys, "first");
  await provider.leave();
  for (let hours = 1; hours < 24; hours++) {
    clock.advance(3_600_000);
    await find(keys, "first");
  }
  // What it can't know now it does not call forged.
  await assert.rejects(find(keys, "second"), unavailable);
  clock.advance(3_600_000);
  await assert.rejects(find(keys, "first"), unavailable);
  provider.comeBack();
  clock.advance(PROVIDER.keySetMissingMs);
  await find(keys, "first");
});

const NO_KEY_SETS: Readonly<Record<string, Answer>> = {
  "text": () => new Response("keys"),
  "null": () => Response.json(null),
  "a list": () => Response.json([first.jwk]),
  "no keys": () => Response.json({ keys: [] }),
  "keys that are no list": () => Response.json({ keys: { 0: first.jwk } }),
  "keys that are no objects": () => Response.json({ keys: ["first"] }),
  "more keys than anybody has": () => Response.json({ keys: Array(PROVIDER.keysMax + 1).fill(first.jwk) }),
  "more bytes than anybody needs": () => Response.json({ keys: [first.jwk], x: "x".repeat(300_000) }),
  "a redirect": () => new Response(null, { status: 302, headers: { location: "/other" } }),
};

for (const [what, answer] of Object.entries(NO_KEY_SETS)) {
  Deno.test(`find() takes ${what} for no key set, and keeps the keys that it has`, async () => {
    const { provider, keys, clock } = open();
    await using _ = provider;
    await find(keys, "first");
    provider.answer = answer;
    clock.advance(PROVIDER.keySetFreshMs);
    await find(keys, "first");
    await settled(keys, provider, 2);
    await find(keys, "first");
    await assert.rejects(find(keys, "second"), unavailable);
    assert.deepEqual([...new Set(provider.asked.map(({ path }) => path))], ["/keys"]);
  });
}
