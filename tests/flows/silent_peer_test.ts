/** Connections that are never finished, or whose other end says nothing: they do not stay for ever. */
import assert from "node:assert/strict";
import { addressKey } from "../../lib/address.ts";
import { AdvancingClock } from "../support/advancing_clock.ts";
import { eventually } from "../support/eventually.ts";
import { askForBytes, LARGE_KEYS, registerLargeUser, SYSTEM_BYTES } from "../support/large_answers.ts";
import { connectRaw, joinRaw, newAddress, numbersAt, sendNumbers } from "../support/raw_messages.ts";
import { requestText } from "../support/handshake.ts";
import { RawClient } from "../support/raw_client.ts";
import { startServer, type TestServer } from "../support/server.ts";

const TWO_SECONDS = { IDLE_PING: "2s" };

Deno.test("a peer that answers no pings is dropped, and what went to it is delivered again", async () => {
  await using server = await startServer(TWO_SECONDS);
  await using answers = await joinRaw(server);
  await using silent = await joinRaw(server, { isSilent: true });
  await using alice = await connectRaw(server);
  await sendNumbers(alice, silent, [1, 2]);
  await eventually("the end of the silent one", () => silent.isClosed, 6_000);
  assert.equal(answers.isClosed, false);
  await eventually("two connections", () => server.server.connectionCount === 2);
  await sendNumbers(alice, silent, [3]);
  await using again = await RawClient.connect(server, silent.address);
  await again.untilMessages(3);
  assert.deepEqual(numbersAt(again), [1, 2, 3]);
});

Deno.test("a peer that neither reads nor answers pings is dropped, however much is on its way", async () => {
  const clock = new AdvancingClock(30);
  await using server = await startServer({ ...TWO_SECONDS, ...LARGE_KEYS }, { clock });
  const largeUserId = await registerLargeUser(server);
  await using gone = await joinRaw(server, { isSilent: true });
  gone.stall();
  askForBytes(gone, largeUserId, SYSTEM_BYTES + 1_024 * 1_024);
  await using other = await connectRaw(server);
  await other.answers(askForBytes(other, largeUserId, 1_024 * 1_024)); // the server has answered both
  await clock.ticked();
  clock.advance(60_000);
  await eventually("the end of it", () => server.server.connectionCount === 1, 10_000);
});

Deno.test("clients that leave during their handshake take no place for long", async () => {
  await using server = await startServer();
  await Promise.all(Array.from({ length: 200 }, () => leaveDuringHandshake(server)));
  await using client = await connectRaw(server);
  for (let i = 0; i < 10; i++) await client.settle(); // by now the server has seen all of them
  await eventually("one connection", () => server.server.connectionCount === 1, 10_000);
});

async function leaveDuringHandshake(server: TestServer): Promise<void> {
  const address = newAddress();
  const authorization = `Bearer ${await server.token(address.userId)}`;
  const { hostname, port } = new URL(server.url);
  const conn = await Deno.connect({ hostname, port: Number(port) });
  const request = requestText(`${hostname}:${port}`, `/${addressKey(address)}`, {
    headers: { authorization },
  });
  await conn.write(new TextEncoder().encode(request));
  conn.close();
}

Deno.test("connections that are cut are counted off", async () => {
  await using server = await startServer();
  await using clients = new AsyncDisposableStack();
  const all = await Promise.all(
    Array.from({ length: 50 }, async () => clients.use(await connectRaw(server))),
  );
  assert.equal(server.server.connectionCount, 50);
  for (const client of all) client.cut();
  await eventually("no connection", () => server.server.connectionCount === 0, 10_000);
});
