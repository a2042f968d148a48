/**
 * Tests of timers and deadlines.
 * @module
 */
import assert from "node:assert/strict";
import { sleep, systemClock, withDeadline } from "../lib/clock.ts";
import { ManualClock } from "./support/manual_clock.ts";

const DAY_MS = 86_400_000;

/** Runs `test` with timers of the machine that the test moves. */
function withMachineTimers(test: (advance: (ms: number) => void) => void): void {
  const { setTimeout, clearTimeout } = globalThis;
  const { now } = performance;
  const clock = new ManualClock();
  const timers = new Map<number, { cancel(): void }>();
  let id = 0;
  Object.assign(globalThis, {
    // As the machine does it: what is beyond its range fires at once.
    setTimeout(callback: () => void, delayMs: number) {
      timers.set(++id, clock.setTimer(delayMs > 2 ** 31 - 1 ? 1 : delayMs, callback));
      return id;
    },
    clearTimeout: (id: number) => timers.get(id)?.cancel(),
  });
  performance.now = () => clock.monotonic();
  try {
    test((ms) => clock.advance(ms));
  } finally {
    Object.assign(globalThis, { setTimeout, clearTimeout });
    performance.now = now;
  }
}

Deno.test("setTimer() runs a callback once, after its delay", () => {
  withMachineTimers((advance) => {
    let calls = 0;
    systemClock.setTimer(1_000, () => calls++);
    advance(999);
    assert.equal(calls, 0);
    advance(1);
    assert.equal(calls, 1);
    advance(10_000);
    assert.equal(calls, 1);
  });
});

// A token may be good for 30 days, which is more than `setTimeout` takes: it would fire at once.
Deno.test("setTimer() waits for delays beyond those of setTimeout", () => {
  withMachineTimers((advance) => {
    let calls = 0;
    systemClock.setTimer(60 * DAY_MS, () => calls++);
    advance(60 * DAY_MS - 1);
    assert.equal(calls, 0);
    advance(1);
    assert.equal(calls, 1);
  });
});

Deno.test("cancel() calls a timer off, a long one also after it was armed again", () => {
  withMachineTimers((advance) => {
    let calls = 0;
    const short = systemClock.setTimer(1_000, () => calls++);
    const long = systemClock.setTimer(60 * DAY_MS, () => calls++);
    short.cancel();
    advance(30 * DAY_MS);
    long.cancel();
    advance(60 * DAY_MS);
    assert.equal(calls, 0);
    long.cancel();
  });
});

Deno.test("setTimer() takes a delay that is over for none", async () => {
  await new Promise<void>((resolve) => systemClock.setTimer(-5, resolve));
});

Deno.test("now() is the wall clock, and monotonic() never goes back", () => {
  assert.ok(Math.abs(systemClock.now() - Date.now()) < 1_000);
  const before = systemClock.monotonic();
  assert.ok(systemClock.monotonic() >= before);
});

Deno.test("sleep() waits on the clock that it is given", async () => {
  const clock = new ManualClock();
  let isOver = false;
  const sleeping = sleep(clock, 100).then(() => isOver = true);
  clock.advance(99);
  await Promise.resolve();
  assert.equal(isOver, false);
  clock.advance(1);
  await sleeping;
});

Deno.test("withDeadline() passes on what comes in time, and leaves no timer behind", async () => {
  const clock = new ManualClock();
  assert.equal(await withDeadline(clock, Promise.resolve("work"), 100, "late"), "work");
  await assert.rejects(withDeadline(clock, Promise.reject(new Error("bad")), 100, "late"), /bad/);
  // With the machine's clock, the test would fail for a timer that is left behind.
  assert.equal(await withDeadline(systemClock, Promise.resolve("work"), 3_600_000, "late"), "work");
});

Deno.test("withDeadline() tells that work is late, and drops what comes after", async () => {
  for (const outcome of ["work", new Error("bad")]) {
    const clock = new ManualClock();
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const result = withDeadline(clock, promise, 100, "late");
    clock.advance(100);
    assert.equal(await result, "late");
    if (outcome instanceof Error) reject(outcome);
    else resolve(outcome);
    await Promise.resolve();
  }
});
