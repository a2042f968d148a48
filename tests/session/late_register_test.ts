/**
 * Tests of a Register or Unregister that is answered as unavailable and carried out later: the connection finds out, and
 * delivers the mailbox of the installation that there is.
 * @module
 */
import assert from "node:assert/strict";
import { ERRORS } from "../../lib/errors.ts";
import { TIMES } from "../../lib/limits.ts";
import type { ClientMessage } from "../../lib/protocol/mod.ts";
import { outgoing, send } from "../service/open_core.ts";
import { Gate } from "../store/scripted_kv.ts";
import { eventually } from "../support/eventually.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { numbered, numbersOf, Setting } from "./delivery_setting.ts";
import { type FakeDevice, newKeys, pass } from "./fake_device.ts";

/** The longest time from one look to the next. */
const LOOK_MS = 1.25 * TIMES.mailboxLookMs;

/** A connection, and a database whose commits answer when they may. */
class Late implements AsyncDisposable {
  #gate = new Gate();

  private constructor(
    readonly clock: ManualClock,
    readonly setting: Setting,
    readonly device: FakeDevice,
  ) {}

  static async open(): Promise<Late> {
    const clock = new ManualClock();
    const setting = await Setting.open(clock);
    const late = new Late(clock, setting, setting.connect());
    await pass();
    return late;
  }

  /** Commits are not carried out from here on, until `carryOut`. */
  holdUp(): void {
    const gate = this.#gate = new Gate();
    this.setting.scripted.onCommit = async (commit) => {
      await gate.passed;
      return await commit.run();
    };
  }

  async carryOut(): Promise<void> {
    this.#gate.open();
    await pass();
  }

  /** Asks for something that storage does not answer in time. */
  async requestInVain(message: ClientMessage): Promise<void> {
    const { device } = this;
    const before = this.setting.scripted.commits.length;
    const sequence = device.request(message);
    await eventually("it is to be stored", () => this.setting.scripted.commits.length > before);
    this.refuseLate();
    await eventually("it is answered", () => device.socket.answersTo(sequence).length > 0);
    assert.deepEqual(device.socket.answersTo(sequence), [ERRORS.unavailable.code]);
  }

  refuseLate(): void {
    this.clock.advance(TIMES.storageDeadlineMs + 1);
    this.setting.core.store.writer.refuseLate(TIMES.storageDeadlineMs);
  }

  /** The connection looks, as it does about once a minute. */
  async look(): Promise<void> {
    this.clock.advance(LOOK_MS);
    this.device.session.tick(this.clock.monotonic());
    await pass();
  }

  async send(n: number): Promise<void> {
    await send(this.setting.core, outgoing(this.setting.address, { ciphertext: numbered(n) }));
    await pass();
  }

  get delivered(): number[] {
    return numbersOf(this.device.socket.delivered);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#gate.open();
    await this.setting[Symbol.asyncDispose]();
  }
}

Deno.test("a Register that is carried out after its deadline has its mailbox delivered, at the next look", async () => {
  await using late = await Late.open();
  late.holdUp();
  await late.requestInVain({ type: "register", keys: newKeys() });
  await late.carryOut();
  await late.send(1);
  assert.deepEqual(late.delivered, []);
  await late.look();
  assert.deepEqual(late.delivered, [1]);
  await late.send(2);
  assert.deepEqual(late.delivered, [1, 2]);
});

Deno.test("what became of a Register is looked for again, as long as storage has not dealt with it", async () => {
  await using late = await Late.open();
  late.holdUp();
  await late.requestInVain({ type: "register", keys: newKeys() });
  await late.look();
  late.refuseLate();
  await pass();
  await late.carryOut();
  await late.send(1);
  assert.deepEqual(late.delivered, []);
  await late.look();
  assert.deepEqual(late.delivered, [1]);
});

Deno.test("a Register of an earlier connection, carried out late, is found out when a message comes", async () => {
  await using late = await Late.open();
  late.holdUp();
  late.device.request({ type: "register", keys: newKeys() });
  await pass();
  const next = late.setting.connect();
  await pass();
  await late.carryOut();
  await late.send(1);
  assert.deepEqual(numbersOf(next.socket.delivered), []);
  late.clock.advance(LOOK_MS);
  next.session.tick(late.clock.monotonic());
  await pass();
  assert.deepEqual(numbersOf(next.socket.delivered), [1]);
});

Deno.test("after an Unregister that is carried out after its deadline, the mailbox is read no more", async () => {
  await using late = await Late.open();
  const { setting: { core, address, scripted } } = late;
  late.holdUp();
  await late.requestInVain({ type: "unregister" });
  await late.carryOut();
  await late.look();
  await assert.rejects(send(core, outgoing(address)), { error: "unknown_user" });
  const reads = scripted.lists.get("inbox");
  await late.look();
  assert.equal(scripted.lists.get("inbox"), reads);
});

Deno.test("a Register that was carried out is not undone by what an earlier look has read", async () => {
  await using late = await Late.open();
  const { setting: { scripted }, device } = late;
  late.holdUp();
  await late.requestInVain({ type: "register", keys: newKeys() });
  await late.carryOut();
  const reading = new Gate();
  scripted.afterRead = () => reading.passed;
  await late.look();
  scripted.afterRead = () => Promise.resolve();
  await device.register();
  reading.open();
  await pass();
  await late.send(1);
  assert.deepEqual(late.delivered, [1]);
});

Deno.test("a connection that has no such doubt does not read its device when it looks", async () => {
  await using late = await Late.open();
  const before = late.setting.scripted.commits.length;
  let reads = 0;
  late.setting.scripted.afterRead = () => {
    reads++;
    return Promise.resolve();
  };
  await late.look();
  // The mailbox is looked at: one read.
  assert.equal(reads, 1);
  assert.equal(late.setting.scripted.commits.length, before);
});
