/** A client over a bare TCP socket: any envelope goes out, and every one that comes is kept. */
import { addressKey } from "../../lib/address.ts";
import type { DeviceAddress } from "../../lib/client/mod.ts";
import {
  type ClientMessage,
  decodeEnvelope,
  encodeEnvelope,
  type Envelope,
  HEADER_BYTES,
  type ServerMessage,
  TYPE,
  v1,
} from "../../lib/protocol/mod.ts";
import { eventually } from "./eventually.ts";
import { handshake } from "./handshake.ts";
import { RawSocket } from "./raw_socket.ts";
import type { TestServer } from "./server.ts";
import { concat, OPCODE } from "./websocket_frames.ts";

/** A message of the server with its sequence. */
export type Received = ServerMessage & { readonly sequence: number };

/** What differs from an ordinary client. */
export interface RawOptions {
  /** Where to connect, if not straight to the server. */
  readonly url?: string;
  /** More headers, names in lower case. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Leaves pings unanswered. */
  readonly isSilent?: boolean;
  /** Reads nothing before `resume`. */
  readonly isStalled?: boolean;
}

/** One open connection of version 1. */
export class RawClient extends RawSocket {
  /** Every envelope that came, in order. */
  readonly envelopes: Envelope[] = [];
  /** How many envelopes were in each WebSocket message that came. */
  readonly envelopesInFrame: number[] = [];
  #sequence = 0;

  private constructor(readonly address: DeviceAddress, conn: Deno.TcpConn, options: RawOptions) {
    const { isSilent = false, isStalled = false } = options;
    super(conn, (payload) => this.#receive(payload), { isSilent, isStalled });
  }

  /** Connects with a token for the address, as version 1. */
  static async connect(
    server: TestServer,
    address: DeviceAddress,
    options: RawOptions = {},
  ): Promise<RawClient> {
    const headers = {
      "authorization": `Bearer ${await server.token(address.userId)}`,
      "sec-websocket-protocol": "messaging.v1",
      ...options.headers,
    };
    const answer = await handshake(options.url ?? server.url, `/${addressKey(address)}`, { headers });
    if (answer.upgraded === null) throw new Error(`refused: ${answer.status} ${answer.body}`);
    const client = new RawClient(address, answer.upgraded.conn, options);
    client.start(answer.upgraded.rest);
    return client;
  }

  get isClosed(): boolean {
    return this.ending !== null;
  }

  /** The envelopes that came, decoded. */
  get received(): Received[] {
    return this.envelopes.map(({ type, payload, sequence }) => ({
      ...v1.decodeServerMessage(type, payload),
      sequence,
    }));
  }

  /** The UserMessages that came: sequence and ciphertext. */
  get messages(): { sequence: number; ciphertext: Uint8Array }[] {
    return this.envelopes.filter(({ type }) => type === TYPE.userMessage)
      .map(({ sequence, payload }) => ({ sequence, ciphertext: payload.subarray(20) }));
  }

  /** Sends one binary message, whatever is in it. */
  sendBytes(bytes: Uint8Array): void {
    this.sendFrame(OPCODE.binary, bytes);
  }

  /** Sends one envelope. */
  sendEnvelope(sequence: number, type: number, payload: Uint8Array = new Uint8Array()): void {
    this.sendBytes(encodeEnvelope(1, sequence, type, payload));
  }

  /** Sends a message under the next sequence, which is returned. */
  send(message: ClientMessage): number {
    const sequence = ++this.#sequence;
    this.sendBytes(v1.encodeClientMessage(message, sequence));
    return sequence;
  }

  /** Sends many messages in one WebSocket message; returns their sequences. */
  sendTogether(messages: readonly ClientMessage[]): number[] {
    const sequences = messages.map(() => ++this.#sequence);
    this.sendBytes(concat(messages.map((message, i) => v1.encodeClientMessage(message, sequences[i] ?? 0))));
    return sequences;
  }

  /** Acknowledges a message of the server. */
  acknowledge(sequence: number): void {
    this.sendEnvelope(sequence, TYPE.ack);
  }

  /** Waits for the first answer with this sequence. */
  async answer(sequence: number): Promise<Received> {
    const [answer] = await this.answers([sequence]);
    if (answer === undefined) throw new Error(`no answer to ${sequence}`);
    return answer;
  }

  /** Waits for the first answer to each of these sequences. */
  async answers(sequences: readonly number[]): Promise<Received[]> {
    let found = new Map<number, Received>();
    let seen = -1;
    await eventually(`answers to ${sequences.length} requests`, () => {
      if (this.envelopes.length !== seen) {
        seen = this.envelopes.length;
        found = new Map(this.received.toReversed().map((message) => [message.sequence, message]));
      }
      if (sequences.every((sequence) => found.has(sequence))) return true;
      if (this.ending === null) return false;
      throw new Error(`closed before the answer: ${this.ending.code} ${this.ending.reason}`);
    });
    return sequences.flatMap((sequence) => found.get(sequence) ?? []);
  }

  /** Sends a message and waits for its first answer. */
  async ask(message: ClientMessage): Promise<Received> {
    return await this.answer(this.send(message));
  }

  /** Waits until so many UserMessages have come. */
  async untilMessages(count: number): Promise<void> {
    await eventually(`${count} messages`, () => this.messages.length >= count).catch(() => {
      throw new Error(`expected ${count} messages, there are ${this.messages.length}`);
    });
  }

  /** Waits until the server has taken everything that was sent before; it answers with an Error. */
  async settle(): Promise<void> {
    await this.ask({
      type: "request_prekeys",
      request: { userId: crypto.randomUUID(), knownDeviceIds: [] },
    });
  }

  #receive(payload: Uint8Array): void {
    let count = 0;
    for (let offset = 0; offset < payload.length; count++) {
      const envelope = decodeEnvelope(payload, offset, 1);
      this.envelopes.push(envelope);
      offset += HEADER_BYTES + envelope.payload.length;
    }
    this.envelopesInFrame.push(count);
  }
}
