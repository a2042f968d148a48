/**
 * Tests of what is stored: bytes and counters only, and nothing that was not understood is taken for something else.
 * @module
 */
import assert from "node:assert/strict";
import * as v from "valibot";
import { bytesField, decodeRecord, encodeRecord } from "../../lib/store/records.ts";
import { loadSecret } from "../../lib/store/secret.ts";
import { eventually } from "../support/eventually.ts";
import {
  newAddress,
  newBytes,
  newMessage,
  openStore,
  readInstalled,
  registerDevice,
  takeOne,
} from "./open_store.ts";

const schema = v.object({ n: v.number(), bytes: bytesField });

Deno.test("every value that the store writes is bytes or KvU64", async () => {
  await using store = await openStore({ isShared: true });
  const address = newAddress();
  const { record: { epoch } } = await registerDevice(store, address, [newBytes(), newBytes()]);
  const { device } = await readInstalled(store, address);
  await store.registrations.seen(address, device, 5);
  await takeOne(store, address, "fifo", { requester: newAddress(), claimId: newBytes() });
  const message = newMessage(store);
  const sent = { from: newAddress(), toUserId: address.userId, toDeviceId: 1, messageId: newBytes() };
  const accepted = store.accepted.remember(sent, { at: message.timestamp, fullDeviceIds: [5, 6] });
  store.writer.write(address.userId, { mutations: [accepted], settle: () => {} });
  const addition = store.accepted.add(newAddress(), address, newBytes(), message.timestamp);
  store.mailboxes.append(address, epoch, message, { addition, ring: null }, () => {});
  store.waiting.addLost(address, epoch, 2);
  await store.sessions.claim(address, newBytes());
  store.sessions.ring(address, "wake");
  store.sessions.ring(address, "low");
  await loadSecret(store.database);
  await registerDevice(store, address);
  await eventually("all is written", () => store.writer.isIdle);
  const kinds = new Set<unknown>();
  for await (const { key, value } of store.kv.list({ prefix: [] })) {
    kinds.add(key[0]);
    assert.ok(
      value instanceof Uint8Array || value instanceof Deno.KvU64,
      `${String(key[0])} is ${typeof value}`,
    );
  }
  const expected = [
    "accepted",
    "claim",
    "clock",
    "device",
    "devices",
    "inbox",
    "lane",
    "lost",
    "low",
    "pool",
    "prekey",
    "secret",
    "session",
    "trash",
    "used",
    "waiting",
    "wake",
  ];
  assert.deepEqual([...kinds].sort(), expected, "every kind was written");
});

Deno.test("decodeRecord() reads what encodeRecord() wrote, behind a format byte", () => {
  const record = { n: 2 ** 40, bytes: Uint8Array.of(1, 2) };
  const value = encodeRecord(record);
  assert.equal(value[0], 1);
  assert.deepEqual(decodeRecord(schema, ["device"], value), record);
});

const good = encodeRecord({ n: 1, bytes: Uint8Array.of(1, 2, 3) });

/** Values that are none, by what is wrong with each. */
const BAD: Readonly<Record<string, unknown>> = {
  "of a newer format": Uint8Array.of(2, ...good.subarray(1)),
  "cut short": good.subarray(0, -1),
  "without a field": encodeRecord({ n: 1 }),
  "with a field of another type": encodeRecord({ n: "secret", bytes: Uint8Array.of(1) }),
  "empty": new Uint8Array(0),
  "text": "text",
  "null": null,
};

for (const [what, value] of Object.entries(BAD)) {
  Deno.test(`decodeRecord() refuses a value ${what}, and tells nothing of its contents`, () => {
    assert.throws(() => decodeRecord(schema, ["device", "a user"], value), (error) => {
      assert.ok(error instanceof Error);
      assert.equal(error.name, "RecordError");
      assert.match(error.message, /"device" value/);
      assert.doesNotMatch(error.message, /a user|secret/);
      return true;
    });
  });
}
