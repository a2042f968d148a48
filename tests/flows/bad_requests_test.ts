/** Requests that can't be carried out: each is answered with its Error, and the connection goes on. */
import assert from "node:assert/strict";
import { encodeFields } from "../../lib/protocol/messagepack.ts";
import { TYPE } from "../../lib/protocol/mod.ts";
import { Device, keysOf, numbered } from "../support/device.ts";
import { eventually } from "../support/eventually.ts";
import type { RawClient, Received } from "../support/raw_client.ts";
import { connectRaw, outcomes, registerMessage } from "../support/raw_messages.ts";
import { startServer } from "../support/server.ts";

const REGISTER = {
  RegistrationID: 1,
  IdentityKey: numbered(1),
  SignedPreKey: numbered(2),
  PreKeys: [numbered(3)],
};
const hex = Uint8Array.fromHex;

/** Sends one envelope under sequence 7, and gives the answer. */
async function answerTo(client: RawClient, type: number, payload?: Uint8Array): Promise<Received> {
  client.sendEnvelope(7, type, payload);
  return await client.answer(7);
}

/** Sends each payload on a connection of its own, and expects the code for each. */
function refuses(
  name: string,
  type: number,
  code: number,
  payloads: Readonly<Record<string, Uint8Array>>,
): void {
  Deno.test(name, async () => {
    await using server = await startServer();
    for (const [what, payload] of Object.entries(payloads)) {
      await using client = await connectRaw(server);
      const answer = await answerTo(client, type, payload);
      assert.deepEqual(outcomes([answer]), [code], what);
      assert.ok(answer.type === "error" && answer.description.length > 0);
      assert.equal((await client.ask(registerMessage(keysOf(1)))).type, "ack", `after ${what}`);
    }
  });
}

Deno.test("a type that is unknown, or only sent by the server, gets Error 103", async () => {
  await using server = await startServer();
  await using client = await connectRaw(server);
  for (const [i, type] of [0, 6, 7, 9, 10, 11, 127, 128, 255].entries()) {
    client.sendEnvelope(i + 1, type, numbered(1));
    assert.deepEqual(outcomes([await client.answer(i + 1)]), [103], `type ${type}`);
  }
});

refuses("a Register that is no map of its fields gets Error 3", TYPE.register, 3, {
  "nothing": new Uint8Array(),
  "a number": hex("05"),
  "an array": hex("90"),
  "nil": hex("c0"),
  "the byte c1": hex("c1"),
  "a map that is cut": encodeFields(REGISTER).slice(0, -1),
  "a byte after the map": new Uint8Array([...encodeFields(REGISTER), 0]),
  "an array of 4 billion": hex("81a75072654b657973ddffffffff"),
  "a string of 4 billion": hex("dbffffffff"),
  "deep nesting": new Uint8Array(5_000).fill(0x91),
  "no IdentityKey": encodeFields({ ...REGISTER, IdentityKey: undefined }),
  "an empty IdentityKey": encodeFields({ ...REGISTER, IdentityKey: new Uint8Array() }),
  "an IdentityKey that is a string": encodeFields({ ...REGISTER, IdentityKey: "key" }),
  "no SignedPreKey": encodeFields({ ...REGISTER, SignedPreKey: undefined }),
  "SignedPreKey in lower case": encodeFields({
    ...REGISTER,
    SignedPreKey: undefined,
    signedprekey: numbered(1),
  }),
  "an empty prekey": encodeFields({ ...REGISTER, PreKeys: [new Uint8Array()] }),
  "prekeys that are one": encodeFields({ ...REGISTER, PreKeys: numbered(1) }),
  "a RegistrationID of 33 bits": encodeFields({ ...REGISTER, RegistrationID: 2 ** 32 }),
  "a negative RegistrationID": encodeFields({ ...REGISTER, RegistrationID: -1 }),
  "a RegistrationID that is a fraction": encodeFields({ ...REGISTER, RegistrationID: 1.5 }),
  "a name __proto__": hex("81a95f5f70726f746f5f5f80"),
});

refuses("a payload of more than 4,096 values gets Error 104", TYPE.register, 104, {
  "5,000 values": new Uint8Array([0xdc, 5_000 >> 8, 5_000 & 0xff, ...new Uint8Array(5_000)]),
});

