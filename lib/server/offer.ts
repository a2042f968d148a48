/**
 * What a request for an upgrade asks for: the address, the version, the token. All that can be judged without state.
 * @module
 */
import { type Address, parseDeviceId, parseUserId } from "../address.ts";
import { type Codec, SUBPROTOCOLS, v1 } from "../protocol/mod.ts";
import type { Asked } from "./engine.ts";
import { Refusal } from "./refusal.ts";
import { readPath } from "./request_path.ts";

/** A well-formed request for an upgrade. */
export interface Offer {
  readonly address: Address;
  readonly codec: Codec;
  /** What is echoed; `null` if the client named no version. */
  readonly subprotocol: string | null;
  /** The token as presented, not verified. */
  readonly token: string | null;
}

/** How many subprotocols a client may offer; a browser needs two. */
const SUBPROTOCOLS_MAX = 16;

const TOKEN_PREFIX = "bearer.";

/**
 * Reads the offer.
 *
 * @throws {Refusal} `bad_host`, `not_found`, `bad_address`, `bad_version` or `upgrade_required`, in this order.
 */
export function readOffer(request: Asked): Offer {
  const segments = /^\/([^/]+)\/([^/]+)\/?$/.exec(readPath(request));
  if (segments === null) throw new Refusal("not_found", "connections are at /<userID>/<deviceID>");
  const address = readAddress(segments[1] ?? "", segments[2] ?? "");
  const offered = (request.headers.get("sec-websocket-protocol") ?? "").split(",", SUBPROTOCOLS_MAX + 1)
    .map((name) => name.trim()).filter((name) => name !== "");
  const version = chooseVersion(offered);
  requireUpgrade(request);
  return { address, ...version, token: readToken(request, offered) };
}

function readAddress(user: string, device: string): Address {
  const userId = parseUserId(user);
  if (userId === null) {
    throw new Refusal("bad_address", "the first part of the path must be a UUID of version 4");
  }
  const deviceId = parseDeviceId(device);
  if (deviceId === null) {
    throw new Refusal(
      "bad_address",
      "the second part of the path must be a decimal number from 0 to 4294967295",
    );
  }
  return { userId, deviceId };
}

function chooseVersion(offered: readonly string[]): Pick<Offer, "codec" | "subprotocol"> {
  if (offered.length > SUBPROTOCOLS_MAX) throw new Refusal("bad_version", "too many subprotocols");
  const versions = offered.filter((name) => !name.startsWith(TOKEN_PREFIX));
  let best: Pick<Offer, "codec" | "subprotocol"> | null = null;
  for (const name of versions) {
    const codec = SUBPROTOCOLS.get(name);
    if (codec !== undefined && (best === null || codec.version > best.codec.version)) {
      best = { codec, subprotocol: name };
    }
  }
  if (best !== null) return best;
  if (versions.length > 0) {
    throw new Refusal(
      "bad_version",
      `none of the subprotocols is known here: ${[...SUBPROTOCOLS.keys()].join(", ")}`,
    );
  }
  return { codec: v1, subprotocol: null };
}

/** Deno's own check is laxer: it takes a POST, an old version, and fails badly without a key. */
function requireUpgrade(request: Asked): void {
  const { headers, method } = request;
  const has = (name: string, word: string) =>
    (headers.get(name) ?? "").split(",").some((value) => value.trim().toLowerCase() === word);
  if (method !== "GET" || !has("upgrade", "websocket") || !has("connection", "upgrade")) {
    throw new Refusal("upgrade_required", "this address takes WebSocket connections only");
  }
  if (headers.get("sec-websocket-version") !== "13") {
    throw new Refusal("upgrade_required", "WebSocket version 13 only");
  }
  if (!/^[A-Za-z0-9+/]{22}==$/.test(headers.get("sec-websocket-key") ?? "")) {
    throw new Refusal("upgrade_required", "Sec-WebSocket-Key must be 16 bytes in base64");
  }
}

/** The header wins over the subprotocol, which is for browsers. */
function readToken(request: Asked, offered: readonly string[]): string | null {
  const header = request.headers.get("authorization");
  if (header !== null) return /^bearer +(\S+)$/i.exec(header.trim())?.[1] ?? "";
  return offered.find((name) => name.startsWith(TOKEN_PREFIX))?.slice(TOKEN_PREFIX.length) ?? null;
}
