/**
 * The bare relay that the server is measured against: the same envelopes from socket to socket, and nothing else.
 *
 * No storage, no tokens, no checks: it answers each UserMessage with an Ack, and passes it on with its sender's address
 * and a sequence of its own. On version 1 it sends one envelope a WebSocket message; on version 2 it gathers the
 * envelopes of one turn for one connection into one, in a buffer that is used again. Both are what the server does, at
 * the least cost that it can be done for: recipients are looked up by four bytes of their ID, nothing is copied twice.
 * @module
 */
import { setImmediate } from "node:timers";
import { HEADER_BYTES, SERVER_SEQUENCE_MIN, TYPE } from "../../../lib/protocol/mod.ts";
import { parseUserId, userIdToBytes } from "../../../lib/address.ts";

const ADDRESS_BYTES = 20;
const ACK_BYTES = { 1: HEADER_BYTES, 2: HEADER_BYTES + 8 } as const;
const OUT = { message: HEADER_BYTES + 20, time: HEADER_BYTES + 36, ciphertext: HEADER_BYTES + 44 } as const;
const IN_CIPHERTEXT = HEADER_BYTES + 41;

/** As the server: more is not gathered into one WebSocket message. */
const GATHERED_BYTES_MAX = 64 * 1_024;

/** Whether a turn ends with the microtasks, as in the server, or with the event loop's round. */
const endOfTurn: (flush: () => void) => void = Deno.args.includes("--microtask")
  ? queueMicrotask
  : setImmediate;

/** The first four bytes of a user ID, as a number that V8 keeps without a heap object. */
const keyAt = (view: DataView, at: number) => view.getUint32(at) & 0x3fff_ffff;

class Peer {
  readonly own = new Uint8Array(ADDRESS_BYTES);
  readonly ack: Uint8Array<ArrayBuffer>;
  sequence = SERVER_SEQUENCE_MIN;
  #out = new Uint8Array(GATHERED_BYTES_MAX);
  #bytes = 0;
  readonly #flush = () => this.#send();

  constructor(readonly socket: WebSocket, userId: string, readonly version: 1 | 2) {
    this.own.set(userIdToBytes(userId));
    new DataView(this.own.buffer).setUint32(16, 1);
    this.ack = new Uint8Array(ACK_BYTES[version]);
    this.ack[0] = version;
    this.ack[5] = TYPE.ack;
    this.ack[9] = this.ack.length - HEADER_BYTES;
  }

  nextSequence(): number {
    return this.sequence = this.sequence === 0xffff_ffff ? SERVER_SEQUENCE_MIN : this.sequence + 1;
  }

  /** Room for so many bytes in what is sent at the end of this turn. */
  room(bytes: number): { readonly out: Uint8Array; readonly at: number } {
    if (this.#bytes === 0) endOfTurn(this.#flush);
    else if (this.#bytes + bytes > this.#out.length) this.#send();
    const at = this.#bytes;
    this.#bytes += bytes;
    return { out: this.#out, at };
  }

  #send(): void {
    if (this.#bytes > 0 && this.socket.readyState === WebSocket.OPEN) {
      this.socket.send(this.#out.subarray(0, this.#bytes)); // copies
    }
    this.#bytes = 0;
  }
}

const peers = new Map<number, Peer>();

/** Version 1: the frame that came goes on, with two fields changed. */
function pass1(from: Peer, data: ArrayBuffer): void {
  const view = new DataView(data);
  from.ack.set(new Uint8Array(data, 1, 4), 1);
  from.socket.send(from.ack);
  const to = peers.get(keyAt(view, HEADER_BYTES));
  if (to === undefined) return;
  view.setUint32(1, to.nextSequence());
  new Uint8Array(data).set(from.own, HEADER_BYTES);
  to.socket.send(data);
}

/** Version 2: the layouts differ, so it is written anew, straight into what is gathered. */
function pass2(from: Peer, data: ArrayBuffer, now: bigint): void {
  const view = new DataView(data);
  const bytes = new Uint8Array(data);
  const ack = from.room(from.ack.length);
  ack.out.set(from.ack, ack.at);
  ack.out.set(bytes.subarray(1, 5), ack.at + 1);
  const ackView = new DataView(ack.out.buffer);
  ackView.setBigUint64(ack.at + HEADER_BYTES, now);
  const to = peers.get(keyAt(view, HEADER_BYTES));
  if (to === undefined) return;
  const payloadBytes = data.byteLength + (OUT.ciphertext - IN_CIPHERTEXT) - HEADER_BYTES;
  const { out, at } = to.room(HEADER_BYTES + payloadBytes);
  const outView = new DataView(out.buffer);
  out[at] = 2;
  outView.setUint32(at + 1, to.nextSequence());
  out[at + 5] = TYPE.userMessage;
  outView.setUint32(at + 6, payloadBytes);
  out.set(from.own, at + HEADER_BYTES);
  out.set(bytes.subarray(OUT.message, OUT.time), at + OUT.message);
  outView.setBigUint64(at + OUT.time, now);
  out.set(bytes.subarray(IN_CIPHERTEXT), at + OUT.ciphertext);
}

function serve(request: Request): Response {
  const userId = parseUserId(new URL(request.url).pathname.split("/")[1] ?? "");
  if (userId === null) return new Response(null, { status: 400 });
  const version = request.headers.get("sec-websocket-protocol") === "messaging.v1" ? 1 : 2;
  const { socket, response } = Deno.upgradeWebSocket(request, { protocol: `messaging.v${version}` });
  socket.binaryType = "arraybuffer";
  const peer = new Peer(socket, userId, version);
  const key = keyAt(new DataView(peer.own.buffer), 0);
  if (peers.has(key)) throw new Error("two users with one key");
  socket.onopen = () => peers.set(key, peer);
  socket.onclose = () => peers.delete(key);
  socket.onmessage = ({ data }: MessageEvent<ArrayBuffer>) => {
    if (new Uint8Array(data, 5, 1)[0] !== TYPE.userMessage) return;
    if (version === 1) pass1(peer, data);
    else pass2(peer, data, BigInt(Date.now()));
  };
  return response;
}

if (import.meta.main) {
  Deno.serve(
    {
      port: 0,
      hostname: "127.0.0.1",
      onListen: ({ port }) => console.error(`listening on ws://127.0.0.1:${port}`),
    },
    serve,
  );
}
