/**
 * A property of messages that are refused, counted and moved under every interleaving of sends, answers, commits, reads
 * and reconnections: each is there until it is acknowledged, does not come again after that, and leaves no count behind.
 * @module
 */
import assert from "node:assert/strict";
import fc from "../support/fast_check.ts";
import type { Address } from "../../lib/address.ts";
import { DELIVERY } from "../../lib/limits.ts";
import type { MailboxEntry } from "../../lib/service/mod.ts";
import { newAddress, newBytes, registerDevice } from "../store/open_store.ts";
import { ScriptedKv } from "../store/scripted_kv.ts";
import { openCore, outgoing, send, type TestCore } from "../service/open_core.ts";
import { eventually } from "../support/eventually.ts";
import { ShiftedClock } from "../support/manual_clock.ts";
import { numbered, numbersOf } from "./delivery_setting.ts";
import { FakeDevice } from "./fake_device.ts";

/** What happens next: places are those of what is under way. */
type Move =
  | { readonly kind: "acknowledge" | "refuse"; readonly places: readonly number[] }
  | { readonly kind: "send" | "turns" | "reconnect" | "countAndReconnect"; readonly count: number };

const answers = (kind: "acknowledge" | "refuse", weight: number) => ({
  weight,
  arbitrary: fc.record({
    kind: fc.constant(kind),
    places: fc.array(fc.nat({ max: 8 }), { minLength: 1, maxLength: 3 }),
  }),
});

const others = (kind: "send" | "turns" | "reconnect" | "countAndReconnect", weight: number, max: number) => ({
  weight,
  arbitrary: fc.record({ kind: fc.constant(kind), count: fc.integer({ min: 1, max }) }),
});

const move: fc.Arbitrary<Move> = fc.oneof(
  answers("acknowledge", 2),
  answers("refuse", 3),
  others("send", 3, 4),
  others("turns", 4, 12),
  others("reconnect", 1, 3),
  others("countAndReconnect", 2, 3),
);

/** Waits as many turns as the list says, one entry after the other, then from the start again. */
function delays(turns: readonly number[]): () => Promise<void> {
  let next = 0;
  return () => turn(turns.length === 0 ? 0 : turns[next++ % turns.length] ?? 0);
}

async function turn(count: number): Promise<void> {
  for (; count > 0; count--) await new Promise((resolve) => setTimeout(resolve, 0));
}

/** One device, and what it has seen. */
class World {
  #device: FakeDevice;
  readonly #sends: Promise<void>[] = [];
  readonly #acknowledged = new Set<number>();
  #received: { readonly number: number; readonly sequence: number }[] = [];
  #fault: unknown = null;

  constructor(
    private readonly core: TestCore,
    private readonly address: Address,
    private readonly epoch: string,
  ) {
    this.#device = this.#connect();
  }

