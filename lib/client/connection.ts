/**
 * One connection of a device to a messaging-server: requests with their answers, and messages as they come.
 *
 * Messages are handed to `onMessage` one after the other, in order. Each is acknowledged, and so deleted on the server,
 * once `onMessage` is done with it: store it durably before. If `onMessage` throws, it stays on the server.
 * @module
 */
import {
  type Accepted,
  type ClientMessage,
  CLOSE,
  type Codec,
  decodeEnvelope,
  type Envelope,
  HEADER_BYTES,
  type Hello,
  type ServerMessage,
  SUBPROTOCOLS,
  type UserDevice,
  v1,
} from "../protocol/mod.ts";
import { openSocket } from "./open_socket.ts";
import { complete, Requests } from "./requests.ts";
import {
  type ConnectionOptions,
  type DeviceAddress,
  type DeviceCiphertext,
  DisconnectedError,
  type PreKeyBundle,
  type ReceivedMessage,
  type RegistrationKeys,
  type SendOptions,
} from "./types.ts";

/** How long a peer may take to answer a close. */
const CLOSE_MS = 500;

/** How long opening a connection or a request may take. */
const DEADLINE_MS = 10_000;

/** An open connection. */
export class Connection {
  readonly #codec: Codec;
  readonly #requests: Requests;
  #isClosing = false;
  #incoming: Promise<void> = Promise.resolve();
  readonly #closed = Promise.withResolvers<{ code: number; reason: string }>();

  readonly #hello = Promise.withResolvers<Hello>();

  private constructor(private readonly socket: WebSocket, private readonly options: ConnectionOptions) {
    this.#codec = SUBPROTOCOLS.get(socket.protocol) ?? v1;
    this.#requests = new Requests(options.deadlineMs ?? DEADLINE_MS);
    this.#hello.promise.catch(() => {}); // nobody need ask for it
    socket.onmessage = ({ data }) => {
      if (data instanceof ArrayBuffer) this.#guard(() => this.#receive(new Uint8Array(data)));
    };
    socket.onclose = ({ code, reason }) => {
      this.#requests.end(new DisconnectedError(code, reason));
      this.#hello.reject(new DisconnectedError(code, reason));
      this.#closed.resolve({ code, reason });
      options.onClose?.(code, reason);
    };
    socket.onerror = (event) => event.preventDefault();
  }

  /**
   * Opens a connection.
   *
   * @throws {DisconnectedError} if the server refuses it; browsers don't tell why.
   */
  static async connect(options: ConnectionOptions): Promise<Connection> {
    return new Connection(await openSocket(options, options.deadlineMs ?? DEADLINE_MS), options);
  }

  /** Resolves when the connection is over. */
  get closed(): Promise<{ code: number; reason: string }> {
    return this.#closed.promise;
  }

  /** Which version the connection speaks. */
  get version(): 1 | 2 {
    return this.#codec.version;
  }

  /** What the server said of itself when the connection opened. Version 2 only: never settles on version 1. */
  get hello(): Promise<Hello> {
    return this.#hello.promise;
  }

  /**
   * Registers this device, adds one-time prekeys, or rotates the signed prekey.
   *
   * @returns how many one-time prekeys were stored, and how many were known before; `undefined` on version 1.
   */
  async register(keys: RegistrationKeys): Promise<{ stored: number; skipped: number } | undefined> {
    const [ack] = await this.#request({ type: "register", keys: { replace: false, ...keys } });
    return ack?.type === "ack" ? ack.registered : undefined;
  }

  /** Removes this device, or another one of the same user (version 2), with its keys and messages. */
  async unregister(deviceId?: number): Promise<void> {
    await this.#request({ type: "unregister", ...(deviceId === undefined ? {} : { deviceId }) });
  }

  /**
   * Gets a bundle for each of a user's devices that is not known yet.
   *
   * @param claimId 16 bytes: a repeat with the same ones gets the same keys (version 2).
   */
  async requestPreKeys(
    userId: string,
    knownDeviceIds: readonly number[] = [],
    claimId?: Uint8Array,
  ): Promise<PreKeyBundle[]> {
    const request = { userId, knownDeviceIds, ...(claimId === undefined ? {} : { claimId }) };
    const answers = await this.#request({ type: "request_prekeys", request });
    return answers.flatMap((answer) => answer.type === "prekey" ? [answer.bundle] : []);
  }

