/**
 * A property of delivery under every interleaving of sends, acknowledgements, reads, commits, bells, congestion and
 * reconnections: nothing is lost, what was acknowledged does not come again, and the order is that of the sends.
 * @module
 */
import assert from "node:assert/strict";
import fc from "../support/fast_check.ts";
import type { Address } from "../../lib/address.ts";
import { QUEUES } from "../../lib/limits.ts";
import { sendMessage } from "../../lib/service/send_message.ts";
import { newAddress, newBytes, registerDevice } from "../store/open_store.ts";
import { ScriptedKv } from "../store/scripted_kv.ts";
import { openCore, outgoing, type TestCore } from "../service/open_core.ts";
import { eventually } from "../support/eventually.ts";
import { ShiftedClock } from "../support/manual_clock.ts";
import { FakeDevice } from "./fake_device.ts";

/** What may happen without further details. */
const SIMPLE = ["acknowledgeAll", "wake", "congest", "relieve", "tick", "reconnect"] as const;

/** What happens next. */
type Move =
  | { readonly kind: "send"; readonly count: number; readonly bytes: number }
  /** Some of what is under way, by its place. */
  | { readonly kind: "acknowledge"; readonly places: readonly number[] }
  | { readonly kind: "turns"; readonly count: number }
  | { readonly kind: typeof SIMPLE[number] };

const move: fc.Arbitrary<Move> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant("send" as const),
      count: fc.integer({ min: 1, max: 20 }),
      bytes: fc.constantFrom(4, 4, 4_000, 60_000),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("acknowledge" as const),
      places: fc.array(fc.nat({ max: 30 }), { maxLength: 10 }),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("turns" as const), count: fc.nat({ max: 6 }) }) },
  { weight: 8, arbitrary: fc.constantFrom(...SIMPLE).map((kind): Move => ({ kind })) },
);

/** Waits as long as the list says, one entry after the other, then from the start again. */
function delays(turns: readonly number[]): () => Promise<void> {
  let next = 0;
  return async () => {
    const count = turns.length === 0 ? 0 : turns[next++ % turns.length] ?? 0;
    await turn(count);
  };
}

const upTo = (count: number) => Array.from({ length: count }, (_, n) => n);

async function turn(count: number): Promise<void> {
  for (; count > 0; count--) await new Promise((resolve) => setTimeout(resolve, 0));
}

/** One device, a sender, and what each has seen. */
class World implements Disposable {
  #device: FakeDevice;
  #sent = 0;
  #sending: Promise<void> = Promise.resolve();
  readonly #acknowledged = new Set<number>();
  /** What the device has got on this connection: the numbers of messages, with their sequences. */
  #received: { readonly number: number; readonly sequence: number; readonly bytes: number }[] = [];
  accepted = 0;
  #fault: unknown = null;

  constructor(private readonly core: TestCore, private readonly address: Address) {
    this.#device = this.#connect();
  }

  async make(move: Move): Promise<void> {
    const { socket, session } = this.#device;
    switch (move.kind) {
      case "send":
        return upTo(move.count).forEach(() => this.#send(move.bytes));
      case "acknowledge":
        return move.places.forEach((place) => this.#acknowledge(place));
      case "acknowledgeAll":
        return this.underWay().forEach(() => this.#acknowledge(0));
      case "wake":
        return session.woken();
      case "congest":
        socket.bufferedAmount = QUEUES.outboxBytesMax + 1;
        return;
      case "relieve":
        socket.bufferedAmount = 0;
        return;
      case "tick":
        return session.tick(this.core.clock.monotonic());
      case "reconnect": {
        const before = this.#device;
        this.#device = this.#connect();
        return before[Symbol.dispose]();
      }
      case "turns":
        return await turn(move.count);
    }
  }

  /** Lets the device read and acknowledge everything, until nothing is left. */
  async finish(): Promise<void> {
    await this.#sending;
    await eventually("everything sent is acknowledged", async () => {
      for (const kind of ["relieve", "tick", "acknowledgeAll"] as const) await this.make({ kind });
      if (this.#fault !== null) throw this.#fault;
      return this.accepted === this.#sent && this.#acknowledged.size === this.#sent;
    }, 5_000);
  }

  [Symbol.dispose](): void {
    this.#device[Symbol.dispose]();
  }

  underWay() {
    return this.#received.filter(({ number }) => !this.#acknowledged.has(number));
  }

  #connect(): FakeDevice {
    this.#received = [];
    const device = new FakeDevice(this.core, this.address);
    device.socket.onSend = ({ sequence, message }) => {
      if (this.#device !== device) return; // a connection that was replaced: its client has gone
      if (message.type !== "user_message") return;
      try {
        this.#receive(sequence, message.message.ciphertext);
      } catch (error) {
        this.#fault ??= error; // the session would take it for a fault of its own
      }
    };
    return device;
  }

  #receive(sequence: number, ciphertext: Uint8Array): void {
    const number = new DataView(ciphertext.buffer, ciphertext.byteOffset).getUint32(0);
    const last = this.#received.at(-1)?.number ?? -1;
    assert.ok(number > last, `${number} comes after ${last}`);
    assert.ok(!this.#acknowledged.has(number), `${number} was acknowledged`);
    const missed = Array.from({ length: number - last - 1 }, (_, i) => last + 1 + i)
      .filter((between) => !this.#acknowledged.has(between));
    assert.deepEqual(missed, [], `before ${number}`);
    const bytes = this.underWay().reduce((sum, { bytes }) => sum + bytes, 0);
    assert.ok(bytes < QUEUES.windowBytesMax && this.underWay().length < QUEUES.windowMessagesMax, "room");
    this.#received.push({ number, sequence, bytes: ciphertext.length });
  }

  #acknowledge(place: number): void {
    const underWay = this.underWay();
    const one = underWay[place % underWay.length];
    if (one === undefined) return;
    this.#acknowledged.add(one.number);
    this.#device.acknowledge(one.sequence);
  }

  /** Sends the next message, once those before it have their places. */
  #send(bytes: number): void {
    const ciphertext = new Uint8Array(bytes);
    new DataView(ciphertext.buffer).setUint32(0, this.#sent++);
    const message = outgoing(this.address, { ciphertext });
    this.#sending = this.#sending.then(() =>
      sendMessage(this.core, { userId: this.address.userId, deviceId: 99 }, message, (error) => {
        assert.equal(error, null);
        this.accepted++;
      })
    );
  }
}

for (const isShared of [false, true]) {
  const where = isShared ? "a database that is shared" : "a database of its own";
  Deno.test(`delivery loses, repeats and reorders nothing, on ${where}`, async () => {
    const moves = fc.array(move, { minLength: 5, maxLength: 60 });
    const turns = fc.array(fc.nat({ max: 3 }), { maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(moves, turns, turns, async (moves, commitTurns, readTurns) => {
        await using scripted = await ScriptedKv.open();
        await using core = await openCore({ kv: scripted.kv, isShared, clock: new ShiftedClock() });
        const address = newAddress();
        await registerDevice(core.store, address, [newBytes()]);
        const [beforeCommit, afterCommit] = [delays(commitTurns), delays(commitTurns.toReversed())];
        scripted.onCommit = async (commit) => {
          await beforeCommit();
          const result = await commit.run();
          await afterCommit();
          return result;
        };
        scripted.beforeRow = delays(readTurns.map((turn) => Number(turn === 3)));
        scripted.afterRead = delays(readTurns);
        using world = new World(core, address);
        for (const move of moves) await world.make(move);
        await world.finish();
      }),
      { numRuns: 40, endOnFailure: true },
    );
  });
}
