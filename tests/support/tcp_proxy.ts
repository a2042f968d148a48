/** A TCP proxy before a server, which can cut connections without a word, leave them hanging, or end idle ones. */

/** Forwards bytes both ways, until it is told otherwise. */
export class TcpProxy implements Disposable {
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #conns = new Set<Deno.TcpConn>();
  readonly #timers = new Set<() => void>();
  /** Those that swallow what comes, for good. */
  readonly #stalled = new WeakSet<Deno.TcpConn>();
  #isStalled = false;

  /**
   * @param target the server, as `ws://host:port` or `http://host:port`.
   * @param idleMs how long nothing may pass before both ends of a connection are closed. Default: for ever.
   */
  constructor(private readonly target: string, private readonly idleMs: number | null = null) {
    void this.#accept();
  }

  /** Where clients connect. */
  get url(): string {
    return `ws://127.0.0.1:${this.#listener.addr.port}`;
  }

  /** Ends every connection on both sides. New ones are taken. */
  cut(): void {
    for (const conn of this.#conns) close(conn);
    this.#conns.clear();
  }

  /** Swallows what comes from here on: neither side is told. New connections are taken, and swallow too. */
  stall(): void {
    this.#isStalled = true;
    for (const conn of this.#conns) this.#stalled.add(conn);
  }

  /** New connections work again; those that were there go on swallowing. */
  resume(): void {
    this.#isStalled = false;
  }

  [Symbol.dispose](): void {
    for (const stop of this.#timers) stop();
    this.cut();
    this.#listener.close();
  }

  async #accept(): Promise<void> {
    const { hostname, port } = new URL(this.target);
    try {
      for await (const client of this.#listener) {
        const server = await Deno.connect({ hostname, port: Number(port) });
        this.#conns.add(client).add(server);
        if (this.#isStalled) this.#stalled.add(client).add(server);
        const passed = this.#endWhenIdle(client, server);
        void this.#forward(client, server, passed);
        void this.#forward(server, client, passed);
      }
    } catch {
      // the listener was closed
    }
  }

  /** Begins to wait for an idle connection. @returns what to call whenever something passes. */
  #endWhenIdle(client: Deno.TcpConn, server: Deno.TcpConn): () => void {
    const { idleMs } = this;
    if (idleMs === null) return () => {};
    const end = () => {
      close(client);
      close(server);
    };
    let timer = setTimeout(end, idleMs);
    this.#timers.add(() => clearTimeout(timer));
    return () => {
      clearTimeout(timer);
      timer = setTimeout(end, idleMs);
    };
  }

  async #forward(from: Deno.TcpConn, to: Deno.TcpConn, passed: () => void): Promise<void> {
    const piece = new Uint8Array(65_536);
    try {
      for (let count = await from.read(piece); count !== null; count = await from.read(piece)) {
        passed();
        for (let sent = 0; sent < count && !this.#stalled.has(from);) {
          sent += await to.write(piece.subarray(sent, count));
        }
      }
    } catch {
      // cut
    }
    if (this.#stalled.has(from)) return;
    close(from);
    close(to);
  }
}

function close(conn: Deno.TcpConn): void {
  try {
    conn.close();
  } catch {
    // closed before
  }
}
