/**
 * A WebSocket client over bare TCP, so lean that the load is never what is measured.
 *
 * What is sent in one turn goes out in one write, a frame for each message. The masking key is zero, which the RFC
 * allows and which makes masking free. What comes in is handed on as a view that is only good during the call.
 * @module
 */
import { UpgradeRefused } from "./upgrade_refused.ts";

const OPCODE = { binary: 2, close: 8, ping: 9, pong: 10 } as const;

/** A frame's header to a server: two bytes, the longest length, the masking key. */
const FRAME_HEADER_BYTES_MAX = 14;

/** How long the handshake may take. */
const DEADLINE_MS = 20_000;

/** How a connection is opened. */
export interface RawOptions {
  /** Such as `ws://127.0.0.1:8080`. */
  readonly url: string;
  readonly path: string;
  readonly subprotocol?: string;
  readonly token?: string;
  /** Bytes of the buffer at the start; it grows. Idle connections need few. */
  readonly bufferBytes?: number;
  /** Whether nothing is read after the handshake: a peer that is stuck. */
  readonly neverReads?: boolean;
}

/** One WebSocket connection. */
export class RawSocket {
  /** Resolves with the close code, 1006 if there was none. */
  readonly closed: Promise<number>;
  #onMessage: (message: Uint8Array) => void = () => {};
  #in: Uint8Array<ArrayBuffer>;
  #start = 0;
  #end = 0;
  #out = new Uint8Array(2_048);
  #outBytes = 0;
  #spare = new Uint8Array(2_048);
  #isWriting = false;
  #isScheduled = false;
  #code = 1006;
  readonly #ended = Promise.withResolvers<number>();

  private constructor(private readonly conn: Deno.TcpConn, options: RawOptions) {
    this.#in = new Uint8Array(options.bufferBytes ?? 16_384);
    this.closed = this.#ended.promise;
  }

  /** Opens a connection. What `listen` returns hears everything that comes after the handshake. */
  static async connect(
    options: RawOptions,
    listen: (socket: RawSocket) => (message: Uint8Array) => void,
  ): Promise<RawSocket> {
    const { hostname, port } = new URL(options.url.replace("ws:", "http:"));
    const conn = await Deno.connect({ hostname, port: Number(port) });
    conn.setNoDelay(true);
    const socket = new RawSocket(conn, options);
    socket.#onMessage = listen(socket);
    const timer = setTimeout(() => conn.close(), DEADLINE_MS);
    try {
      await socket.#handshake(options);
    } catch (error) {
      socket.destroy();
      throw error;
    } finally {
      clearTimeout(timer);
    }
    if (!options.neverReads) void socket.#read();
    return socket;
  }

  /** Sends one binary message; it may be changed after the call. */
  send(message: Uint8Array): void {
    this.#frame(OPCODE.binary, message);
  }

  /** Writes bytes as they are, and waits until the system has taken them; rejects when the connection is over. */
  async write(bytes: Uint8Array): Promise<void> {
    for (let sent = 0; sent < bytes.length;) sent += await this.conn.write(bytes.subarray(sent));
  }

  /** Closes with 1000, and waits for the other side; no longer than a second. */
  async close(): Promise<void> {
    this.#frame(OPCODE.close, Uint8Array.of(0x03, 0xe8));
    const timer = setTimeout(() => this.destroy(), 1_000);
    await this.closed;
    clearTimeout(timer);
  }

  /** Cuts the connection. */
  destroy(): void {
    try {
      this.conn.close();
    } catch {
      // it has ended already
    }
    this.#ended.resolve(this.#code);
  }

