/**
 * Tests of how it is found out who keeps the process busy with what no session sees.
 * @module
 */
import assert from "node:assert/strict";
import { Budget } from "../../lib/budget.ts";
import { PresentUsers } from "../../lib/server/present_users.ts";
import { type Done, UnseenWork } from "../../lib/server/unseen_work.ts";
import { ManualClock } from "../support/manual_clock.ts";

/** A process whose load is that of its guilty users, as long as they are there. */
class Process {
  readonly away = new Set<string>();
  readonly sentAway: string[] = [];
  readonly watch: UnseenWork;
  /** What honest users do in a second: so many things, which take so many milliseconds. */
  honest = { things: 200, busyMs: 20 };
  #done: Done = { busyMs: 0, things: 0 };
  #now = 0;

  /** @param users by how many connections they have. */
  constructor(readonly users: readonly string[], readonly guilty: ReadonlySet<string>, tells = true) {
    this.watch = new UnseenWork(() => tells ? this.#done : null, {
      busiest: (tried) => users.find((user) => !tried.has(user)) ?? null,
      sendAway: (user) => {
        this.away.add(user);
        this.sentAway.push(user);
        return () => this.away.delete(user);
      },
    });
    this.watch.look(this.#now);
  }

  pass(seconds: number): void {
    for (let i = 0; i < seconds; i++) {
      const isFlooded = [...this.guilty].some((user) => this.users.includes(user) && !this.away.has(user));
      const { things, busyMs } = this.honest;
      this.#done = {
        busyMs: this.#done.busyMs + busyMs + (isFlooded ? 900 : 0),
        things: this.#done.things + things,
      };
      this.#now += 1_000;
      this.watch.look(this.#now);
    }
  }
}

Deno.test("look() sends a user away who keeps the process busy for three looks, and keeps it out", () => {
  const process = new Process(["mallory", "bob"], new Set(["mallory"]));
  process.pass(2);
  assert.deepEqual(process.sentAway, []);
  process.pass(1);
  assert.deepEqual(process.sentAway, ["mallory"]);
  process.pass(100);
  assert.deepEqual([...process.away], ["mallory"]);
  assert.deepEqual(process.sentAway, ["mallory"]);
});

Deno.test("look() lets those back in who were not it, and goes on to the next", () => {
  const process = new Process(["alice", "bob", "mallory", "carol"], new Set(["mallory"]));
  process.pass(100);
  assert.deepEqual(process.sentAway, ["alice", "bob", "mallory"]);
  assert.deepEqual([...process.away], ["mallory"]);
});

Deno.test("look() gives up after five users, for ten minutes", () => {
  const users = Array.from({ length: 20 }, (_, i) => `user ${i}`);
  const process = new Process([...users, "mallory"], new Set(["mallory"]));
  process.pass(600);
  assert.deepEqual(process.sentAway, users.slice(0, 5));
  assert.deepEqual([...process.away], []);
  process.pass(60);
  assert.equal(process.sentAway.length, 10);
});

Deno.test("look() finds nothing wrong with work that can be seen, however much, nor with a short burst", () => {
  const process = new Process(["alice"], new Set());
  process.honest = { things: 1_000, busyMs: 950 };
  process.pass(60);
  process.honest = { things: 0, busyMs: 390 };
  process.pass(60);
  for (let i = 0; i < 20; i++) {
    process.honest = { things: 0, busyMs: i % 3 === 2 ? 10 : 900 };
    process.pass(1);
  }
  assert.deepEqual(process.sentAway, []);
});

Deno.test("look() does nothing where the platform does not tell how busy the thread is", () => {
  const process = new Process(["mallory"], new Set(["mallory"]), false);
  process.pass(60);
  assert.deepEqual(process.sentAway, []);
});

Deno.test("sendAway() closes all connections of the user with the most, who owes until it is let back in", () => {
  const clock = new ManualClock();
  const refusals = new Budget({ perSecond: 1, burst: 10 }, "refusals", clock);
  const closed: string[] = [];
  const sessions = new Set(["a/1", "b/1", "b/2", "c/1"].map((name) => {
    const [userId = "", deviceId = ""] = name.split("/");
    const address = { userId, deviceId: Number(deviceId) };
    return { address, close: (code: number) => void closed.push(`${name} ${code}`) };
  }));
  const users = new PresentUsers(sessions, refusals);
  assert.equal(users.busiest(new Set()), "b");
  assert.ok(["a", "c"].includes(users.busiest(new Set(["b"])) ?? ""));
  assert.equal(users.busiest(new Set(["a", "b", "c"])), null);
  const letBack = users.sendAway("b");
  assert.deepEqual(closed, ["b/1 4429", "b/2 4429"]);
  assert.ok(refusals.waitForHalfMs("b") > 0);
  letBack();
  assert.equal(refusals.waitForHalfMs("b"), 0);
  refusals.indebt("a", 2);
  users.sendAway("a")();
  assert.ok(refusals.waitForHalfMs("a") > 0, "what is owed for something else stays owed");
});
