/** Peers that are busy sending learn why their connection is ended, as those do that are silent. */
import assert from "node:assert/strict";
import { encodeEnvelope, TYPE } from "../../lib/protocol/mod.ts";
import { handshake } from "../support/handshake.ts";
import { ProcessServer } from "../support/process_server.ts";
import { signTestToken } from "../support/server.ts";
import { encodeFrame, FrameReader, OPCODE } from "../support/websocket_frames.ts";

const CONNECTIONS = 20;

/** A connection on which bytes are written by hand. */
async function open(url: string, userId: string): Promise<Deno.TcpConn> {
  const headers = { authorization: `Bearer ${await signTestToken(userId)}` };
  const { upgraded, status } = await handshake(url, `/${userId}/1`, { headers });
  if (upgraded === null) throw new Error(`refused with ${status}`);
  return upgraded.conn;
}

/** The longest that the server may take to close. */
const CLOSE_MS = 10_000;

/** Reads to the end, and gives the code of the close frame; 1006 if there was none. */
async function closeCodeOf(conn: Deno.TcpConn): Promise<number> {
  const reader = new FrameReader();
  const piece = new Uint8Array(65_536);
  const timer = setTimeout(() => conn.close(), CLOSE_MS);
  try {
    for (let count = await conn.read(piece); count !== null; count = await conn.read(piece)) {
      for (const { opcode, payload } of reader.feed(piece.subarray(0, count))) {
        if (opcode !== OPCODE.close) continue;
        await conn.write(encodeFrame(OPCODE.close, payload.subarray(0, 2)));
        return new DataView(payload.buffer, payload.byteOffset).getUint16(0);
      }
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.ConnectionReset)) throw error;
  } finally {
    clearTimeout(timer);
    conn.close();
  }
  return 1006;
}

/** How many ended with each code. */
function counted(codes: readonly number[]): Record<number, number> {
  const counts: Record<number, number> = {};
  for (const code of codes) counts[code] = (counts[code] ?? 0) + 1;
  return counts;
}

/** Acks for messages that were never sent, as frames: an Ack that names nothing is ignored. */
const acks = (count: number) =>
  Array.from(
    { length: count },
    (_, i) => encodeFrame(OPCODE.binary, encodeEnvelope(1, 0x8000_0001 + i, TYPE.ack)),
  );

/** Sends these frames in one go: the server finds them all before it can close. */
async function write(conn: Deno.TcpConn, frames: readonly Uint8Array[]): Promise<void> {
  const bytes = new Uint8Array(await new Blob(frames.map((frame) => Uint8Array.from(frame))).arrayBuffer());
  for (let sent = 0; sent < bytes.length;) sent += await conn.write(bytes.subarray(sent));
}

const FAULTS = [
  { what: "a broken envelope", code: 1002, frame: encodeFrame(OPCODE.binary, Uint8Array.of(1, 0, 0, 0, 1)) },
  { what: "a text message", code: 1003, frame: encodeFrame(OPCODE.text, new TextEncoder().encode("hello")) },
  {
    what: "a message over the limit",
    code: 1009,
    frame: encodeFrame(OPCODE.binary, new Uint8Array(1_048_577)),
  },
] as const;

for (const { what, code, frame } of FAULTS) {
  Deno.test(`a client that sends ${what} amid Acks is told ${code}`, async () => {
    await using server = await ProcessServer.start();
    const codes = await Promise.all(Array.from({ length: CONNECTIONS }, async () => {
      const conn = await open(server.url, crypto.randomUUID());
      await write(conn, [...acks(5), frame, ...acks(5)]);
      return await closeCodeOf(conn);
    }));
    assert.deepEqual(counted(codes), { [code]: CONNECTIONS });
  });
}