  /** Gets a user's devices, without taking keys (version 2). */
  async requestDevices(userId: string): Promise<readonly UserDevice[]> {
    const [answer] = await this.#request({ type: "request_devices", userId });
    return answer?.type === "devices" ? answer.devices : [];
  }

  /**
   * Sends a message to one device; resolves once the server has stored it durably.
   *
   * @returns when the server accepted it; `undefined` on version 1.
   */
  async send(
    to: DeviceAddress,
    ciphertext: Uint8Array,
    options: SendOptions = {},
  ): Promise<Accepted | undefined> {
    const [ack] = await this.#request({
      type: "user_message",
      message: { to, ciphertext, ...complete(options) },
    });
    return ack?.type === "ack" ? ack.accepted : undefined;
  }

  /**
   * Sends a message to all devices of a user, all or nothing (version 2).
   *
   * @param options `listedOnly`: only these devices, for a resend.
   * @returns when the server accepted it, and which devices were left out since their mailbox is full.
   * @throws {ServerError} 107 with `mismatch`, if these are not the user's devices: repair, and send again.
   */
  async sendToUser(
    userId: string,
    devices: readonly DeviceCiphertext[],
    options: SendOptions & { readonly listedOnly?: boolean } = {},
  ): Promise<Accepted | undefined> {
    const messages = { userId, devices, listedOnly: options.listedOnly ?? false, ...complete(options) };
    const [ack] = await this.#request({ type: "user_messages", messages });
    return ack?.type === "ack" ? ack.accepted : undefined;
  }

  /**
   * Ends the connection, once `onMessage` is done with the message that it has. The others come again on the next one.
   */
  async close(): Promise<void> {
    this.#isClosing = true;
    await this.#incoming;
    this.socket.close(CLOSE.normal);
    // A peer that is gone never answers the close.
    const late = Promise.withResolvers<void>();
    const timer = setTimeout(late.resolve, CLOSE_MS);
    await Promise.race([this.closed, late.promise]);
    clearTimeout(timer);
  }

  #request(message: ClientMessage): Promise<ServerMessage[]> {
    return this.#requests.make((sequence) => {
      if (this.socket.readyState !== WebSocket.OPEN) {
        throw new DisconnectedError(1006, "the connection is not open");
      }
      this.socket.send(this.#codec.encodeClientMessage(message, sequence));
    });
  }

  /** A server that breaks the protocol, or a callback that throws, ends the connection and not the program. */
  #guard(work: () => void): void {
    try {
      work();
    } catch {
      this.socket.close(4_000);
    }
  }

  #receive(bytes: Uint8Array): void {
    for (let offset = 0; offset < bytes.length;) {
      const envelope = decodeEnvelope(bytes, offset, this.version);
      offset += HEADER_BYTES + envelope.payload.length;
      this.#read(envelope);
    }
  }

  /** What can't be read, or is newer than this client, is passed over; a request that it answers fails. */
  #read({ type, payload, sequence }: Envelope): void {
    let message: ServerMessage;
    try {
      message = this.#codec.decodeServerMessage(type, payload);
    } catch (error) {
      return this.#requests.fail(sequence, error);
    }
    this.#take(message, sequence);
  }

  #take(message: ServerMessage, sequence: number): void {
    switch (message.type) {
      case "user_message":
        this.#incoming = this.#incoming.then(() => this.#deliver(message.message, sequence));
        return;
      case "prekeys_low":
        this.#acknowledge(sequence);
        this.options.onPreKeysLow?.(message.wanted);
        return;
      case "hello":
        return this.#hello.resolve(message.hello);
      case "queue_empty":
        // In its turn: after the messages that came before it.
        this.#incoming = this.#incoming.then(() => this.options.onQueueEmpty?.(message.lost)).catch(() => {});
        return;
      case "ack":
      case "error":
      case "prekey":
      case "devices":
        return this.#requests.answer(message, sequence);
    }
  }

  async #deliver(message: ReceivedMessage, sequence: number): Promise<void> {
    // What could not be acknowledged any more comes again, and must not be dealt with twice.
    if (this.#isClosing || this.socket.readyState !== WebSocket.OPEN) return;
    try {
      await this.options.onMessage?.(message);
    } catch {
      return; // not dealt with: it stays on the server
    }
    this.#acknowledge(sequence);
  }

  #acknowledge(sequence: number): void {
    if (this.socket.readyState !== WebSocket.OPEN) return;
    this.socket.send(this.#codec.encodeClientMessage({ type: "ack" }, sequence));
  }
}
