/**
 * Tests of the budgets: never more than was saved up and came in, and a wait that is true.
 * @module
 */
import assert from "node:assert/strict";
import fc from "../support/fast_check.ts";
import { Budget } from "../../lib/budget.ts";
import { loadConfig } from "../../lib/config.ts";
import { RequestError } from "../../lib/errors.ts";
import { QUEUES } from "../../lib/limits.ts";
import { createRateLimits } from "../../lib/service/rate_limits.ts";
import { ManualClock } from "../support/manual_clock.ts";

/** How long a taker is told to wait; 0 if it got what it wanted. */
function waitOf(take: () => void): number {
  try {
    take();
    return 0;
  } catch (error) {
    assert.ok(error instanceof RequestError);
    assert.equal(error.error, "rate_limited");
    assert.ok(error.description.endsWith(`try again in ${error.retryAfterMs} ms`), error.description);
    return error.retryAfterMs ?? assert.fail("a wait is told");
  }
}

Deno.test("take() lets a full bucket go, then as much as comes in", () => {
  const clock = new ManualClock();
  const budget = new Budget({ perSecond: 2, burst: 5 }, "things", clock);
  for (let i = 0; i < 5; i++) budget.take("a");
  assert.equal(waitOf(() => budget.take("a")), 500);
  clock.advance(250);
  assert.equal(waitOf(() => budget.take("a")), 250);
  clock.advance(250);
  assert.equal(waitOf(() => budget.take("a")), 0);
  clock.advance(3_600_000);
  for (let i = 0; i < 5; i++) budget.take("a");
  assert.equal(waitOf(() => budget.take("a", 2)), 1_000, "no more than the burst is saved up");
});

Deno.test("charge() overdraws a bucket, which is then refilled like any other", () => {
  const clock = new ManualClock();
  const budget = new Budget({ perSecond: 2, burst: 5 }, "things", clock);
  budget.charge("a", 9);
  assert.equal(waitOf(() => budget.take("a")), 2_500);
  clock.advance(2_500);
  assert.equal(waitOf(() => budget.take("a")), 0);
  const unlimited = new Budget(null, "things", clock);
  unlimited.charge("a", 9);
  assert.equal(waitOf(() => unlimited.take("a")), 0);
});

Deno.test("indebt() has a bucket owe what it holds several times, once until it is paid off", () => {
  const clock = new ManualClock();
  const budget = new Budget({ perSecond: 2, burst: 5 }, "things", clock);
  budget.take("a", 3);
  budget.indebt("a", 2);
  assert.equal(budget.waitForHalfMs("a"), (10 + 2.5) / 2 * 1_000);
  clock.advance(1_000);
  budget.indebt("a", 2);
  assert.equal(waitOf(() => budget.take("a")), (10 - 2 + 1) / 2 * 1_000);
  clock.advance(4_500);
  budget.indebt("a", 2);
  assert.equal(waitOf(() => budget.take("a")), 5_500);
  const unlimited = new Budget(null, "things", clock);
  unlimited.indebt("a", 2);
  assert.equal(waitOf(() => unlimited.take("a")), 0);
});

Deno.test("take() takes nothing when it refuses, and require() takes nothing ever", () => {
  const budget = new Budget({ perSecond: 1, burst: 3 }, "things", new ManualClock());
  budget.take("a", 2);
  assert.equal(waitOf(() => budget.take("a", 2)), 1_000);
  for (let i = 0; i < 5; i++) budget.require("a", 1);
  assert.equal(waitOf(() => budget.require("a", 3)), 2_000);
  budget.take("a", 1);
});

Deno.test("take() of more than a bucket holds goes through when the bucket is full, and is paid off after", () => {
  const clock = new ManualClock();
  const budget = new Budget({ perSecond: 1, burst: 4 }, "things", clock);
  budget.take("a", 10);
  assert.equal(waitOf(() => budget.take("a", 1)), 7_000);
  clock.advance(7_000);
  budget.take("a", 1);
  assert.equal(waitOf(() => budget.take("a", 10)), 4_000);
});

Deno.test("take() keeps one bucket for each key", () => {
  const budget = new Budget({ perSecond: 1, burst: 1 }, "things", new ManualClock());
  budget.take("a");
  budget.take("b");
  assert.equal(waitOf(() => budget.take("a")), 1_000);
});

