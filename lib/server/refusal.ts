/**
 * What a request that is not served is told: plain HTTP with one line of JSON (protocol §1).
 * @module
 */

/** Every reason to refuse a request, with its status. */
export const REFUSALS = {
  bad_host: 400,
  not_found: 404,
  bad_address: 400,
  bad_version: 400,
  upgrade_required: 426,
  disconnected: 400,
  draining: 503,
  unavailable: 503,
  overloaded: 503,
  too_many_connections: 429,
  too_many_tokens: 429,
  unauthorized: 401,
  forbidden: 403,
  internal: 500,
} as const;

/** The request is refused before any upgrade. */
export class Refusal extends Error {
  override readonly name = "Refusal";

  /** @param retryAfterSeconds when it may work, where that is known. */
  constructor(readonly reason: keyof typeof REFUSALS, message: string, readonly retryAfterSeconds?: number) {
    super(message);
  }

  /** The status of the answer. */
  get status(): number {
    return REFUSALS[this.reason];
  }

  /** The answer. */
  toResponse(): Response {
    const headers = new Headers({ "content-type": "application/json", "cache-control": "no-store" });
    if (this.retryAfterSeconds !== undefined) headers.set("retry-after", `${this.retryAfterSeconds}`);
    // Where there is no room, a connection that is kept open takes some.
    if (this.status === 429 || this.status === 503) headers.set("connection", "close");
    if (this.reason === "unauthorized") headers.set("www-authenticate", 'Bearer realm="messaging-server"');
    if (this.reason === "upgrade_required") {
      headers.set("upgrade", "websocket");
      headers.set("sec-websocket-version", "13");
    }
    return new Response(`${JSON.stringify({ error: this.reason, message: this.message })}\n`, {
      status: this.status,
      headers,
    });
  }
}
