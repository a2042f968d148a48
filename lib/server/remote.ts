/**
 * Where a request comes from: the other end of its connection, or whom a proxy that is trusted names (`TRUSTED_PROXIES`).
 *
 * Each proxy appends whom it got the request from to X-Forwarded-For. So the list is read from its right end, and only
 * as far as those who wrote it are trusted: what stands further left is whatever the client made up.
 * @module
 */
import {
  type IpAddress,
  type IpBlock,
  isInBlock,
  isLoopbackAddress,
  parseIpAddress,
  subscriberOf,
} from "../ip_address.ts";
import { logger } from "../log.ts";

const log = logger("server");

/** The most of X-Forwarded-For that is looked at, from its right end. */
const FORWARDED_CHARACTERS_MAX = 1_024;

/** Where a request comes from. */
export interface Remote {
  /** What limits by remote count under; `null` for this machine and for proxies themselves, which are not limited. */
  readonly key: string | null;
  /** Whether it came by a proxy that is not trusted: then the key is that of the proxy, and all its clients share it. */
  readonly isUnnamedProxy: boolean;
}

/** An entry as proxies write it: with or without a port, IPv6 then in brackets. */
function parseEntry(entry: string): IpAddress | null {
  const text = entry.trim();
  const bare = /^\[([^\]]+)\](:\d{1,5})?$/.exec(text)?.[1] ?? /^([\d.]+):\d{1,5}$/.exec(text)?.[1] ?? text;
  return parseIpAddress(bare);
}

/**
 * Finds out where a request comes from.
 *
 * @param peer the address of the other end of the connection; `null` if it has none.
 * @param forwardedFor the header X-Forwarded-For, all of its lines joined with commas; `null` if there is none.
 */
export function remoteOf(
  peer: string | null,
  forwardedFor: string | null,
  trusted: readonly IpBlock[],
): Remote {
  let address = peer === null ? null : parseIpAddress(peer.replace(/^\[|\]$/g, ""));
  if (address === null) return { key: null, isUnnamedProxy: forwardedFor !== null };
  const isTrusted = (other: IpAddress) => trusted.some((block) => isInBlock(other, block));
  const isUnnamedProxy = forwardedFor !== null && !isTrusted(address);
  const entries = (forwardedFor ?? "").slice(-FORWARDED_CHARACTERS_MAX).split(",");
  while (isTrusted(address)) {
    const before = parseEntry(entries.pop() ?? "");
    // Nothing, or nothing that can be read: it is the proxy's own request as far as anybody can tell.
    if (before === null) return { key: null, isUnnamedProxy };
    address = before;
  }
  return { key: isLoopbackAddress(address) ? null : subscriberOf(address), isUnnamedProxy };
}

/** Tells where requests come from, and the operator once if they come by a proxy that is not named. */
export class Remotes {
  #hasWarned = false;

  /** @param trusted the proxies that are named. */
  constructor(private readonly trusted: readonly IpBlock[]) {}

  /** See `Remote.key`. */
  keyOf(request: Pick<Request, "headers">, peer: string | null): string | null {
    const { key, isUnnamedProxy } = remoteOf(peer, request.headers.get("x-forwarded-for"), this.trusted);
    if (isUnnamedProxy && !this.#hasWarned) {
      this.#hasWarned = true;
      log.warn(
        "requests come with X-Forwarded-For from {proxy}, which TRUSTED_PROXIES does not name: if it is a proxy of " +
          "yours, name it; until then the limits by remote address can't tell its clients apart",
        { proxy: peer },
      );
    }
    return key;
  }
}
