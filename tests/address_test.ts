/**
 * Tests of addresses as text and as bytes.
 * @module
 */
import assert from "node:assert/strict";
import fc from "./support/fast_check.ts";
import {
  addressKey,
  parseDeviceId,
  parseUserId,
  UINT32_MAX,
  USER_ID_BYTES,
  userIdFromBytes,
  userIdToBytes,
} from "../lib/address.ts";

const USER = "3f0c7e0a-91d4-4b6e-8a57-2d1c9e6f7b10";
const uint32 = fc.integer({ min: 0, max: UINT32_MAX });
const userId = fc.uuid({ version: 4 });

Deno.test("parseUserId() makes every UUID of version 4 lower case", () => {
  fc.assert(fc.property(userId, fc.boolean(), (text, isUpper) => {
    assert.equal(parseUserId(isUpper ? text.toUpperCase() : text), text.toLowerCase());
  }));
});

Deno.test("parseUserId() refuses whatever else there is", () => {
  const bad = [
    "",
    USER.slice(1),
    `${USER}0`,
    ` ${USER}`,
    `${USER}\n`,
    USER.replaceAll("-", ""),
    `{${USER}}`,
    `urn:uuid:${USER}`,
    USER.replace("-4b6e", "-7b6e"),
    USER.replace("-8a57", "-ca57"),
    USER.replace("3", "g"),
    "00000000-0000-0000-0000-000000000000",
    "ffffffff-ffff-ffff-ffff-ffffffffffff",
  ];
  for (const text of bad) assert.equal(parseUserId(text), null, JSON.stringify(text));
  fc.assert(fc.property(fc.string(), (text) => assert.equal(parseUserId(text), null)));
});

Deno.test("parseDeviceId() reads every uint32 in decimal, and nothing else", () => {
  fc.assert(fc.property(uint32, (deviceId) => assert.equal(parseDeviceId(String(deviceId)), deviceId)));
  const bad = [
    "",
    "-1",
    "+1",
    "01",
    "00",
    "1.0",
    "1e3",
    "0x1",
    " 1",
    "1 ",
    "1\n",
    "4294967296",
    "99999999999",
    "١",
  ];
  for (const text of bad) assert.equal(parseDeviceId(text), null, JSON.stringify(text));
});

Deno.test("userIdFromBytes() reads what userIdToBytes() wrote, at any offset", () => {
  fc.assert(fc.property(userId, fc.nat({ max: 20 }), (text, offset) => {
    const bytes = new Uint8Array(offset + USER_ID_BYTES + 3);
    bytes.set(userIdToBytes(text), offset);
    assert.equal(userIdFromBytes(bytes, offset), text.toLowerCase());
  }));
});

Deno.test("userIdFromBytes() tells users apart whose IDs begin alike, however often they come", () => {
  const users = Array.from({ length: 4 }, () => `00000001${crypto.randomUUID().slice(8)}`);
  for (let round = 0; round < 3; round++) {
    for (const userId of users) {
      const bytes = userIdToBytes(userId).slice();
      assert.equal(userIdFromBytes(bytes), userId);
      assert.equal(userIdFromBytes(bytes), userId);
      bytes.fill(0); // what was read may be written over
    }
  }
});

Deno.test("userIdFromBytes() takes 16 bytes for a user exactly if they are a UUID of version 4", () => {
  const bytes = fc.uint8Array({ minLength: USER_ID_BYTES, maxLength: USER_ID_BYTES });
  fc.assert(fc.property(bytes, (bytes) => {
    const isVersion4 = (bytes[6] ?? 0) >> 4 === 4 && (bytes[8] ?? 0) >> 6 === 2;
    assert.equal(userIdFromBytes(bytes) !== null, isVersion4);
    const forced = bytes.slice();
    forced[6] = (bytes[6] ?? 0) & 0x0f | 0x40;
    forced[8] = (bytes[8] ?? 0) & 0x3f | 0x80;
    assert.deepEqual(userIdToBytes(userIdFromBytes(forced) ?? assert.fail("it is one")), forced);
  }));
  const good = userIdToBytes(USER);
  for (const [bytes, offset] of [[good.subarray(0, 15), 0], [good, 1], [new Uint8Array(), 0]] as const) {
    assert.equal(userIdFromBytes(bytes, offset), null);
  }
});

Deno.test("addressKey() is different for every address", () => {
  const address = fc.record({ userId, deviceId: uint32 });
  fc.assert(fc.property(address, address, (a, b) => {
    const isSame = a.userId === b.userId && a.deviceId === b.deviceId;
    assert.equal(addressKey(a) === addressKey(b), isSame);
  }));
  assert.notEqual(addressKey({ userId: USER, deviceId: 1 }), addressKey({ userId: USER, deviceId: 11 }));
});
