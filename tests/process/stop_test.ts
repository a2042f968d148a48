/** Stopping in order: everybody hears why, the process ends in time, and nothing that was accepted is gone. */
import assert from "node:assert/strict";
import { v1 } from "../../lib/protocol/mod.ts";
import { eventually } from "../support/eventually.ts";
import { handshake } from "../support/handshake.ts";
import { ProcessServer } from "../support/process_server.ts";
import { signTestToken } from "../support/server.ts";
import { encodeFrame, OPCODE } from "../support/websocket_frames.ts";
import { Member } from "./member.ts";

/** The longest that stopping may take: a second less than Deno Deploy and container runtimes wait. */
const STOP_MS = 4_000;

const SENDERS = 20;

/** A sender that never waits for long, and what was acknowledged to it. */
class BusySender {
  readonly acknowledged: number[] = [];
  readonly #ended: Promise<void>[];
  #next = 0;

  constructor(readonly member: Member, readonly recipient: Member["address"]) {
    this.#ended = Array.from({ length: 8 }, () => this.#send());
  }

  /** Resolves when its connection is over. */
  async ended(): Promise<number> {
    await Promise.all(this.#ended);
    return await this.member.closeCode();
  }

  async #send(): Promise<void> {
    for (;;) {
      const n = this.#next++;
      try {
        await this.member.send(this.recipient, [n]);
        this.acknowledged.push(n);
      } catch {
        return; // the connection is over
      }
    }
  }
}

/** Devices that are away, and to each of them somebody who writes without end. */
async function startBusySenders(server: ProcessServer): Promise<BusySender[]> {
  return await Promise.all(Array.from({ length: SENDERS }, async () => {
    const recipient = await Member.join(server.url);
    await recipient.connection.close();
    return new BusySender(await Member.connect(server.url), recipient.address);
  }));
}

/** What the recipient of a sender finds waiting. */
async function waitingFor(url: string, { recipient, acknowledged }: BusySender): Promise<readonly number[]> {
  await using member = await Member.connect(url, recipient);
  return [...await member.received(acknowledged.length)];
}

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  Deno.test(`${signal} closes idle connections with 1001 and ends with exit code 0`, async () => {
    await using server = await ProcessServer.start();
    const members = await Promise.all(Array.from({ length: 50 }, () => Member.join(server.url)));
    const { code, stdout, elapsedMs } = await server.stop(signal);
    const codes = await Promise.all(members.map((member) => member.closeCode()));
    assert.deepEqual(codes, codes.map(() => 1001));
    assert.deepEqual([code, stdout], [0, ""]);
    assert.ok(elapsedMs < STOP_MS, `${elapsedMs} ms`);
    assert.match(server.log, new RegExp(`${signal}.*stopping`));
  });
}

Deno.test("SIGTERM amid busy senders: everything acknowledged is in the file, in order", async () => {
  await using server = await ProcessServer.start();
  const senders = await startBusySenders(server);
  await eventually("everybody is busy", () => senders.every(({ acknowledged }) => acknowledged.length > 50));
  const { code, elapsedMs } = await server.stop();
  assert.equal(code, 0);
  assert.ok(elapsedMs < STOP_MS, `${elapsedMs} ms`);
  await Promise.all(senders.map((sender) => sender.ended()));
  await server.start();
  for (const sender of senders) {
    const found = await waitingFor(server.url, sender);
    assert.deepEqual(found, found.toSorted((a, b) => a - b));
    const missing = sender.acknowledged.filter((n) => !found.includes(n));
    assert.deepEqual(missing, [], `of ${sender.acknowledged.length}`);
  }
  assert.doesNotMatch(server.log, /incident|"level":"ERROR"/);
});

Deno.test("SIGTERM amid busy senders: each of them is told 1001", async () => {
  await using server = await ProcessServer.start();
  const senders = await startBusySenders(server);
  await eventually("everybody is busy", () => senders.every(({ acknowledged }) => acknowledged.length > 50));
  await server.stop();
  const codes = await Promise.all(senders.map((sender) => sender.ended()));
  assert.deepEqual(codes, codes.map(() => 1001));
});

/** Opens a connection that asks for far more than it reads, which is nothing. */
async function stall(server: ProcessServer): Promise<Deno.TcpConn> {
  const rich = crypto.randomUUID();
  for (let deviceId = 0; deviceId < 20; deviceId++) {
    await using member = await Member.connect(server.url, { userId: rich, deviceId });
    const blob = new Uint8Array(4_096).fill(1);
    await member.connection.register({
      registrationId: 1,
      identityKey: blob.subarray(0, 1_024),
      signedPreKey: blob,
      preKeys: [],
    });
  }
  const userId = crypto.randomUUID();
  const { upgraded } = await handshake(server.url, `/${userId}/1`, {
    headers: { authorization: `Bearer ${await signTestToken(userId)}` },
  });
  if (upgraded === null) throw new Error("refused");
  let sequence = 0;
  const ask = async () => {
    const request = { type: "request_prekeys", request: { userId: rich, knownDeviceIds: [] } } as const;
    await upgraded.conn.write(encodeFrame(OPCODE.binary, v1.encodeClientMessage(request, ++sequence)));
  };
  for (let i = 0; i < 200; i++) await ask(); // 20 MB of answers: several times what the system takes
  await eventually("its way out is full, so that what it asks for is refused", async () => {
    await ask();
    const metrics = await (await fetch(`${server.httpUrl}/metrics`)).text();
    return /^messaging_errors_total\{name="rate_limited"\} [1-9]/m.test(metrics);
  }, 30_000);
  return upgraded.conn;
}

Deno.test("SIGTERM with a peer that reads nothing: the others are told 1001, and the process ends in time", async () => {
  await using server = await ProcessServer.start();
  using _conn = await stall(server);
  const member = await Member.join(server.url);
  await member.send(member.address, [1]);
  const { code, elapsedMs } = await server.stop();
  assert.equal(await member.closeCode(), 1001);
  assert.equal(code, 0);
  assert.ok(elapsedMs < STOP_MS, `${elapsedMs} ms`);
});

Deno.test("SIGTERM with a peer that never answers the close: the process ends in time", async () => {
  await using server = await ProcessServer.start();
  const userId = crypto.randomUUID();
  const headers = { authorization: `Bearer ${await signTestToken(userId)}` };
  const { upgraded } = await handshake(server.url, `/${userId}/1`, { headers });
  using _conn = upgraded?.conn;
  const { code, elapsedMs } = await server.stop();
  assert.equal(code, 0);
  assert.ok(elapsedMs < STOP_MS, `${elapsedMs} ms`);
});

Deno.test("a second signal while the server stops changes nothing", async () => {
  await using server = await ProcessServer.start();
  const senders = await startBusySenders(server);
  await eventually("everybody is busy", () => senders.every(({ acknowledged }) => acknowledged.length > 10));
  const { pid } = server;
  const stopping = server.stop("SIGINT");
  Deno.kill(pid, "SIGINT");
  await eventually("it begins to stop", () => server.log.includes("stopping"));
  try {
    Deno.kill(pid, "SIGTERM");
  } catch {
    // it was quicker
  }
  assert.equal((await stopping).code, 0);
  await Promise.all(senders.map((sender) => sender.ended()));
  await server.start();
  for (const sender of senders) {
    const found = new Set(await waitingFor(server.url, sender));
    assert.ok(sender.acknowledged.every((n) => found.has(n)));
  }
});
