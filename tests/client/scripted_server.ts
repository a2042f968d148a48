/**
 * A server that says what a test wants, frame by frame.
 * @module
 */
import { decodeEnvelope, type Envelope, type ServerMessage, v1 } from "../../lib/protocol/mod.ts";

/** The server's end of one connection. */
export class ScriptedPeer {
  /** What the client sent, in order. */
  readonly received: Envelope[] = [];
  /** How the connection ended. */
  readonly closed: Promise<{ code: number; reason: string }>;
  /** Told each envelope of the client. */
  onEnvelope: (envelope: Envelope) => void = () => {};

  constructor(private readonly socket: WebSocket, readonly protocols: string, readonly path: string) {
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) => {
      const envelope = decodeEnvelope(new Uint8Array(data), 0, 1);
      this.received.push(envelope);
      this.onEnvelope(envelope);
    };
    this.closed = new Promise((resolve) => socket.onclose = ({ code, reason }) => resolve({ code, reason }));
    socket.onerror = (event) => event.preventDefault();
  }

  send(message: ServerMessage, sequence: number): void {
    const bytes = v1.encodeServerMessage(message, sequence);
    if (bytes !== null) this.socket.send(bytes);
  }

  sendBytes(bytes: Uint8Array<ArrayBuffer>): void {
    this.socket.send(bytes);
  }

  close(code: number, reason = ""): void {
    this.socket.close(code, reason);
  }
}

/** Listens until the end of its scope. */
export class ScriptedServer implements AsyncDisposable {
  readonly peers: ScriptedPeer[] = [];
  /** Told each connection once it is open. */
  onPeer: (peer: ScriptedPeer, count: number) => void = () => {};
  /** Awaited before a request is answered; what it resolves to is the answer in place of an upgrade. */
  onRequest: (count: number) => Promise<Response | null> = () => Promise.resolve(null);
  /** How many requests came. */
  requests = 0;
  readonly #http: Deno.HttpServer<Deno.NetAddr>;

  constructor() {
    const options = { hostname: "127.0.0.1", port: 0, onListen: () => {} };
    this.#http = Deno.serve(options, (request) => this.#serve(request));
  }

  get url(): string {
    return `ws://127.0.0.1:${this.#http.addr.port}`;
  }

  async #serve(request: Request): Promise<Response> {
    const protocols = request.headers.get("sec-websocket-protocol") ?? "";
    const { pathname } = new URL(request.url);
    const refusal = await this.onRequest(++this.requests);
    if (refusal !== null) return refusal;
    const { socket, response } = Deno.upgradeWebSocket(request, { protocol: "messaging.v1" });
    const peer = new ScriptedPeer(socket, protocols, pathname);
    socket.onopen = () => {
      this.peers.push(peer);
      this.onPeer(peer, this.peers.length);
    };
    return response;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const peer of this.peers) peer.close(1000);
    await this.#http.shutdown();
  }
}
