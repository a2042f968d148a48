/** The client's end of a WebSocket over bare TCP: any frame goes out, and reading can stop. */
import { concat, encodeFrame, type Frame, FrameReader, OPCODE } from "./websocket_frames.ts";

/** How a connection ended: as the server said, or 1006 if it just ended. */
export interface Ending {
  readonly code: number;
  readonly reason: string;
}

/** An upgraded connection. */
export class RawSocket implements AsyncDisposable {
  /** Whether the server hung up before it took what was sent, so that a client may never read why. */
  couldNotSend = false;
  readonly #ended = Promise.withResolvers<Ending>();
  readonly #frames = new FrameReader();
  #ending: Ending | null = null;
  /** What the server's close frame said. */
  #told: Ending | null = null;
  #writes: Promise<void> = Promise.resolve();
  #mayRead = Promise.withResolvers<void>();

  /** @param deliver told the payload of each binary message. */
  constructor(
    private readonly conn: Deno.TcpConn,
    private readonly deliver: (payload: Uint8Array) => void,
    private readonly options: { readonly isSilent: boolean; readonly isStalled: boolean },
  ) {
    if (!options.isStalled) this.#mayRead.resolve();
  }

  /** Begins to read. @param rest what came with the answer to the handshake. */
  start(rest: Uint8Array): void {
    this.#take(rest);
    void this.#readAll();
  }

  /** Resolves when the connection is over. */
  get closed(): Promise<Ending> {
    return this.#ended.promise;
  }

  /** How it ended, or `null` while it is open. */
  get ending(): Ending | null {
    return this.#ending;
  }

  /** Resolves when the system has taken what was written. */
  get flushed(): Promise<void> {
    return this.#writes;
  }

  /** Writes bytes, whatever they are. */
  write(bytes: Uint8Array): void {
    this.#writes = this.#writes.then(async () => {
      for (let sent = 0; sent < bytes.length;) sent += await this.conn.write(bytes.subarray(sent));
    }).catch(() => {
      if (this.#ending === null) this.couldNotSend = true;
    });
  }

  /** Writes one frame. */
  sendFrame(opcode: number, payload: Uint8Array, isFinal = true): void {
    this.write(encodeFrame(opcode, payload, isFinal));
  }

  /** Writes many binary messages at once, so that the server finds them all together. */
  sendBurst(messages: readonly Uint8Array[]): void {
    this.write(concat(messages.map((message) => encodeFrame(OPCODE.binary, message))));
  }

  /** Stops reading; what is on its way already may still come. */
  stall(): void {
    this.#mayRead = Promise.withResolvers();
  }

  /** Reads again. */
  resume(): void {
    this.#mayRead.resolve();
  }

  /** Ends the TCP connection without a word. */
  cut(): void {
    this.#end(null);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut();
    await this.#writes;
  }

  async #readAll(): Promise<void> {
    const piece = new Uint8Array(65_536);
    try {
      while (this.#ending === null) {
        await this.#mayRead.promise;
        const count = await this.conn.read(piece);
        if (count === null) break;
        this.#take(piece.subarray(0, count));
      }
    } catch {
      // cut, by either side
    }
    this.#end(this.#told);
  }

  #take(piece: Uint8Array): void {
    for (const frame of this.#frames.feed(piece)) this.#takeFrame(frame);
  }

  #takeFrame({ opcode, payload }: Frame): void {
    if (opcode === OPCODE.binary) this.deliver(payload);
    else if (opcode === OPCODE.ping && !this.options.isSilent) this.sendFrame(OPCODE.pong, payload);
    else if (opcode === OPCODE.close) {
      const code = payload.length < 2 ? 1005 : new DataView(payload.buffer).getUint16(0);
      this.#told = { code, reason: new TextDecoder().decode(payload.subarray(2)) };
      this.sendFrame(OPCODE.close, payload.subarray(0, 2));
      void this.#writes.then(() => this.#end(this.#told));
    }
  }

  #end(told: Ending | null): void {
    if (this.#ending !== null) return;
    this.#ending = told ?? { code: 1006, reason: "" };
    this.#mayRead.resolve();
    try {
      this.conn.close();
    } catch {
      // closed by the other side
    }
    this.#ended.resolve(this.#ending);
  }
}
