/**
 * Load by pairs: each sender keeps a number of messages unacknowledged, each recipient acknowledges what it gets.
 * @module
 */
import { Connection } from "../../lib/client/mod.ts";
import { userIdToBytes } from "../../lib/address.ts";
import { allocateEnvelope, HEADER_BYTES, TYPE } from "../../lib/protocol/mod.ts";
import { benchToken, type Target } from "./processes.ts";

/** What a run is made of. */
export interface PairLoad {
  readonly pairs: number;
  readonly unacknowledged: number;
  readonly ciphertextBytes: number;
  readonly warmUpMs: number;
  readonly measureMs: number;
}

const DEVICE = 1;
const ADDRESS_BYTES = 20;

async function open(url: string, userId: string): Promise<WebSocket> {
  const socket = new WebSocket(`${url}/${userId}/${DEVICE}`, [
    "messaging.v1",
    `bearer.${await benchToken(userId)}`,
  ]);
  socket.binaryType = "arraybuffer";
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onerror = reject;
  });
  return socket;
}

/** Registers a device; the relay knows no devices. */
async function register(target: Target, userId: string): Promise<void> {
  if (target.name === "relay") return;
  const key = crypto.getRandomValues(new Uint8Array(33));
  const connection = await Connection.connect({
    url: target.url,
    userId,
    deviceId: DEVICE,
    token: await benchToken(userId),
  });
  const preKeys = Array.from({ length: 20 }, () => crypto.getRandomValues(new Uint8Array(33)));
  await connection.register({ registrationId: 1, identityKey: key, signedPreKey: key, preKeys });
  await connection.close();
}

/** Makes a UserMessage; only its sequence changes from one to the next. */
function makeMessage(to: string, ciphertextBytes: number): Uint8Array<ArrayBuffer> {
  const frame = allocateEnvelope(1, 0, TYPE.userMessage, ADDRESS_BYTES + ciphertextBytes);
  frame.set(userIdToBytes(to), HEADER_BYTES);
  new DataView(frame.buffer).setUint32(HEADER_BYTES + 16, DEVICE);
  crypto.getRandomValues(frame.subarray(HEADER_BYTES + ADDRESS_BYTES));
  return frame;
}

/** One pair: counts what is delivered. */
async function startPair(target: Target, load: PairLoad, delivered: () => void): Promise<WebSocket[]> {
  const [from, to] = [crypto.randomUUID(), crypto.randomUUID()];
  await register(target, to);
  const recipient = await open(target.url, to);
  const sender = await open(target.url, from);
  recipient.onmessage = ({ data }) => {
    const frame = new Uint8Array(data);
    if (frame[5] !== TYPE.userMessage) return;
    delivered();
    const ack = allocateEnvelope(1, 0, TYPE.ack, 0);
    ack.set(frame.subarray(1, 5), 1);
    recipient.send(ack);
  };
  const message = makeMessage(to, load.ciphertextBytes);
  const view = new DataView(message.buffer);
  let sequence = 0;
  const send = () => {
    view.setUint32(1, ++sequence);
    sender.send(message);
  };
  sender.onmessage = ({ data }) => {
    const frame = new Uint8Array(data);
    if (frame[5] === TYPE.error) throw new Error(`refused: ${new TextDecoder().decode(frame.subarray(11))}`);
    if (frame[5] === TYPE.ack && sender.readyState === WebSocket.OPEN) send();
  };
  for (let i = 0; i < load.unacknowledged; i++) send();
  return [recipient, sender];
}

/** Runs the load; returns how many messages were delivered a second. */
export async function runPairs(target: Target, load: PairLoad): Promise<number> {
  let delivered = 0;
  const sockets = (await Promise.all(
    Array.from({ length: load.pairs }, () => startPair(target, load, () => delivered++)),
  )).flat();
  await new Promise((resolve) => setTimeout(resolve, load.warmUpMs));
  const before = delivered;
  const startedAt = performance.now();
  await new Promise((resolve) => setTimeout(resolve, load.measureMs));
  const rate = (delivered - before) / ((performance.now() - startedAt) / 1_000);
  for (const socket of sockets) socket.close();
  return rate;
}
