/**
 * Tests of who clears the count of what was lost, when two connections of a device were told of it.
 * @module
 */
import assert from "node:assert/strict";
import { decodeEnvelope, HEADER_BYTES, v2 } from "../../lib/protocol/mod.ts";
import { createService } from "../../lib/service/mod.ts";
import { Session } from "../../lib/session/mod.ts";
import type { Socket } from "../../lib/session/socket.ts";
import { newBytes } from "../store/open_store.ts";
import { eventually } from "../support/eventually.ts";
import { Setting } from "./delivery_setting.ts";

/** A connection of version 2, and what it was told. */
class Told implements Socket {
  bufferedAmount = 0;
  readonly lost: number[] = [];
  isAcknowledged = false;
  readonly session: Session;

  pause(): void {}
  resume(): void {}

  constructor({ core, address }: Setting) {
    const { config, clock, metrics } = core;
    const context = { service: createService(core), config, clock, metrics };
    this.session = new Session(context, this, address, v2, null);
  }

  send(bytes: Uint8Array<ArrayBuffer>): void {
    for (let offset = 0; offset < bytes.length;) {
      const { type, payload } = decodeEnvelope(bytes, offset, 2);
      offset += HEADER_BYTES + payload.length;
      const message = v2.decodeServerMessage(type, payload);
      if (message.type === "queue_empty") this.lost.push(message.lost);
      if (message.type === "ack") this.isAcknowledged = true;
    }
  }

  close(): void {}

  /** Waits for QueueEmpty. */
  async told(): Promise<number> {
    await eventually("QueueEmpty", () => this.lost.length > 0);
    return this.lost[0] ?? 0;
  }

  /** Says anything at all: an Ack of nothing. */
  speak(): void {
    this.session.receive(v2.encodeClientMessage({ type: "ack" }, 0x8000_0001));
  }
}

/** Loses so many messages, durably. */
async function lose({ core: { store }, address, epoch }: Setting, messages: number): Promise<void> {
  store.waiting.addLost(address, epoch, messages);
  await store.writer.flushed(address.userId);
}

/** What the two do then. */
const ENDS: Readonly<Record<string, (older: Told, newer: Told) => void>> = {
  "both say something": (older, newer) => (older.speak(), newer.speak()),
  "the older one says something last": (older, newer) => (newer.speak(), older.speak()),
  "both close as they should": (older, newer) => (older.session.closed(1000), newer.session.closed(1000)),
};

for (const [how, end] of Object.entries(ENDS)) {
  Deno.test(`what two connections were told at once is cleared by one of them: ${how}`, async () => {
    await using setting = await Setting.open();
    const { core: { store }, address } = setting;
    await lose(setting, 3);
    const older = new Told(setting);
    assert.equal(await older.told(), 3);
    const newer = new Told(setting);
    assert.equal(await newer.told(), 3, "the older one has not said anything");
    end(older, newer);
    await store.writer.flushed(address.userId);
    await lose(setting, 2);
    for (const { session } of [older, newer]) session.closed(1006);
    const last = new Told(setting);
    assert.equal(await last.told(), 2);
    last.session.closed(1000);
  });
}

// Else a row would be left of an installation that is gone: found by the simulation.
Deno.test("what was lost of an installation that was replaced meanwhile is not cleared", async () => {
  await using setting = await Setting.open();
  const { core: { store }, address, epoch } = setting;
  await lose(setting, 3);
  const told = new Told(setting);
  assert.equal(await told.told(), 3);
  const keys = {
    registrationId: 2,
    identityKey: newBytes(),
    signedPreKey: newBytes(),
    preKeys: [],
    replace: false,
  };
  told.bufferedAmount = 1; // so the Register does not say yet that it has read what it was told
  told.session.receive(v2.encodeClientMessage({ type: "register", keys }, 1));
  await eventually("it is registered anew", async () => {
    return (await store.devices.readList(address.userId)).devices.get(address.deviceId)?.epoch !== epoch;
  });
  await eventually("the session knows", () => told.isAcknowledged);
  told.bufferedAmount = 0;
  told.speak();
  await store.writer.flushed(address.userId);
  assert.equal((await store.waiting.read(address, epoch)).lost, 3);
  told.session.closed(1000);
});
