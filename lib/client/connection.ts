/**
 * One connection of a device to a messaging-server: requests with their answers, and messages as they come.
 *
 * Messages are handed to `onMessage` one after the other, in order. Each is acknowledged, and so deleted on the server,
 * once `onMessage` is done with it: store it durably before. If `onMessage` throws, it stays on the server.
 * @module
 */
import {
  type ClientMessage,
  CLOSE,
  type Codec,
  decodeEnvelope,
  HEADER_BYTES,
  nextClientSequence,
  type ServerMessage,
  v1,
} from "../protocol/mod.ts";
import {
  type ConnectionOptions,
  type DeviceAddress,
  DisconnectedError,
  type PreKeyBundle,
  type ReceivedMessage,
  type RegistrationKeys,
  ServerError,
} from "./types.ts";

const DEADLINE_MS = 10_000;

interface Waiting {
  readonly answers: ServerMessage[];
  resolve(answers: ServerMessage[]): void;
  reject(error: Error): void;
}

/** An open connection. */
export class Connection {
  readonly #codec: Codec = v1;
  readonly #waiting = new Map<number, Waiting>();
  #sequence = 0;
  #isClosing = false;
  #incoming: Promise<void> = Promise.resolve();
  readonly #closed = Promise.withResolvers<{ code: number; reason: string }>();

  private constructor(private readonly socket: WebSocket, private readonly options: ConnectionOptions) {
    socket.onmessage = ({ data }) => {
      if (data instanceof ArrayBuffer) this.#receive(new Uint8Array(data));
    };
    socket.onclose = ({ code, reason }) => {
      for (const waiting of this.#waiting.values()) waiting.reject(new DisconnectedError(code, reason));
      this.#waiting.clear();
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
  static connect(options: ConnectionOptions): Promise<Connection> {
    const { url, userId, deviceId, token } = options;
    const protocols = ["messaging.v1", ...(token === undefined ? [] : [`bearer.${token}`])];
    const socket = new WebSocket(`${url}/${userId}/${deviceId}`, protocols);
    socket.binaryType = "arraybuffer";
    return new Promise((resolve, reject) => {
      const fail = (code: number, reason: string) => {
        clearTimeout(timer);
        reject(new DisconnectedError(code, reason));
      };
      const timer = setTimeout(() => {
        socket.close();
        fail(1006, "the server did not answer in time");
      }, options.deadlineMs ?? DEADLINE_MS);
      socket.onerror = (event) => {
        event.preventDefault();
        fail(1006, "message" in event && typeof event.message === "string" ? event.message : "refused");
      };
      socket.onclose = ({ code, reason }) => fail(code, reason);
      socket.onopen = () => {
        clearTimeout(timer);
        resolve(new Connection(socket, options));
      };
    });
  }

  /** Resolves when the connection is over. */
  get closed(): Promise<{ code: number; reason: string }> {
    return this.#closed.promise;
  }

  /** Registers this device, adds one-time prekeys, or rotates the signed prekey. */
  async register(keys: RegistrationKeys): Promise<void> {
    await this.#request({ type: "register", keys: { ...keys, replace: false } });
  }

  /** Removes this device, its keys and its messages from the server. */
  async unregister(): Promise<void> {
    await this.#request({ type: "unregister" });
  }

  /** Gets a bundle for each of a user's devices that is not known yet. */
  async requestPreKeys(userId: string, knownDeviceIds: readonly number[] = []): Promise<PreKeyBundle[]> {
    const answers = await this.#request({ type: "request_prekeys", userId, knownDeviceIds });
    return answers.flatMap((answer) => answer.type === "prekey" ? [answer.bundle] : []);
  }

  /** Sends a message; resolves once the server has stored it durably. */
  async send(to: DeviceAddress, ciphertext: Uint8Array): Promise<void> {
    const message = { to, transient: false, retry: false, ttlSeconds: 0, ciphertext };
    await this.#request({ type: "user_message", message });
  }

  /**
   * Ends the connection, once `onMessage` is done with the message that it has. The others come again on the next one.
   */
  async close(): Promise<void> {
    this.#isClosing = true;
    await this.#incoming;
    this.socket.close(CLOSE.normal);
    await this.closed;
  }

  #request(message: ClientMessage): Promise<ServerMessage[]> {
    const sequence = this.#sequence = nextClientSequence(this.#sequence);
    return new Promise((resolve, reject) => {
      if (this.socket.readyState !== WebSocket.OPEN) {
        return reject(new DisconnectedError(1006, "the connection is not open"));
      }
      const settle = () => {
        clearTimeout(timer);
        this.#waiting.delete(sequence);
      };
      const timer = setTimeout(() => {
        settle();
        reject(new DisconnectedError(1006, "the server did not answer in time"));
      }, this.options.deadlineMs ?? DEADLINE_MS);
      this.#waiting.set(sequence, {
        answers: [],
        resolve: (answers) => (settle(), resolve(answers)),
        reject: (error) => (settle(), reject(error)),
      });
      this.socket.send(this.#codec.encodeClientMessage(message, sequence));
    });
  }

  #receive(bytes: Uint8Array): void {
    for (let offset = 0; offset < bytes.length;) {
      const envelope = decodeEnvelope(bytes, offset, this.#codec.version);
      offset += HEADER_BYTES + envelope.payload.length;
      this.#take(this.#codec.decodeServerMessage(envelope.type, envelope.payload), envelope.sequence);
    }
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
      case "ack":
      case "error":
      case "prekey":
        return this.#answer(message, sequence);
    }
  }

  #answer(message: ServerMessage, sequence: number): void {
    const waiting = this.#waiting.get(sequence);
    if (waiting === undefined) return;
    if (message.type === "error") {
      return waiting.reject(new ServerError(message.code, message.description, message.retryAfterMs));
    }
    waiting.answers.push(message);
    if (message.type !== "prekey" || message.more === 0) waiting.resolve(waiting.answers);
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
