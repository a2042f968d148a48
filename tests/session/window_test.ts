/**
 * Tests of the window: what takes a place in it, and which message the end of a connection counts.
 * @module
 */
import assert from "node:assert/strict";
import { DELIVERY, QUEUES } from "../../lib/limits.ts";
import { Window } from "../../lib/session/window.ts";
import { newEntry } from "../service/open_core.ts";

/** What happens to messages 1, 2, …, each delivered under its number. */
type Step = readonly ["deliver" | "acknowledge" | "refuse" | "deliverAside", number];

/** The number of the message that the end of the connection counts; `null` if none. */
function counted(steps: readonly Step[]): number | null {
  const window = new Window();
  const entries = new Map<unknown, number>();
  for (const [what, n] of steps) {
    if (what === "acknowledge") window.acknowledge(n);
    else if (what === "refuse") window.refuse(n);
    else {
      const entry = newEntry("an epoch", what === "deliverAside" ? { isAside: true } : {});
      entries.set(entry, n);
      window.add(n, entry, true);
    }
  }
  const { notDealtWith } = window;
  return notDealtWith === null ? null : entries.get(notDealtWith) ?? -1;
}

const three: Step[] = [["deliver", 1], ["deliver", 2], ["deliver", 3]];

for (
  const [what, steps, expected] of [
    ["nothing was delivered", [], null],
    ["nothing was acknowledged: the client may have had no time", three, null],
    ["those before it were acknowledged", [...three, ["acknowledge", 1], ["acknowledge", 2]], null],
    ["a later one was acknowledged", [...three, ["acknowledge", 2]], 1],
    ["a later one was acknowledged, and one that came afterwards is not", [...three, ["acknowledge", 3]], 1],
    ["everything was acknowledged, in whatever order", [
      ...three,
      ["acknowledge", 3],
      ["acknowledge", 1],
      ["acknowledge", 2],
    ], null],
    ["it was acknowledged after a later one, and the next was not", [
      ...three,
      ["acknowledge", 2],
      ["acknowledge", 1],
    ], null],
    ["it was refused", [...three, ["refuse", 1]], 1],
    ["another one was refused", [...three, ["refuse", 2]], null],
    ["the oldest of what is left was refused", [...three, ["refuse", 2], ["acknowledge", 1]], 2],
    ["several were refused, the oldest last", [...three, ["refuse", 3], ["refuse", 2], ["refuse", 1]], 1],
    ["it was refused, then acknowledged", [...three, ["refuse", 1], ["acknowledge", 1]], null],
    [
      "what was moved behind is not acknowledged",
      [["deliver", 1], ["deliverAside", 2], ["acknowledge", 1]],
      null,
    ],
    ["what was moved behind is acknowledged, and nothing else", [...three, ["deliverAside", 4], [
      "acknowledge",
      4,
    ]], null],
    ["what was moved behind is refused", [["deliverAside", 1], ["refuse", 1]], null],
  ] as readonly (readonly [string, Step[], number | null])[]
) {
  const whom = expected === null ? "no message" : `message ${expected}`;
  Deno.test(`the end of a connection counts ${whom} if ${what}`, () =>
    assert.equal(counted(steps), expected));
}

Deno.test("a refused message gives its place up, as long as those that did are few, and is known until acknowledged", () => {
  const window = new Window();
  const { refusedMessagesMax, refusedBytesMax } = DELIVERY;
  const small = Array.from(
    { length: refusedMessagesMax + 5 },
    () => newEntry("e", { ciphertext: new Uint8Array(1) }),
  );
  small.forEach((entry, n) => {
    window.add(n + 1, entry, true);
    window.refuse(n + 1);
    window.refuse(n + 1);
  });
  assert.deepEqual([window.size, window.known], [5, small.length]);
  assert.ok(small.every(({ idKey }) => window.has(idKey)));
  assert.equal(window.acknowledge(1)?.entry, small[0]);
  window.refuse(small.length);
  assert.deepEqual([window.size, window.known], [4, small.length - 1], "it made room for another one");
  window.clear();
  assert.deepEqual([window.size, window.known, window.notDealtWith], [0, 0, null]);
  const large = Math.floor(refusedBytesMax / 60_000);
  for (let n = 1; n <= large + 3; n++) {
    window.add(n, newEntry("e", { ciphertext: new Uint8Array(60_000) }), true);
    window.refuse(n);
  }
  assert.deepEqual([window.size, window.known], [3, large + 3]);
});

Deno.test("what was moved behind takes no place", () => {
  const window = new Window();
  for (let n = 1; n <= QUEUES.windowMessagesMax; n++) {
    window.add(n, newEntry("e", { isAside: true, ciphertext: new Uint8Array(60_000) }), true);
  }
  assert.deepEqual([window.size, window.isFull, window.isHalfFree], [0, false, true]);
  assert.equal(window.acknowledge(7)?.entry.isAside, true);
  assert.equal(window.acknowledge(7), undefined);
  assert.equal(window.known, QUEUES.windowMessagesMax - 1);
});
