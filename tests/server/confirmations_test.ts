/**
 * Tests of asking again about the tokens of open connections: what closes one, when, and what does not.
 * @module
 */
import assert from "node:assert/strict";
import { AuthenticationError, AuthenticationUnavailable, type Identity } from "../../lib/identity/mod.ts";
import { PROVIDER } from "../../lib/limits.ts";
import { Confirmations, type Confirmed } from "../../lib/server/confirmations.ts";
import { ManualClock } from "../support/manual_clock.ts";

const USER = "3f0c7e0a-91d4-4b6e-8a57-2d1c9e6f7b10";

/** A connection that remembers how it was closed. */
class Connection implements Confirmed {
  expiresAt: number | null = 1;
  readonly closed: string[] = [];

  close(code: number, reason: string): void {
    this.closed.push(`${code} ${reason}`);
  }
}

/** A watched connection whose token `answer` decides on. */
class Watch {
  readonly clock = new ManualClock();
  readonly connection = new Connection();
  readonly confirmations = new Confirmations(this.clock);
  asked = 0;

  constructor(public answer: () => Promise<Partial<Identity>> = () => Promise.resolve({})) {
    const good = { userId: USER, deviceId: null, expiresAt: 1 };
    const confirm = async () => {
      this.asked++;
      return { ...good, ...await this.answer() };
    };
    this.confirmations.watch(this.connection, { ...good, confirm });
  }

  /** Lets time pass, second by second, and everything that comes of it happen. */
  async pass(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += 1_000) {
      this.clock.advance(1_000);
      this.confirmations.tick(this.clock.monotonic());
      for (let turn = 0; turn < 20; turn++) await Promise.resolve();
    }
  }
}

const unavailable = () => Promise.reject(new AuthenticationUnavailable("nobody can tell", 3));
const revoked = () => Promise.reject(new AuthenticationError("the token is not active"));

Deno.test("a token is asked about every 60 to 75 s, and its end may move", async () => {
  const watch = new Watch(() => Promise.resolve({ expiresAt: 7 }));
  await watch.pass(PROVIDER.confirmMs - 1_000);
  assert.equal(watch.asked, 0);
  await watch.pass(PROVIDER.confirmMs / 4 + 1_000);
  assert.equal(watch.asked, 1);
  assert.equal(watch.connection.expiresAt, 7);
  await watch.pass(10 * PROVIDER.confirmMs);
  assert.ok(watch.asked >= 8 && watch.asked <= 11, `${watch.asked}`);
  assert.deepEqual(watch.connection.closed, []);
});

Deno.test("a token that was revoked closes its connection with 4401, once", async () => {
  const watch = new Watch(revoked);
  await watch.pass(1.25 * PROVIDER.confirmMs);
  assert.deepEqual(watch.connection.closed, ["4401 the token was revoked or has expired"]);
  await watch.pass(10 * PROVIDER.confirmMs);
  assert.deepEqual([watch.connection.closed.length, watch.asked, watch.confirmations.size], [1, 1, 0]);
});

for (const change of [{ userId: crypto.randomUUID() }, { deviceId: 1 }]) {
  Deno.test(`a token that speaks for another ${Object.keys(change)[0]} by now closes its connection`, async () => {
    const watch = new Watch(() => Promise.resolve(change));
    await watch.pass(1.25 * PROVIDER.confirmMs);
    assert.deepEqual(watch.connection.closed, ["4401 the token is for somebody else by now"]);
  });
}

Deno.test("a provider that is gone for a while closes nothing, and is asked again soon", async () => {
  const watch = new Watch(unavailable);
  await watch.pass(PROVIDER.unconfirmedMs - 20_000);
  assert.deepEqual(watch.connection.closed, []);
  assert.ok(watch.asked > 50, `${watch.asked}`);
  watch.answer = () => Promise.resolve({});
  await watch.pass(15_000);
  watch.answer = unavailable;
  await watch.pass(PROVIDER.unconfirmedMs - 20_000);
  assert.deepEqual(watch.connection.closed, [], "the time runs from the last yes");
  watch.answer = revoked;
  await watch.pass(13_000);
  assert.equal(watch.connection.closed.length, 1);
});

Deno.test("a provider that is gone for 15 min closes with 4401, also if it hangs or fails oddly", async () => {
  const answers = [
    unavailable,
    () => new Promise<never>(() => {}),
    () => Promise.reject(new TypeError("a fault")),
  ];
  for (const answer of answers) {
    const watch = new Watch(answer);
    await watch.pass(PROVIDER.unconfirmedMs - 1_000);
    assert.deepEqual(watch.connection.closed, []);
    await watch.pass(1_000);
    assert.deepEqual(watch.connection.closed, ["4401 the token could not be confirmed for too long"]);
  }
});

Deno.test("a question that takes long is not asked twice", async () => {
  const watch = new Watch(() => new Promise(() => {}));
  await watch.pass(5 * PROVIDER.confirmMs);
  assert.equal(watch.asked, 1);
});

Deno.test("a connection that has ended is not asked about, nor closed by a late answer", async () => {
  const { promise, reject } = Promise.withResolvers<never>();
  const watch = new Watch(() => promise);
  await watch.pass(1.25 * PROVIDER.confirmMs);
  watch.confirmations.leave(watch.connection);
  reject(new AuthenticationError("the token is not active"));
  await watch.pass(10 * PROVIDER.confirmMs);
  assert.deepEqual([watch.asked, watch.confirmations.size, watch.connection.closed.length], [1, 0, 0]);
});

Deno.test("a token that can't be revoked is not watched", () => {
  const confirmations = new Confirmations(new ManualClock());
  confirmations.watch(new Connection(), { userId: USER, deviceId: null, expiresAt: 1 });
  assert.equal(confirmations.size, 0);
});
