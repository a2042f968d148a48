/** An identity provider for tests: a real HTTP server that does whatever a test wants of it. */
import { exportJWK, generateKeyPair, type JWK, SignJWT } from "jose";

/** A request that came. */
export interface Asked {
  readonly method: string;
  readonly path: string;
  readonly headers: Headers;
  readonly body: string;
}

/** Answers a request. */
export type Answer = (asked: Asked) => Response | Promise<Response>;

/** A server on a port of its own. */
export class IdentityProvider implements AsyncDisposable {
  /** All requests that came, in order. */
  readonly asked: Asked[] = [];
  /** The most requests that were under way at a time. */
  busiest = 0;
  #busy = 0;
  #stop = new AbortController();
  #server: Deno.HttpServer<Deno.NetAddr>;
  readonly #port: number;

  private constructor(public answer: Answer) {
    this.#server = this.#listen(0);
    this.#port = this.#server.addr.port;
  }

  /** Starts a server that answers so. */
  static start(answer: Answer): IdentityProvider {
    return new IdentityProvider(answer);
  }

  /** Where a path is. */
  url(path = "/"): string {
    return `http://127.0.0.1:${this.#port}${path}`;
  }

  /** Answers every request with this from here on. */
  says(body: unknown): void {
    this.answer = () => Response.json(body);
  }

  /** Takes every request, and answers none. */
  hangs(): void {
    this.answer = () => new Promise(() => {});
  }

  /** Stops listening, and cuts all connections. */
  async leave(): Promise<void> {
    this.#stop.abort();
    await this.#server.finished;
  }

  /** Listens again where it did. */
  comeBack(): void {
    this.#stop = new AbortController();
    this.#server = this.#listen(this.#port);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.leave();
  }

  #listen(port: number): Deno.HttpServer<Deno.NetAddr> {
    const { signal } = this.#stop;
    return Deno.serve({ hostname: "127.0.0.1", port, signal, onListen: () => {} }, async (request) => {
      const { method, url, headers } = request;
      const asked = { method, path: new URL(url).pathname, headers, body: await request.text() };
      this.asked.push(asked);
      this.busiest = Math.max(this.busiest, ++this.#busy);
      try {
        return await this.answer(asked);
      } finally {
        this.#busy--;
      }
    });
  }
}

/** A key pair of a provider. */
export interface SigningKey {
  readonly privateKey: CryptoKey;
  /** What a key set says of it. */
  readonly jwk: JWK;
  readonly alg: string;
}

/** Makes a key pair. */
export async function newSigningKey(kid: string, alg = "ES256"): Promise<SigningKey> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  return { privateKey, jwk: { ...await exportJWK(publicKey), kid, alg, use: "sig" }, alg };
}

/** Signs claims; `header` adds to, or replaces, what the key says. A claim that is `undefined` is left out. */
export function signClaims(
  key: SigningKey,
  claims: Readonly<Record<string, unknown>>,
  header: Readonly<Record<string, unknown>> = {},
): Promise<string> {
  const { kid } = key.jwk;
  return new SignJWT(JSON.parse(JSON.stringify(claims)))
    .setProtectedHeader({ alg: key.alg, ...(kid !== undefined && { kid }), ...header })
    .sign(key.privateKey);
}