Deno.test("take() goes by the clock that never steps", () => {
  const clock = new ManualClock();
  const budget = new Budget({ perSecond: 1, burst: 1 }, "things", clock);
  budget.take("a");
  clock.step(3_600_000);
  assert.equal(waitOf(() => budget.take("a")), 1_000);
  clock.step(-7_200_000);
  clock.advance(1_000);
  budget.take("a");
});

Deno.test("take() without a rate never refuses", () => {
  const budget = new Budget(null, "things", new ManualClock());
  for (let i = 0; i < 10_000; i++) budget.take("a", 1_000);
  assert.equal(budget.size, 0);
});

Deno.test("take() never lets more go than the burst and what came in, and the wait it tells is enough", () => {
  const step = fc.record({ afterMs: fc.nat({ max: 3_000 }), cost: fc.integer({ min: 1, max: 8 }) });
  const rate = fc.record({
    perSecond: fc.constantFrom(0.1, 1, 3, 200),
    burst: fc.integer({ min: 8, max: 40 }),
  });
  fc.assert(fc.property(rate, fc.array(step, { maxLength: 100 }), (rate, steps) => {
    const clock = new ManualClock();
    const budget = new Budget(rate, "things", clock);
    let taken = 0;
    for (const { afterMs, cost } of steps) {
      clock.advance(afterMs);
      const wait = waitOf(() => budget.take("a", cost));
      if (wait === 0) taken += cost;
      else if (cost % 2 === 0) {
        clock.advance(wait + 1); // one more, since fractions are not exact
        assert.equal(waitOf(() => budget.take("a", cost)), 0, "after the wait it goes");
        taken += cost;
      }
      const allowed = rate.burst + (clock.monotonic() / 1_000) * rate.perSecond;
      assert.ok(taken <= allowed + 1e-6, `${taken} of ${allowed}`);
    }
  }));
});

Deno.test("sweep() forgets the buckets that are full again, and no other", () => {
  const clock = new ManualClock();
  const budget = new Budget({ perSecond: 1, burst: 10 }, "things", clock);
  budget.take("a", 2);
  budget.take("b", 5);
  clock.advance(2_000);
  budget.sweep();
  assert.equal(budget.size, 1);
  assert.equal(waitOf(() => budget.take("b", 10)), 3_000);
});

Deno.test("take() keeps a bounded number of buckets", () => {
  const budget = new Budget({ perSecond: 1, burst: 1 }, "things", new ManualClock());
  for (let i = 0; i <= QUEUES.bucketsMax; i++) budget.take(String(i));
  assert.equal(budget.size, QUEUES.bucketsMax);
  assert.equal(waitOf(() => budget.take(String(QUEUES.bucketsMax))), 1_000, "the newest is kept");
});

Deno.test("createRateLimits() gives each budget its own setting and name", () => {
  const limits = createRateLimits(
    loadConfig({
      RATE_SENDS: "1/s:1",
      RATE_PAIR: "1/s:2",
      RATE_PREKEYS: "1/s:3",
      RATE_CLAIMS: "1/s:4",
      RATE_REQUESTS: "1/s:5",
      RATE_REFUSALS: "1/s:6",
    }),
    new ManualClock(),
  );
  const { sends, pair, preKeys, claims, requests, refusals } = limits;
  const budgets = [sends, pair, preKeys, claims, requests, refusals];
  budgets.forEach((budget, i) => {
    budget.take("a", i + 1);
    assert.equal(waitOf(() => budget.take("a")), 1_000);
  });
});

Deno.test("require() makes no bucket, so that what is refused can't push the buckets of others out", () => {
  const budget = new Budget({ perSecond: 1, burst: 3 }, "things", new ManualClock());
  for (let i = 0; i < 100; i++) budget.require(`${i}`, 3);
  assert.equal(budget.size, 0);
});

Deno.test("claim() takes or tells the wait, waitMs() takes nothing, and waitForHalfMs() looks for half a bucket", () => {
  const clock = new ManualClock();
  const budget = new Budget({ perSecond: 1, burst: 10 }, "things", clock);
  assert.equal(budget.waitForHalfMs("a"), 0);
  assert.equal(budget.claim("a", 10), 0);
  assert.equal(budget.claim("a"), 1_000);
  assert.equal(budget.waitMs("a", 2), 2_000);
  assert.equal(budget.waitForHalfMs("a"), 5_000);
  clock.advance(5_000);
  assert.equal(budget.waitForHalfMs("a"), 0);
  assert.equal(budget.claim("a", 5), 0);
  assert.equal(new Budget(null, "things", clock).waitForHalfMs("a"), 0);
});
