/** Tests of the books that the soak keeps: every fault that they are there for is found, and no other. */
import assert from "node:assert/strict";
import { Claims } from "../../scripts/soak/key_ring.ts";
import { Lane } from "../../scripts/soak/lane.ts";
import { Latencies } from "../../scripts/soak/latencies.ts";
import { count, type Fault, Tally } from "../../scripts/soak/tally.ts";

/** Later than any grace. */
const LATER_MS = 60_000;

/** A lane on which so many were sent and, but for those that are named, accepted. */
function laneOf(sent: number, notAccepted: readonly number[] = []) {
  const tally = new Tally();
  const lane = new Lane("a", 1, tally);
  for (let n = 0; n < sent; n++) {
    lane.next(1, performance.now());
    if (!notAccepted.includes(n)) lane.accepted(n);
  }
  /** The faults, with those that only show at the end. */
  const faults = () => {
    lane.audit();
    const found = Object.entries(tally.faults).filter(([, times]) => times > 0);
    return Object.fromEntries(found) as Partial<Record<Fault, number>>;
  };
  return { lane, tally, faults };
}

Deno.test("a lane on which all goes well has no fault", () => {
  const { lane, tally, faults } = laneOf(3_000);
  for (let n = 0; n < 3_000; n++) assert.equal(lane.delivered(n), true);
  assert.equal(lane.isDelivered, true);
  assert.deepEqual(faults(), {});
  assert.deepEqual([tally.sent, tally.accepted, tally.delivered, tally.cameAgain], [3_000, 3_000, 3_000, 0]);
});

Deno.test("what was accepted and never came is lost", () => {
  const { lane, faults } = laneOf(3);
  lane.delivered(0);
  assert.equal(lane.isDelivered, false);
  assert.deepEqual(faults(), { lost: 2 });
});

Deno.test("what came before it was accepted is not lost", () => {
  const { lane, faults } = laneOf(1, [0]);
  lane.delivered(0);
  lane.accepted(0);
  assert.equal(lane.isDelivered, true);
  assert.deepEqual(faults(), {});
});

Deno.test("what comes after a later one is out of order, unless it was refused and sent again", () => {
  const { lane, faults } = laneOf(3);
  lane.refused(0);
  for (const n of [2, 0, 1]) lane.delivered(n);
  assert.deepEqual(faults(), { reordered: 2 }); // 1 behind 2: on this connection, and for the first time
});

Deno.test("what comes again on another connection is in order there", () => {
  const { lane, tally, faults } = laneOf(3);
  for (const n of [0, 1]) lane.delivered(n);
  lane.connected();
  for (const n of [0, 1, 2]) lane.delivered(n);
  assert.deepEqual(faults(), {});
  assert.equal(tally.cameAgain, 2);
});

Deno.test("what comes again after its Ack was durable is a duplicate, and nothing else is", () => {
  const { lane, tally, faults } = laneOf(3);
  lane.delivered(0);
  lane.acknowledged(0);
  const answeredUntil = performance.now() + 1;
  lane.settleAcks(answeredUntil, performance.now() + LATER_MS);
  lane.delivered(1);
  lane.acknowledged(1);
  lane.settleAcks(Number.NEGATIVE_INFINITY, performance.now() + LATER_MS); // nothing was answered after it
  count(tally.errors, 109);
  lane.settleAcks(performance.now() + 1, performance.now() + LATER_MS); // the server was behind
  lane.connected();
  for (const n of [0, 1]) lane.delivered(n);
  assert.deepEqual(faults(), { duplicated: 1, lost: 1 });
});

Deno.test("a gap in what version 1 did not hear back about is found", () => {
  const { lane, faults } = laneOf(3, [1, 2]);
  lane.delivered(0);
  lane.delivered(2);
  assert.deepEqual(faults(), { leftOut: 1 });
});

Deno.test("what was never sent is mangled", () => {
  const { lane, faults } = laneOf(1);
  lane.delivered(0);
  assert.equal(lane.delivered(1), false);
  assert.deepEqual(faults(), { mangled: 1 });
});

Deno.test("a prekey that two claims get, and a claim that gets two, are found", () => {
  const tally = new Tally();
  const claims = new Claims(tally);
  const key = (n: number) => new Uint8Array(33).fill(n, 7, 8);
  const [first, second] = [claims.next(), claims.next()];
  claims.given(first, key(1));
  claims.given(first, key(1));
  claims.given(claims.next(), null);
  assert.equal(tally.faultCount, 0);
  claims.given(second, key(1));
  claims.given(first, key(2));
  assert.deepEqual([tally.faults.keysTwice, tally.faults.claimsChanged], [1, 1]);
  assert.equal(tally.cases.length, 2);
});

Deno.test("quantiles are right to 5 %, and the longest exactly", () => {
  const latencies = new Latencies();
  for (let ms = 1; ms <= 1_000; ms++) latencies.add(ms);
  for (const share of [0.01, 0.5, 0.99]) {
    const expected = share * 1_000;
    const found = latencies.quantile(share);
    assert.ok(found >= expected && found <= expected * 1.06, `${share}: ${found}`);
  }
  assert.equal(latencies.longest, 1_000);
  assert.equal(latencies.quantile(1), 1_000);
  assert.ok(Number.isNaN(new Latencies().quantile(0.5)));
});
