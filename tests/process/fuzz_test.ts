/** A server that is sent a hundred thousand frames that no client should send: it answers, and stays as it is. */
import assert from "node:assert/strict";
import { handshake } from "../support/handshake.ts";
import { ProcessServer } from "../support/process_server.ts";
import { signTestToken } from "../support/server.ts";
import { Fuzzer } from "./fuzz_frames.ts";
import { FuzzPeer, type FuzzTally } from "./fuzz_peer.ts";
import { converse } from "./member.ts";
import { Random } from "./random.ts";

const FRAMES = 100_000;
const PEERS = 16;
const MIB = 1_048_576;

/** The memory is looked at so often. */
const SAMPLES = 300;

/**
 * The memory is compared after a warm-up of two fifths: the three tenths that follow with the last three.
 *
 * Resident: the process takes up to 240 MiB, with steps of up to 30 MiB in either direction, and stays there (measured
 * over 400,000 frames). So the medians are compared, and may differ by a step up after one down.
 *
 * Heap: between two collections it is mostly garbage, so the lowest values are compared: 18 to 27 MiB in either part.
 * 14 MiB more would be 490 bytes a frame: a little more than it takes to keep each envelope.
 */
const GROWTH_MAX = { resident: 60 * MIB, heap: 14 * MIB } as const;

/** What a server needed at one moment, in bytes. */
interface Memory {
  readonly resident: number;
  readonly heap: number;
}

async function memoryOf(server: ProcessServer): Promise<Memory> {
  const metrics = await (await fetch(`${server.httpUrl}/metrics`)).text();
  const heap = Number(/^messaging_heap_bytes (\S+)$/m.exec(metrics)?.[1]);
  return { resident: await server.residentBytes(), heap };
}

/** The median of what was resident, and the least heap. */
function typical(samples: readonly Memory[]): Memory {
  const resident = samples.map((sample) => sample.resident).sort((a, b) => a - b);
  return {
    resident: resident[resident.length >> 1] ?? NaN,
    heap: Math.min(...samples.map(({ heap }) => heap)),
  };
}

const inMib = (bytes: number) => Math.round(bytes / MIB);

/** Whether anything in the log is a fault of the server. */
function assertNoFault(log: string): void {
  const faults = log.split("\n").filter((line) => /incident|"level":"(ERROR|FATAL)"/i.test(line));
  assert.deepEqual(faults.slice(0, 5), []);
}

/** Sends all frames; resolves to the memory of the server, as it was from time to time. */
async function fuzz(server: ProcessServer, seed: number, tally: FuzzTally): Promise<Memory[]> {
  const users = Array.from({ length: PEERS / 2 }, () => crypto.randomUUID());
  const samples: Memory[] = [];
  const sent = async () => {
    if (tally.frames * SAMPLES / FRAMES >= samples.length + 1) samples.push(await memoryOf(server));
  };
  await Promise.all(Array.from({ length: PEERS }, async (_, i) => {
    const random = new Random(seed + i);
    const userId = users[i % users.length] ?? "";
    const peer = new FuzzPeer(server.url, userId, Math.floor(i / users.length), random, tally);
    try {
      await peer.run(new Fuzzer(random, users), FRAMES / PEERS, sent);
    } catch (error) {
      throw new Error(`seed ${seed}, peer ${i}: ${error}\n${peer.describe()}`);
    }
  }));
  return samples;
}

Deno.test("100,000 hostile frames are answered or end their connection, and the server stays as it was", async () => {
  const startedAt = performance.now();
  const { seed } = Random.fromEnvironment();
  const tally: FuzzTally = { frames: 0, requests: 0, closes: new Map(), answers: new Map(), delivered: 0 };
  await using server = await ProcessServer.start();
  const samples = await fuzz(server, seed, tally);
  await converse(server.url);

  // V8 takes its heap in the first 40 %.
  const tenth = Math.floor(samples.length / 10);
  const [before, after] = [typical(samples.slice(4 * tenth, 7 * tenth)), typical(samples.slice(7 * tenth))];
  const list = (counts: ReadonlyMap<unknown, number>) =>
    [...counts].map(([name, count]) => `${name}: ${count}`).sort().join(", ");
  const seconds = ((performance.now() - startedAt) / 1_000).toFixed(1);
  const summary = `${tally.frames} frames with ${tally.requests} requests; answers ${list(tally.answers)}; ` +
    `closed ${list(tally.closes)}; ${tally.delivered} delivered; RSS ${
      inMib(samples[0]?.resident ?? 0)
    } MiB, then ` +
    `${inMib(before.resident)}, then ${inMib(after.resident)}; heap at the least ${
      inMib(before.heap)
    } MiB, then ` +
    `${inMib(after.heap)}; ${seconds} s, seed ${seed}`;
  console.log(`fuzz_test: ${summary}`);

  assertNoFault(server.log);
  assert.equal(tally.answers.get("Error 1"), undefined, summary);
  for (const answer of ["Ack", "PreKey", "Error 3", "Error 100", "Error 101", "Error 102", "Error 103"]) {
    assert.ok((tally.answers.get(answer) ?? 0) > 100, `the frames are not varied enough: ${summary}`);
  }
  for (const code of [1002, 1003, 1009]) assert.ok(tally.closes.has(code), summary);
  for (const kind of ["resident", "heap"] as const) {
    assert.ok(after[kind] - before[kind] < GROWTH_MAX[kind], `the memory (${kind}) grows: ${summary}`);
  }
});

Deno.test("noise below the WebSocket layer ends its own connection and no other", async () => {
  const random = Random.fromEnvironment();
  await using server = await ProcessServer.start();
  const userId = crypto.randomUUID();
  const headers = { authorization: `Bearer ${await signTestToken(userId)}` };
  for (let i = 0; i < 300; i++) {
    // Frames that are not masked, reserved opcodes, lengths up to 2 ** 63, control frames that are too long.
    const { upgraded } = await handshake(server.url, `/${userId}/${i % 5}`, { headers });
    assert.ok(upgraded !== null, `seed ${random.seed}: refused in round ${i}`);
    await upgraded.conn.write(random.bytes(1 + random.integer(400)));
    upgraded.conn.close();
    // And no HTTP at all.
    const { hostname, port } = new URL(server.url);
    const conn = await Deno.connect({ hostname, port: Number(port) });
    await conn.write(random.bytes(1 + random.integer(400)));
    conn.close();
  }
  await converse(server.url);
  assertNoFault(server.log);
});
