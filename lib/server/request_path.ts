/**
 * The path that a request asks for, byte by byte as it was sent.
 *
 * A parsed URL would not do: it resolves `..` and `%2e`, takes `\` for `/`, begins with whatever the Host header holds,
 * and throws for what it does not like. So two servers, this one and a proxy before it, could read two paths.
 * @module
 */
import { Refusal } from "./refusal.ts";

/** What a Host header may hold: a name or an address, and a port. */
const HOST = /^[A-Za-z0-9._~%:[\]-]*$/;

/**
 * Reads the path, without a query.
 *
 * @returns the path as it was sent; empty if the request's target has none.
 * @throws {Refusal} `bad_host`.
 */
export function readPath(request: Pick<Request, "headers" | "url">): string {
  // Deno puts the URL together from this header and the path.
  if (!HOST.test(request.headers.get("host") ?? "")) {
    throw new Refusal("bad_host", "the Host header must be a name or an address, with a port or without");
  }
  return /^[a-z][a-z0-9+.-]*:\/\/[^/?#]*(\/[^?#]*)/i.exec(request.url)?.[1] ?? "";
}
