/** The conversation of protocol §8, byte by byte, with a real server. */
import assert from "node:assert/strict";
import { encodeEnvelope } from "../../lib/protocol/mod.ts";
import { eventually } from "../support/eventually.ts";
import { RawClient } from "../support/raw_client.ts";
import { startServer } from "../support/server.ts";

const BOB = { userId: "c2b8a1d6-5e43-4f19-9c0d-7a6b5e4d3c21", deviceId: 1 };
const ALICE = { userId: "3f0c7e0a-91d4-4b6e-8a57-2d1c9e6f7b10", deviceId: 7 };

/** An example of the protocol's document: in each line hexadecimal digits, then words. */
function bytes(text: string): Uint8Array<ArrayBuffer> {
  const digits = text.split("\n").flatMap((line) => {
    const parts = line.trim().split(/ +/);
    const end = parts.findIndex((part) => !/^([0-9a-f]{2})+$/.test(part));
    return end < 0 ? parts : parts.slice(0, end);
  });
  return Uint8Array.fromHex(digits.join(""));
}

const REGISTER = bytes(`
01 00000001 03 00000048                          version 1, sequence 1, Register, 72 bytes
  84                                             map of 4
  ae 526567697374726174696f6e4944  cd 04d2       "RegistrationID": 1234
  ab 4964656e746974794b6579        c4 03 05a1a2   "IdentityKey"
  ac 5369676e65645072654b6579      c4 04 05b1b2b3 "SignedPreKey"
  a7 5072654b657973                92            "PreKeys": array of 2
                                   c4 02 c1c1
                                   c4 02 c2c2
`);

const REQUEST = bytes(`
01 00000001 05 0000003e                          sequence 1, RequestPreKeys, 62 bytes
  82                                             map of 2
  a6 557365724944                                "UserID"
  d9 24 63326238613164362d356534332d346631392d396330642d376136623565346433633231
  ae 4b6e6f776e446576696365494473  90            "KnownDeviceIDs": empty array
`);

const BUNDLE = bytes(`
01 00000001 06 0000007f                          answer to 1, PreKey, 127 bytes
  87                                             map of 7
  a6 557365724944                                "UserID"
  d9 24 63326238613164362d356534332d346631392d396330642d376136623565346433633231
  a8 4465766963654944              01            "DeviceID": 1
  ae 526567697374726174696f6e4944  cd 04d2       "RegistrationID": 1234
  ab 4964656e746974794b6579        c4 03 05a1a2   "IdentityKey"
  ac 5369676e65645072654b6579      c4 04 05b1b2b3 "SignedPreKey"
  a6 5072654b6579                  c4 02 c1c1    "PreKey"
  a4 4d6f7265                      00            "More": none follows
`);

const SENT = bytes(`
01 00000002 08 00000016                          sequence 2, UserMessage, 22 bytes
  c2b8a1d65e434f199c0d7a6b5e4d3c21               to Bob
  00000001                                       device 1
  cafe
`);

const DELIVERED = bytes(`
01 80000002 08 00000016                          the server's second own message, UserMessage, 22 bytes
  3f0c7e0a91d44b6e8a572d1c9e6f7b10               from Alice
  00000007                                       device 7
  cafe
`);

/** Waits for the n-th message of the server, and compares it. */
async function expectBytes(client: RawClient, n: number, expected: Uint8Array): Promise<void> {
  await eventually(`message ${n}`, () => client.envelopes.length >= n);
  const envelope = client.envelopes[n - 1];
  assert.ok(envelope);
  const { sequence, type, payload } = envelope;
  assert.equal(encodeEnvelope(1, sequence, type, payload).toHex(), expected.toHex());
  assert.equal(client.envelopes.length, n);
}

Deno.test("the conversation of the protocol's document goes as it says, byte by byte", async () => {
  await using server = await startServer();
  await using bob = await RawClient.connect(server, BOB);
  bob.sendBytes(REGISTER);
  await expectBytes(bob, 1, bytes("01 00000001 01 00000000"));
  await using alice = await RawClient.connect(server, ALICE);
  alice.sendBytes(REQUEST);
  await expectBytes(alice, 1, BUNDLE);
  await expectBytes(bob, 2, bytes("01 80000001 07 00000002\n  0014"));
  alice.sendBytes(SENT);
  await expectBytes(alice, 2, bytes("01 00000002 01 00000000"));
  await expectBytes(bob, 3, DELIVERED);
  bob.sendBytes(bytes("01 80000002 01 00000000"));
  await bob.settle();
  bob.cut();
  await using again = await RawClient.connect(server, BOB);
  await again.settle();
  const types = again.envelopes.map(({ type }) => type);
  assert.ok(!types.includes(8), "the server forgot the message");
});
