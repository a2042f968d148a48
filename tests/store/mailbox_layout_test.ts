/**
 * Tests of the layout of a message in the database.
 * @module
 */
import assert from "node:assert/strict";
import fc from "../support/fast_check.ts";
import { parseUserId } from "../../lib/address.ts";
import type { StoredMessage } from "../../lib/domain.ts";
import { inboxKey } from "../../lib/store/keys.ts";
import { decodeEntry, encodeEntry } from "../../lib/store/mailbox_entry.ts";
import type { MailboxEntry } from "../../lib/store/mod.ts";
import { newAddress, newBytes } from "./open_store.ts";

const EPOCH = "an epoch";
const TO = newAddress();

/** What an entry holds of its message. */
function toMessage({ idKey: _, epoch: __, ...message }: MailboxEntry): StoredMessage {
  return message;
}

/** Objects as the code makes them. */
const PLAIN = { noNullPrototype: true } as const;

const uint48 = fc.integer({ min: 0, max: 2 ** 48 });
const bytes16 = fc.uint8Array({ minLength: 16, maxLength: 16 });
const userId = fc.uuid({ version: 4 }).map((text) => parseUserId(text) ?? "");
const storedMessage: fc.Arbitrary<StoredMessage> = fc.record({
  id: bytes16,
  from: fc.record({ userId, deviceId: fc.integer({ min: 0, max: 0xffff_ffff }) }, PLAIN),
  messageId: bytes16,
  timestamp: uint48,
  expiresAt: uint48,
  transient: fc.boolean(),
  ciphertext: fc.uint8Array({ maxLength: 200 }),
}, PLAIN);

Deno.test("decodeEntry() reads every message as encodeEntry() wrote it", () => {
  fc.assert(fc.property(storedMessage, (message) => {
    const entry = decodeEntry({ key: inboxKey(TO, EPOCH, message.id), value: encodeEntry(message) });
    assert.ok(entry);
    assert.deepEqual(toMessage(entry), message);
    assert.equal(entry.epoch, EPOCH);
  }));
});

Deno.test("decodeEntry() reads the layout that is documented", () => {
  const value = Uint8Array.fromHex(
    "0101" + "0000000000000102" + "00112233445546778899aabbccddeeff" + "00000007" +
      "0f0e0d0c0b0a09080706050403020100" + "0000000000000101" + "cafe",
  );
  const entry = decodeEntry({ key: inboxKey(TO, EPOCH, Uint8Array.of(65, 255)), value });
  assert.deepEqual(entry, {
    id: Uint8Array.of(65, 255),
    idKey: "A\u00ff",
    epoch: EPOCH,
    from: { userId: "00112233-4455-4677-8899-aabbccddeeff", deviceId: 7 },
    messageId: Uint8Array.fromHex("0f0e0d0c0b0a09080706050403020100"),
    timestamp: 0x101,
    expiresAt: 0x102,
    transient: true,
    ciphertext: Uint8Array.of(0xca, 0xfe),
  });
});

Deno.test("decodeEntry() takes nothing else for an entry", () => {
  const value = encodeEntry({ ...newMessageFields(), ciphertext: new Uint8Array(0) });
  const key = inboxKey(TO, EPOCH, newBytes());
  assert.ok(decodeEntry({ key, value }));
  const otherFormat = value.slice();
  otherFormat[0] = 2;
  const noUser = value.slice().fill(0, 10, 26);
  for (const bad of [value.subarray(0, -1), otherFormat, noUser, new Uint8Array(0), "text", 7n]) {
    assert.equal(decodeEntry({ key, value: bad }), null);
  }
  assert.equal(decodeEntry({ key: [...key.slice(0, 4), "text"], value }), null);
});

function newMessageFields(): StoredMessage {
  return {
    id: newBytes(),
    from: newAddress(),
    messageId: newBytes(),
    timestamp: 1,
    expiresAt: 2,
    transient: false,
    ciphertext: newBytes(),
  };
}
