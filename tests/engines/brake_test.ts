/** With WS_ENGINE=ws no peer fills the server's memory: long messages end it, and fast senders are slowed down. */
import assert from "node:assert/strict";
import { ScriptedKv } from "../store/scripted_kv.ts";
import { eventually } from "../support/eventually.ts";
import { handshake } from "../support/handshake.ts";
import { ProcessServer } from "../support/process_server.ts";
import { RawClient } from "../support/raw_client.ts";
import { joinRaw, newAddress, userMessage } from "../support/raw_messages.ts";
import { RawSocket } from "../support/raw_socket.ts";
import { signTestToken, startServer } from "../support/server.ts";
import { encodeFrame, OPCODE } from "../support/websocket_frames.ts";

const WS = { WS_ENGINE: "ws" };
const KIB = 1_024;
const MIB = 1_024 * KIB;

Deno.test("a message without an end is closed with 1009, and takes no memory", async () => {
  await using server = await ProcessServer.start(WS);
  const userId = crypto.randomUUID();
  const headers = { authorization: `Bearer ${await signTestToken(userId)}` };
  const { upgraded } = await handshake(server.url, `/${userId}/1`, { headers });
  assert.ok(upgraded);
  await using client = new RawSocket(upgraded.conn, () => {}, { isSilent: false, isStalled: false });
  client.start(upgraded.rest);
  const before = await server.residentBytes();
  const fragment = encodeFrame(OPCODE.continuation, new Uint8Array(256 * KIB), false);
  client.sendFrame(OPCODE.binary, new Uint8Array(1), false);
  let sent = 0;
  for (; sent < 128 * MIB && client.ending === null; sent += fragment.length) {
    client.write(fragment);
    await client.flushed;
  }
  await eventually(`it is closed, after ${sent / MIB} MiB`, () => client.ending !== null);
  assert.equal(client.ending?.code, 1009);
  const grown = await server.residentBytes() - before;
  assert.ok(
    grown < 48 * MIB,
    `memory grew by ${(grown / MIB).toFixed(0)} MiB for ${(sent / MIB).toFixed(0)}`,
  );
});

Deno.test("a client that sends faster than storage stores is slowed down, not refused, and then served", async () => {
  await using database = await ScriptedKv.open();
  await using server = await startServer({ ...WS, MAILBOX_BYTES_MAX: "1GiB" }, { kv: database.kv });
  await using recipient = await joinRaw(server);
  await using client = await RawClient.connect(server, newAddress());
  const ciphertext = new Uint8Array(60 * KIB);
  const storage = Promise.withResolvers<void>();
  database.onCommit = (commit) => storage.promise.then(() => commit.run());
  const sequences: number[] = [];
  const sending = (async () => {
    for (let i = 0; i < 1_100; i++) { // 64 MiB, and more requests than close a connection
      sequences.push(client.send(userMessage(recipient.address, ciphertext)));
      await client.flushed;
    }
  })();
  let [seen, changedAt] = [0, performance.now()];
  await eventually("it can send no more", () => {
    if (sequences.length !== seen) [seen, changedAt] = [sequences.length, performance.now()];
    return seen > 0 && performance.now() - changedAt > 1_000;
  }, 30_000);
  const taken = seen * ciphertext.length;
  assert.ok(taken < 40 * MIB, `${(taken / MIB).toFixed(0)} MiB were taken while nothing was stored`);
  storage.resolve();
  await sending;
  const answers = await client.answers(sequences);
  const tooMany = answers.filter((answer) => answer.type === "error" && answer.code === 105);
  assert.equal(tooMany.length, 0);
  assert.equal(client.ending, null);
});
