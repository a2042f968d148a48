/** Tests of the listener that is opened again when it is lost. */
import assert from "node:assert/strict";
import { KeptListener, type Listening } from "../../lib/server/kept_listener.ts";
import { eventually } from "../support/eventually.ts";
import { ManualClock } from "../support/manual_clock.ts";

/** Listens on port 1234 wherever it is told to, until it is lost. */
class FakeListening implements Listening {
  readonly addr: Deno.NetAddr = { transport: "tcp", hostname: "127.0.0.1", port: 1_234 };
  readonly #finished = Promise.withResolvers<void>();
  readonly finished = this.#finished.promise;

  lose(): void {
    this.#finished.reject(new Error("Too many open files (os error 24)"));
  }

  shutdown(): Promise<void> {
    this.#finished.resolve();
    return Promise.resolve();
  }
}

/** A listener, all that it opened, and whether it can open another one. */
function keep() {
  const clock = new ManualClock();
  const ports: (number | null)[] = [];
  const opened: FakeListening[] = [];
  const state = { canOpen: true, outcome: "" };
  const listener = new KeptListener(clock, (port) => {
    ports.push(port);
    if (!state.canOpen) throw new Error("no more files");
    const listening = new FakeListening();
    opened.push(listening);
    return listening;
  });
  listener.finished.then(() => state.outcome = "finished", (error) => state.outcome = error.message);
  return { clock, ports, opened, state, listener };
}

Deno.test("a listener that is lost is opened again on its port, as often as that happens", async () => {
  const { clock, ports, opened, state, listener } = keep();
  for (let times = 1; times <= 5; times++) {
    opened.at(-1)?.lose();
    await eventually("it is open again", () => {
      clock.advance(1_600);
      return opened.length > times;
    });
  }
  assert.deepEqual(ports, [null, ...Array.from({ length: 5 }, () => 1_234)]);
  assert.equal(state.outcome, "");
  await listener.shutdown();
  await eventually("the end", () => state.outcome === "finished");
});

Deno.test("a listener that can't be opened again for long is lost for good, and tells why", async () => {
  const { clock, ports, opened, state } = keep();
  state.canOpen = false;
  opened[0]?.lose();
  await eventually("the end", () => {
    clock.advance(1_600);
    return state.outcome !== "";
  });
  assert.equal(state.outcome, "no more files");
  assert.ok(clock.monotonic() > 10_000, `after ${clock.monotonic()} ms`);
  assert.equal(ports.length, 31);
});

Deno.test("a listener that is shut down while it is lost is not opened again", async () => {
  const { clock, opened, state, listener } = keep();
  opened[0]?.lose();
  await listener.shutdown();
  await eventually("the end", () => {
    clock.advance(1_600);
    return state.outcome !== "";
  });
  assert.equal(state.outcome, "finished");
  assert.equal(opened.length, 1);
});

Deno.test("a listener that can't be opened the first time throws", () => {
  assert.throws(() =>
    new KeptListener(new ManualClock(), () => {
      throw new Error("in use");
    }), /in use/);
});
