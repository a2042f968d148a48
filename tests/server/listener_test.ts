/**
 * Tests of the listener that comes back; `tests/process/descriptors_test.ts` has a real loss.
 * @module
 */
import assert from "node:assert/strict";
import { Listener } from "../../lib/server/listener.ts";
import { ManualClock } from "../support/manual_clock.ts";

const ADDRESS: Deno.NetAddr = { transport: "tcp", hostname: "127.0.0.1", port: 4711 };

/** A platform whose listeners can be lost, and that can refuse to give another. */
class Platform {
  /** The ports that were asked for. */
  readonly asked: (number | undefined)[] = [];
  refuses = false;
  lost = 0;
  #current = Promise.withResolvers<void>();

  readonly listen = (port?: number) => {
    this.asked.push(port);
    if (this.refuses) throw new Error("the address is in use");
    const current = this.#current = Promise.withResolvers<void>();
    const shutdown = () => Promise.resolve(current.resolve());
    return { addr: ADDRESS, finished: current.promise, shutdown };
  };

  /** Takes the listener away. */
  async lose(): Promise<void> {
    this.#current.reject(new Error("too many open files"));
    await turn();
  }
}

const turn = () => new Promise((resolve) => setTimeout(resolve, 0));

function start() {
  const platform = new Platform();
  const clock = new ManualClock();
  const listener = new Listener(platform.listen, clock, () => platform.lost++);
  let ended: string | null = null;
  listener.finished.then(() => ended = "stopped", (error) => ended = String(error.message));
  return { platform, clock, listener, ended: () => ended };
}

Deno.test("a listener that is lost is had again on the same port, as often as that happens", async () => {
  const { platform, clock, listener, ended } = start();
  for (let i = 1; i <= 3; i++) {
    await platform.lose();
    assert.equal(platform.lost, i);
    assert.equal(platform.asked.length, i, "not at once: whatever took it may take the next");
    clock.advance(500);
    await turn();
    assert.deepEqual(platform.asked.at(-1), ADDRESS.port);
  }
  assert.equal(platform.asked.length, 4);
  assert.equal(ended(), null);
  await listener.shutdown();
  await turn();
  assert.equal(ended(), "stopped");
});

Deno.test("a listener that can't be had again within a minute is told as lost for good", async () => {
  const { platform, clock, ended } = start();
  platform.refuses = true;
  await platform.lose();
  for (let i = 0; i < 119; i++) {
    clock.advance(500);
    await turn();
  }
  assert.equal(ended(), null);
  clock.advance(500);
  await turn();
  assert.equal(ended(), "the address is in use");
  assert.equal(platform.asked.length, 121);
});

Deno.test("shutdown() while the listener is lost ends the search for another", async () => {
  const { platform, clock, listener, ended } = start();
  await platform.lose();
  await listener.shutdown();
  clock.advance(500);
  await turn();
  assert.equal(ended(), "stopped");
  assert.equal(platform.asked.length, 1);
});
