/** A device that speaks either version of the wire, hears everything in order, and acknowledges what a test lets it. */
import assert from "node:assert/strict";
import { type DeviceAddress, DisconnectedError } from "../../lib/client/mod.ts";
import { Requests } from "../../lib/client/requests.ts";
import {
  type Accepted,
  type ClientMessage,
  type Codec,
  decodeEnvelope,
  HEADER_BYTES,
  type Hello,
  type PreKeyBundle,
  type ServerMessage,
  v1,
  v2,
} from "../../lib/protocol/mod.ts";
import { eventually } from "./eventually.ts";
import {
  copyFor,
  type KeyOptions,
  numbered,
  numberOf,
  peerKeys,
  type SendHow,
  sendWith,
} from "./peer_keys.ts";
import type { Heard, HeardMessage, PeerOptions } from "./peer_options.ts";
import { signTestToken } from "./server.ts";

export { refused } from "./peer_options.ts";

/** How long a request may take. */
const DEADLINE_MS = 20_000;

/** Requests that are under way at a time: fewer than the server allows. */
const IN_FLIGHT = 400;

/** Longer than any test moves its clock. */
const TOKEN_MS = 400 * 86_400_000;

/** One connection of a device. */
export class Peer implements AsyncDisposable {
  /** All that came, in order; answers too. */
  readonly heard: Heard[] = [];
  readonly messages: HeardMessage[] = [];
  readonly #requests = new Requests(DEADLINE_MS);
  #closeCode: number | null = null;
  readonly #codec: Codec;
  acknowledges: boolean;

  private constructor(readonly address: DeviceAddress, readonly socket: WebSocket, options: PeerOptions) {
    this.#codec = options.version === 1 ? v1 : v2;
    this.acknowledges = options.acknowledges ?? true;
    socket.onmessage = ({ data }) => this.#receive(new Uint8Array(data));
    socket.onclose = ({ code }) => this.#end(code);
  }

  /** Connects, and does not register. */
  static async connect(server: { readonly url: string }, options: PeerOptions = {}): Promise<Peer> {
    const { userId = crypto.randomUUID(), deviceId = 1, version = 2, now } = options;
    const token = await signTestToken(userId, undefined, TOKEN_MS, now);
    const url = `${server.url}/${userId}/${deviceId}`;
    const socket = new WebSocket(url, [`messaging.v${version}`, `bearer.${token}`]);
    socket.binaryType = "arraybuffer";
    const peer = new Peer({ userId, deviceId }, socket, options);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    socket.onopen = () => resolve();
    socket.onerror = (event) => {
      event.preventDefault();
      reject(new Error("the server refused the connection"));
    };
    await promise;
    return peer;
  }

  /** Connects and registers. */
  static async join(server: { readonly url: string }, options: PeerOptions & KeyOptions = {}): Promise<Peer> {
    const peer = await Peer.connect(server, options);
    await peer.register(options);
    return peer;
  }

  /** Connects the same device anew. */
  again(server: { readonly url: string }, options: PeerOptions = {}): Promise<Peer> {
    return Peer.connect(server, { ...this.address, ...options });
  }

  /** The numbers of the messages that came, repeats included. */
  get numbers(): number[] {
    return this.messages.map(({ ciphertext }) => numberOf(ciphertext));
  }

  /** What each QueueEmpty said. */
  get losses(): number[] {
    return this.heard.flatMap((heard) => heard.type === "queue_empty" ? [heard.lost] : []);
  }

