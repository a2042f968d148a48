/**
 * The kinds of flood: what an attacker with the token of one account writes, again and again, as fast as it is taken.
 * @module
 */
import { type ClientMessage, encodeEnvelope, HEADER_BYTES, TYPE, v2 } from "../../lib/protocol/mod.ts";

/** Whom a flood is about. */
export interface Aims {
  /** A user that is registered and has nothing to do with the attacker. */
  readonly victim: string;
  /** A second account of the attacker, registered. */
  readonly accomplice: string;
}

/** What an attacker does on each of its connections. */
export interface Flood {
  readonly about: string;
  /** Written over and over; `null` if the connection is closed as soon as it is open. */
  readonly bytes: Uint8Array | null;
  /** Whether the connections belong to the accomplice, for which much waits, and are closed after a moment. */
  readonly fetches: boolean;
}

const FRAME_BYTES = 1_048_576;

/** How many bytes of small frames are written at once. */
const WRITE_BYTES = 65_536;

const OPCODE = { binary: 2, ping: 9 } as const;

function frame(payload: Uint8Array, opcode: number = OPCODE.binary): Uint8Array {
  const { length } = payload;
  const header = length < 126 ? 2 : length < 65_536 ? 4 : 10;
  const bytes = new Uint8Array(header + 4 + length); // the masking key is zero
  const view = new DataView(bytes.buffer);
  bytes[0] = 0x80 | opcode;
  bytes[1] = 0x80 | (header === 2 ? length : header === 4 ? 126 : 127);
  if (header === 4) view.setUint16(2, length);
  if (header === 10) view.setBigUint64(2, BigInt(length));
  bytes.set(payload, header + 4);
  return bytes;
}

/** As often as it fits. */
function repeat(piece: Uint8Array, bytesMax: number): Uint8Array {
  const times = Math.max(1, Math.floor(bytesMax / piece.length));
  const bytes = new Uint8Array(times * piece.length);
  for (let i = 0; i < times; i++) bytes.set(piece, i * piece.length);
  return bytes;
}

function send(to: string, bytes: number): ClientMessage {
  const ciphertext = crypto.getRandomValues(new Uint8Array(bytes));
  const messageId = crypto.getRandomValues(new Uint8Array(16));
  const rest = { messageId, retry: false, transient: false, ttlSeconds: 0, ciphertext };
  return { type: "user_message", message: { to: { userId: to, deviceId: 1 }, ...rest } };
}

const encode = (message: ClientMessage) => v2.encodeClientMessage(message, 1);

/** Every envelope in a WebSocket message of its own. */
const apart = (envelope: Uint8Array) => repeat(frame(envelope), WRITE_BYTES);

/** As many envelopes as fit in one WebSocket message of 1 MiB. */
const gathered = (envelope: Uint8Array) => frame(repeat(envelope, FRAME_BYTES));

/** All kinds, by name. */
export const FLOODS: Readonly<Record<string, (aims: Aims) => Flood>> = {
  sends: ({ accomplice }) => ({
    about: "messages over the budget",
    bytes: apart(encode(send(accomplice, 300))),
    fetches: false,
  }),
  "sends-gathered": ({ accomplice }) => ({
    about: "the same, 1 MiB of them in each WebSocket message",
    bytes: gathered(encode(send(accomplice, 300))),
    fetches: false,
  }),
  "large-sends": ({ accomplice }) => ({
    about: "messages of 60 KiB over the budget",
    bytes: apart(encode(send(accomplice, 60 * 1_024))),
    fetches: false,
  }),
  prekeys: ({ victim }) => ({
    about: "RequestPreKeys for somebody, to drain the pool",
    bytes: apart(encode({ type: "request_prekeys", request: { userId: victim, knownDeviceIds: [] } })),
    fetches: false,
  }),
  "known-prekeys": ({ victim }) => ({
    about: "RequestPreKeys that give no key",
    bytes: apart(encode({ type: "request_prekeys", request: { userId: victim, knownDeviceIds: [1] } })),
    fetches: false,
  }),
  requests: ({ victim }) => ({
    about: "RequestDevices over the budget",
    bytes: apart(encode({ type: "request_devices", userId: victim })),
    fetches: false,
  }),
  broken: () => ({
    about: "requests that can't be read, 1 MiB of them in each WebSocket message",
    bytes: gathered(encodeEnvelope(2, 1, TYPE.userMessage, new Uint8Array())),
    fetches: false,
  }),
  huge: () => ({
    about: "a request of 1 MiB that can't be read",
    bytes: frame(encodeEnvelope(2, 1, TYPE.register, new Uint8Array(FRAME_BYTES - HEADER_BYTES))),
    fetches: false,
  }),
  acks: () => ({
    about: "Acks of nothing",
    bytes: apart(encodeEnvelope(2, 0x9000_0000, TYPE.ack, new Uint8Array())),
    fetches: false,
  }),
  "acks-gathered": () => ({
    about: "the same, 1 MiB of them in each WebSocket message",
    bytes: gathered(encodeEnvelope(2, 0x9000_0000, TYPE.ack, new Uint8Array())),
    fetches: false,
  }),
  reconnects: () => ({ about: "connections, closed at once", bytes: null, fetches: false }),
  unacknowledged: () => ({
    about: "connections that take what waits and acknowledge nothing",
    bytes: null,
    fetches: true,
  }),
  pings: () => ({
    about: "WebSocket pings, which the platform answers unseen",
    bytes: repeat(frame(new Uint8Array(), OPCODE.ping), WRITE_BYTES),
    fetches: false,
  }),
};