refuses("a RequestPreKeys with fields that are wrong gets Error 3", TYPE.requestPreKeys, 3, {
  "no UserID": encodeFields({ KnownDeviceIDs: [] }),
  "a UserID that is bytes": encodeFields({ UserID: new Uint8Array(16) }),
  "a device that is a string": encodeFields({ UserID: crypto.randomUUID(), KnownDeviceIDs: ["1"] }),
  "a device of 33 bits": encodeFields({ UserID: crypto.randomUUID(), KnownDeviceIDs: [2 ** 32] }),
});

refuses("a UserMessage without a whole address gets Error 3", TYPE.userMessage, 3, {
  "nothing": new Uint8Array(),
  "19 bytes": new Uint8Array(19),
});

refuses("an Unregister with a payload gets Error 3", TYPE.unregister, 3, { "one byte": Uint8Array.of(0) });
refuses("a client's Error without a code gets Error 3", TYPE.error, 3, { "nothing": new Uint8Array() });

Deno.test("a request with a sequence that is not a client's gets Error 3 under that sequence", async () => {
  await using server = await startServer();
  await using bob = await Device.join(server);
  await using client = await connectRaw(server);
  for (const sequence of [0, 0x8000_0000, 0x8000_0001, 0xffff_ffff]) {
    client.sendEnvelope(sequence, TYPE.unregister);
    assert.deepEqual(outcomes([await client.answer(sequence)]), [3], `${sequence}`);
  }
  // Not carried out: so it would be if the check came too late.
  const to = hex(`${bob.address.userId.replaceAll("-", "")}0000000100000001`);
  client.sendEnvelope(0, TYPE.userMessage, to);
  await client.settle();
  await bob.send(bob.address, 2);
  await bob.untilNumbers([2]);
});

Deno.test("the ends of a client's sequences are taken", async () => {
  await using server = await startServer();
  await using client = await connectRaw(server);
  for (const sequence of [0x7fff_ffff, 1]) {
    client.sendEnvelope(sequence, TYPE.unregister);
    assert.equal((await client.answer(sequence)).type, "ack");
  }
});

Deno.test("an Ack or Error with any sequence gets no answer", async () => {
  await using server = await startServer();
  await using client = await connectRaw(server);
  for (const sequence of [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff]) {
    client.sendEnvelope(sequence, TYPE.ack);
    client.sendEnvelope(sequence, TYPE.error, Uint8Array.of(3));
  }
  await client.settle();
  assert.equal(client.envelopes.length, 1, "the answer to settle() alone");
});

Deno.test("fields in another order, unknown ones, and wider formats are taken", async () => {
  await using server = await startServer();
  await using client = await connectRaw(server);
  const { RegistrationID, IdentityKey, SignedPreKey, PreKeys } = REGISTER;
  const payload = encodeFields({ Later: { a: [1, 2] }, PreKeys, SignedPreKey, IdentityKey, RegistrationID });
  assert.equal((await answerTo(client, TYPE.register, payload)).type, "ack");
  // RegistrationID as uint64, the keys as bin32, PreKeys nil.
  const wide = "84ae526567697374726174696f6e4944cf0000000000000001" +
    "ab4964656e746974794b6579c60000000400000001ac5369676e65645072654b6579c60000000400000002a75072654b657973c0";
  client.sendEnvelope(8, TYPE.register, hex(wide));
  assert.equal((await client.answer(8)).type, "ack");
  const bundle = await client.ask({
    type: "request_prekeys",
    request: { userId: client.address.userId.toUpperCase(), knownDeviceIds: [] },
  });
  assert.ok(bundle.type === "prekey");
  assert.deepEqual(bundle.bundle.preKey, numbered(3), "the second Register was of the same installation");
});

Deno.test("10,000 random payloads are each answered, and the server goes on", async () => {
  await using server = await startServer();
  await using client = await connectRaw(server);
  for (let round = 0; round < 20; round++) {
    const before = client.envelopes.length;
    for (let i = 1; i <= 500; i++) {
      const payload = crypto.getRandomValues(new Uint8Array(Math.floor(Math.random() * 60)));
      if (i % 2 === 0) payload[0] = 0x80 | (i & 0x0f); // a map, at first sight
      client.sendEnvelope(i, [TYPE.register, TYPE.requestPreKeys, TYPE.userMessage][i % 3] ?? 0, payload);
    }
    await eventually("the answers", () => client.envelopes.length >= before + 500);
  }
  assert.equal(client.isClosed, false);
  assert.ok(client.received.every(({ type }) => type === "error" || type === "ack"));
});