  async #handshake({ url, path, subprotocol, token }: RawOptions): Promise<void> {
    const key = btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(16))));
    const lines = [
      `GET ${path} HTTP/1.1`,
      `Host: ${url.slice("ws://".length)}`,
      "Upgrade: websocket",
      "Connection: Upgrade",
      "Sec-WebSocket-Version: 13",
      `Sec-WebSocket-Key: ${key}`,
      ...(subprotocol === undefined ? [] : [`Sec-WebSocket-Protocol: ${subprotocol}`]),
      ...(token === undefined ? [] : [`Authorization: Bearer ${token}`]),
    ];
    await this.write(new TextEncoder().encode(`${lines.join("\r\n")}\r\n\r\n`));
    for (;;) {
      if (!await this.#fill()) throw new Error(`${url}${path}: the server hung up during the handshake`);
      const text = new TextDecoder("latin1").decode(this.#in.subarray(0, this.#end));
      const length = text.indexOf("\r\n\r\n");
      if (length === -1) continue;
      if (!text.startsWith("HTTP/1.1 101")) throw new UpgradeRefused(url + path, text);
      this.#start = length + 4;
      return;
    }
  }

  async #read(): Promise<void> {
    try {
      do this.#parse(); while (await this.#fill());
    } catch (error) {
      // Cut from either side; whoever waits learns it by `closed`. A fault in a handler must not go unseen.
      if (!(error instanceof Deno.errors.BadResource || isCut(error))) console.error(error);
    }
    this.destroy();
  }

  /** Reads more, behind what is not parsed yet. */
  async #fill(): Promise<boolean> {
    if (this.#start > 0) {
      this.#in.copyWithin(0, this.#start, this.#end);
      this.#end -= this.#start;
      this.#start = 0;
    }
    if (this.#end === this.#in.length) {
      const larger = new Uint8Array(this.#in.length * 2);
      larger.set(this.#in);
      this.#in = larger;
    }
    const bytes = await this.conn.read(this.#in.subarray(this.#end));
    if (bytes === null) return false;
    this.#end += bytes;
    return true;
  }

  #parse(): void {
    while (this.#end - this.#start >= 2) {
      const first = this.#in[this.#start] ?? 0;
      let length = (this.#in[this.#start + 1] ?? 0) & 0x7f;
      let header = 2;
      if (length >= 126) {
        header = length === 126 ? 4 : 10;
        if (this.#end - this.#start < header) return;
        const view = new DataView(this.#in.buffer, this.#start + 2);
        length = header === 4 ? view.getUint16(0) : Number(view.getBigUint64(0));
      }
      if (this.#end - this.#start < header + length) return;
      const from = this.#start + header;
      this.#start = from + length;
      this.#take(first, this.#in.subarray(from, from + length));
    }
  }

  #take(first: number, payload: Uint8Array): void {
    if ((first & 0x80) === 0) throw new Error("the server sent a fragment");
    switch (first & 0x0f) {
      case OPCODE.binary:
        return this.#onMessage(payload);
      case OPCODE.ping:
        return this.#frame(OPCODE.pong, payload);
      case OPCODE.close:
        this.#code = payload.length >= 2 ? ((payload[0] ?? 0) << 8) | (payload[1] ?? 0) : 1005;
        return this.destroy();
    }
  }

  #frame(opcode: number, payload: Uint8Array): void {
    const { length } = payload;
    while (this.#out.length - this.#outBytes < length + FRAME_HEADER_BYTES_MAX) {
      const larger = new Uint8Array(this.#out.length * 2);
      larger.set(this.#out.subarray(0, this.#outBytes));
      this.#out = larger;
    }
    const out = this.#out;
    let at = this.#outBytes;
    out[at++] = 0x80 | opcode;
    if (length < 126) out[at++] = 0x80 | length;
    else if (length < 65_536) {
      out[at++] = 0x80 | 126;
      out[at++] = length >> 8;
      out[at++] = length & 0xff;
    } else {
      out[at++] = 0x80 | 127;
      new DataView(out.buffer).setBigUint64(at, BigInt(length));
      at += 8;
    }
    out.fill(0, at, at + 4); // the masking key
    out.set(payload, at + 4);
    this.#outBytes = at + 4 + length;
    if (this.#isScheduled || this.#isWriting) return;
    this.#isScheduled = true;
    queueMicrotask(() => {
      this.#isScheduled = false;
      void this.#flush();
    });
  }

  /** Writes what has collected; what comes meanwhile collects in the other buffer. */
  async #flush(): Promise<void> {
    this.#isWriting = true;
    try {
      while (this.#outBytes > 0) {
        const full = this.#out;
        const bytes = this.#outBytes;
        this.#out = this.#spare;
        this.#outBytes = 0;
        await this.write(full.subarray(0, bytes));
        this.#spare = full;
      }
    } catch {
      this.destroy();
    }
    this.#isWriting = false;
  }
}

function isCut(error: unknown): boolean {
  return error instanceof Deno.errors.ConnectionReset || error instanceof Deno.errors.BrokenPipe ||
    error instanceof Deno.errors.ConnectionAborted || error instanceof Deno.errors.Interrupted;
}