  /** Waits for the end of the connection, and gives its close code. */
  async ended(): Promise<number> {
    await eventually("the connection ends", () => this.#closeCode !== null);
    return this.#closeCode ?? 0;
  }

  /** Waits for Hello. */
  async hello(): Promise<Hello> {
    await eventually("Hello", () => this.heard.length > 0);
    const [first] = this.heard;
    assert.ok(first?.type === "hello", `the first message was ${first?.type}`);
    return first.hello;
  }

  /** Waits for QueueEmpty, and gives how many messages were lost. */
  async queueEmpty(): Promise<number> {
    await eventually("QueueEmpty", () => this.losses.length > 0);
    return this.losses[0] ?? 0;
  }

  /** Waits until exactly these have come, in this order. */
  async untilNumbers(expected: readonly number[]): Promise<void> {
    await eventually(`${expected.length} messages`, () => this.messages.length >= expected.length)
      .catch(() => {});
    assert.deepEqual(this.numbers, expected);
  }

  /** Sends a message, and waits for all of its answer; an Error rejects. */
  ask(message: ClientMessage): Promise<ServerMessage[]> {
    return this.#requests.make((sequence) => this.#write(this.#codec.encodeClientMessage(message, sequence)));
  }

  /** Sends messages in one WebSocket message. */
  askTogether(messages: readonly ClientMessage[]): Promise<ServerMessage[]>[] {
    const parts: Uint8Array[] = [];
    const answers = messages.map((message) =>
      this.#requests.make((sequence) => void parts.push(this.#codec.encodeClientMessage(message, sequence)))
    );
    const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
    let offset = 0;
    for (const part of parts) {
      bytes.set(part, offset);
      offset += part.length;
    }
    this.#write(bytes);
    return answers;
  }

  /** Registers this device. */
  async register(options: KeyOptions = {}): Promise<{ stored: number; skipped: number } | undefined> {
    const [ack] = await this.ask({ type: "register", keys: peerKeys(options) });
    return ack?.type === "ack" ? ack.registered : undefined;
  }

  /** Sends a numbered message to one device. */
  send(to: DeviceAddress, n: number, how: SendHow = {}): Promise<Accepted> {
    return this.ask(sendWith(to, numbered(n), how)).then(acceptedOf);
  }

  /** Sends many numbered messages, some hundred at a time, and waits until each was accepted. */
  async sendMany(to: DeviceAddress, numbers: readonly number[], how: SendHow = {}): Promise<void> {
    for (let i = 0; i < numbers.length; i += IN_FLIGHT) {
      const some = numbers.slice(i, i + IN_FLIGHT).map((n) => sendWith(to, numbered(n), how));
      await Promise.all(this.askTogether(some));
    }
  }

  /** Sends a numbered message to devices of a user, each with its registration ID. */
  sendToUser(
    userId: string,
    devices: Readonly<Record<number, number>>,
    n: number,
    how: SendHow & { readonly listedOnly?: boolean } = {},
  ): Promise<Accepted> {
    return this.ask(copyFor(userId, devices, numbered(n), how)).then(acceptedOf);
  }

  /** Asks for the bundles of a user's devices. */
  async bundles(
    userId: string,
    claimId?: Uint8Array,
    knownDeviceIds: number[] = [],
  ): Promise<PreKeyBundle[]> {
    const request = { userId, knownDeviceIds, ...(claimId === undefined ? {} : { claimId }) };
    const answers = await this.ask({ type: "request_prekeys", request });
    return answers.flatMap((answer) => answer.type === "prekey" ? [answer.bundle] : []);
  }

  /** Acknowledges the message that has the sequence. */
  acknowledge(sequence: number): void {
    this.#write(this.#codec.encodeClientMessage({ type: "ack" }, sequence));
  }

  /** Refuses the last delivery of a numbered message. */
  refuseNumber(n: number): void {
    const error = { type: "error", code: 3, description: "not this one" } as const;
    this.#write(this.#codec.encodeClientMessage(error, this.#sequenceOf(n)));
  }

  /** Acknowledges the last delivery of a numbered message. */
  acknowledgeNumber(n: number): void {
    this.acknowledge(this.#sequenceOf(n));
  }

  /** Waits until all that was acknowledged before is deleted for good. The device must be registered. */
  async settle(): Promise<void> {
    // A commit of its own for this user comes behind them.
    await this.sendToUser(this.address.userId, {}, 0, { listedOnly: true });
  }

  /** Leaves as it should be: with a closing handshake, and code 1000. */
  async leave(): Promise<void> {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.close(1000);
    await this.ended();
  }

  /** Leaves without having said that all is well. */
  async vanish(): Promise<void> {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.close(3000);
    await this.ended();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.vanish();
  }

  #sequenceOf(n: number): number {
    const message = this.messages.findLast(({ ciphertext }) => numberOf(ciphertext) === n);
    assert.ok(message, `no message ${n}`);
    return message.sequence;
  }

  #write(bytes: Uint8Array<ArrayBuffer>): void {
    if (this.socket.readyState !== WebSocket.OPEN) throw new Error("the connection is not open");
    this.socket.send(bytes);
  }

  #receive(bytes: Uint8Array): void {
    for (let offset = 0; offset < bytes.length;) {
      const { type, payload, sequence } = decodeEnvelope(bytes, offset, this.#codec.version);
      offset += HEADER_BYTES + payload.length;
      const message = this.#codec.decodeServerMessage(type, payload);
      this.heard.push({ ...message, sequence });
      if (message.type === "user_message") {
        this.messages.push({ ...message.message, sequence });
        if (this.acknowledges && this.socket.readyState === WebSocket.OPEN) this.acknowledge(sequence);
      } else this.#requests.answer(message, sequence);
    }
  }

  #end(code: number): void {
    this.#requests.end(new DisconnectedError(code, ""));
    this.#closeCode = code;
  }
}

function acceptedOf([ack]: readonly ServerMessage[]): Accepted {
  assert.ok(ack?.type === "ack", `the answer was ${ack?.type}`);
  return ack.accepted ?? { at: 0, fullDeviceIds: [] };
}