  async make(move: Move): Promise<void> {
    switch (move.kind) {
      case "acknowledge":
        return move.places.forEach((place) => this.#acknowledge(place));
      case "refuse": {
        const underWay = this.#underWay;
        const some = move.places.flatMap((place) => underWay[place % underWay.length] ?? []);
        return some.forEach(({ sequence }) => this.#device.refuse(sequence));
      }
      case "send":
        for (let i = 0; i < move.count; i++) {
          const ciphertext = numbered(this.#sends.length);
          this.#sends.push(send(this.core, outgoing(this.address, { ciphertext })));
        }
        return;
      case "turns":
        return await turn(move.count);
      case "countAndReconnect": {
        const [oldest] = this.#underWay;
        if (oldest !== undefined && move.count > 1) this.#device.refuse(oldest.sequence);
        await this.#count();
      }
    }
    const before = this.#device;
    this.#device = this.#connect();
    // The older connection ends while the newer one begins, so its count comes in between.
    await turn(move.count % 3);
    before[Symbol.dispose]();
  }

  /** Answers everything with an Ack, on as many connections as it takes, and looks at what is left. */
  async finish(): Promise<void> {
    await Promise.all(this.#sends);
    await eventually("everything is acknowledged", async () => {
      if (this.#fault !== null) throw this.#fault;
      while (this.#underWay.length > 0) this.#acknowledge(0);
      if (this.#acknowledged.size === this.#sends.length) return true;
      await this.make({ kind: "reconnect", count: 1 });
      await turn(10);
      return false;
    });
    this.#device[Symbol.dispose]();
    const counted = async () => (await this.core.store.waiting.read(this.address, this.epoch)).open;
    await eventually("nothing is counted", async () => (await counted()).messages === 0)
      .catch(async () => assert.deepEqual(await counted(), { messages: 0, bytes: 0 }));
    // A count too low is no less wrong, and shows as soon as there is something to count.
    await send(this.core, outgoing(this.address, { ciphertext: newBytes(5) }));
    assert.deepEqual(await counted(), { messages: 1, bytes: 5 });
    const rest: MailboxEntry[] = await this.core.store.setAside.read(this.address, this.epoch, 100);
    await this.core.store.mailboxes.page(this.address, this.epoch, 100, (entry) => rest.push(entry) > 0);
    assert.equal(rest.length, 1);
    if (this.#fault !== null) throw this.#fault;
  }

  get #underWay() {
    return this.#received.filter(({ number }) => !this.#acknowledged.has(number));
  }

  #acknowledge(place: number): void {
    const underWay = this.#underWay;
    const one = underWay[place % underWay.length];
    if (one === undefined) return;
    this.#acknowledged.add(one.number);
    this.#device.acknowledge(one.sequence);
  }

  /** What nine connections before this one did, whose oldest message was the one that is the oldest at this moment. */
  async #count(): Promise<void> {
    const { store } = this.core;
    const found: MailboxEntry[] = [];
    await store.mailboxes.page(this.address, this.epoch, 2, (entry) => found.push(entry) === 0);
    for (let i = 1; i < DELIVERY.attemptsMax; i++) {
      for (const entry of found) await store.setAside.count(this.address, entry);
    }
  }

  #connect(): FakeDevice {
    this.#received = [];
    const device = new FakeDevice(this.core, this.address);
    device.socket.onSend = ({ sequence, message }) => {
      if (this.#device !== device || message.type !== "user_message") return;
      const [number = -1] = numbersOf([message.message.ciphertext]);
      if (this.#acknowledged.has(number)) this.#fault ??= new Error(`${number} came after its Ack`);
      if (this.#received.some((one) => one.number === number)) {
        this.#fault ??= new Error(`${number} came twice`);
      }
      this.#received.push({ number, sequence });
    };
    return device;
  }
}

for (const isShared of [false, true]) {
  const where = isShared ? "a database that is shared" : "a database of its own";
  Deno.test(`what is refused, counted and moved is neither lost nor repeated nor miscounted, on ${where}`, async () => {
    const turns = fc.array(fc.nat({ max: 3 }), { maxLength: 8 });
    let moved = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(move, { minLength: 10, maxLength: 60 }),
        turns,
        turns,
        async (moves, commits, reads) => {
          await using scripted = await ScriptedKv.open();
          await using core = await openCore({ kv: scripted.kv, isShared, clock: new ShiftedClock() });
          const address = newAddress();
          const { record: { epoch } } = await registerDevice(core.store, address, [newBytes()]);
          const [beforeCommit, afterCommit] = [delays(commits), delays(commits.toReversed())];
          scripted.onCommit = async (commit) => {
            await beforeCommit();
            const result = await commit.run();
            await afterCommit();
            return result;
          };
          scripted.afterRead = delays(reads);
          const world = new World(core, address, epoch);
          const first: Move[] = [{ kind: "send", count: 12 }, { kind: "turns", count: 20 }];
          for (const move of [...first, ...moves]) await world.make(move);
          await world.finish();
          moved += core.metrics.counts.messagesSetAside;
        },
      ),
      { numRuns: 15, endOnFailure: true },
    );
    assert.ok(moved > 0, "none was moved: nothing to go by");
  });
}
