/**
 * Tests of what a request for an upgrade asks for (protocol §1), and of the order in which it is refused.
 * @module
 */
import assert from "node:assert/strict";
import { readOffer } from "../../lib/server/offer.ts";
import { Refusal } from "../../lib/server/refusal.ts";

const USER = "3f0c7e0a-91d4-4b6e-8a57-2d1c9e6f7b10";

const UPGRADE = {
  upgrade: "websocket",
  connection: "Upgrade",
  "sec-websocket-version": "13",
  "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
};

type Headers = Readonly<Record<string, string>>;

function request(path: string, headers: Headers = {}, method = "GET"): Request {
  return new Request(`http://localhost${path}`, { method, headers: { ...UPGRADE, ...headers } });
}

/** Why a request is refused; `null` if it is not. */
function refusalOf(path: string, headers: Headers = {}, method = "GET"): string | null {
  try {
    readOffer(request(path, headers, method));
    return null;
  } catch (error) {
    assert.ok(error instanceof Refusal);
    return error.reason;
  }
}

Deno.test("readOffer() reads the address, in any case and with a slash at the end", () => {
  for (const path of [`/${USER}/7`, `/${USER.toUpperCase()}/7`, `/${USER}/7/`, `/${USER}/7?x=1`]) {
    assert.deepEqual(readOffer(request(path)).address, { userId: USER, deviceId: 7 }, path);
  }
});

const PATHS: Readonly<Record<string, string | null>> = {
  [`/${USER}/0`]: null,
  [`/${USER}/4294967295`]: null,
  [`/${USER}/4294967296`]: "bad_address",
  [`/${USER}/-1`]: "bad_address",
  [`/${USER}/01`]: "bad_address",
  [`/${USER}/1.0`]: "bad_address",
  [`/${USER}/1e3`]: "bad_address",
  [`/${USER}/%31`]: "bad_address",
  [`/${USER.replace("-4b6e", "-1b6e")}/1`]: "bad_address",
  [`/${USER.replaceAll("-", "")}/1`]: "bad_address",
  [`/{${USER}}/1`]: "bad_address",
  [`/${USER}`]: "not_found",
  [`/${USER}/`]: "not_found",
  [`//1`]: "not_found",
  [`/${USER}/1/2`]: "not_found",
  [`/${USER}/1//`]: "not_found",
  "/": "not_found",
};

for (const [path, reason] of Object.entries(PATHS)) {
  Deno.test(`readOffer() ${reason === null ? "takes" : `refuses as ${reason}`} ${path}`, () => {
    assert.equal(refusalOf(path), reason);
  });
}

const VERSIONS: Readonly<Record<string, readonly [version: number, echoed: string | null] | null>> = {
  "": [1, null],
  "messaging.v1": [1, "messaging.v1"],
  "messaging.v1,bearer.a": [1, "messaging.v1"],
  " messaging.v1 ,bearer.a": [1, "messaging.v1"],
  "bearer.a, messaging.v1": [1, "messaging.v1"],
  "messaging.v9, messaging.v1": [1, "messaging.v1"],
  "bearer.a": [1, null],
  "messaging.v9": null,
  "MESSAGING.V1": null,
  "messaging.v9, bearer.a": null,
};

for (const [offered, expected] of Object.entries(VERSIONS)) {
  Deno.test(`readOffer() of the subprotocols "${offered}" ${expected === null ? "is refused" : `is ${expected}`}`, () => {
    const headers: Headers = offered === "" ? {} : { "sec-websocket-protocol": offered };
    if (expected === null) return assert.equal(refusalOf(`/${USER}/1`, headers), "bad_version");
    const { codec, subprotocol } = readOffer(request(`/${USER}/1`, headers));
    assert.deepEqual([codec.version, subprotocol], expected);
  });
}

Deno.test("readOffer() takes 16 subprotocols, and no more", () => {
  const offer = (count: number) => ({
    "sec-websocket-protocol": ["messaging.v1", ...Array.from({ length: count - 1 }, (_, i) => `p${i}`)].join(
      ",",
    ),
  });
  assert.equal(refusalOf(`/${USER}/1`, offer(16)), null);
  assert.equal(refusalOf(`/${USER}/1`, offer(17)), "bad_version");
  assert.equal(refusalOf(`/${USER}/1`, offer(10_000)), "bad_version");
});

const TOKENS: readonly (readonly [what: string, headers: Headers, token: string | null])[] = [
  ["no token", {}, null],
  ["a header", { authorization: "Bearer a.b.c" }, "a.b.c"],
  ["a header in other letters, with spaces", { authorization: "bEARER   a.b.c " }, "a.b.c"],
  ["a subprotocol", { "sec-websocket-protocol": "messaging.v1, bearer.a.b.c" }, "a.b.c"],
  ["both, of which the header counts", {
    authorization: "Bearer h",
    "sec-websocket-protocol": "messaging.v1, bearer.s",
  }, "h"],
  ["a header of another kind beside a subprotocol", {
    authorization: "Basic YTpi",
    "sec-websocket-protocol": "messaging.v1, bearer.s",
  }, ""],
  ["a header with two tokens", { authorization: "Bearer a b" }, ""],
];

for (const [what, headers, token] of TOKENS) {
  Deno.test(`readOffer() reads the token of ${what}`, () => {
    assert.equal(readOffer(request(`/${USER}/1`, headers)).token, token);
  });
}

const NO_UPGRADES: readonly (readonly [what: string, headers: Headers, method?: string])[] = [
  ["a POST", {}, "POST"],
  ["no upgrade", { upgrade: "h2c" }],
  ["no connection header for it", { connection: "keep-alive" }],
  ["an old version", { "sec-websocket-version": "12" }],
  ["a short key", { "sec-websocket-key": "dGhlIHNhbXBsZQ==" }],
  ["a key that is no base64", { "sec-websocket-key": "!!!!!!!!!!!!!!!!!!!!!!==" }],
];

for (const [what, headers, method] of NO_UPGRADES) {
  Deno.test(`readOffer() refuses ${what} with 426`, () => {
    assert.equal(refusalOf(`/${USER}/1`, headers, method), "upgrade_required");
  });
}

Deno.test("readOffer() takes headers of a proxy: several words, in any case", () => {
  const headers = { upgrade: "WebSocket", connection: "keep-alive, upgrade" };
  assert.equal(refusalOf(`/${USER}/1`, headers), null);
});

Deno.test("readOffer() refuses by the path first, then the version, then the upgrade", () => {
  const bad = { "sec-websocket-protocol": "messaging.v9", upgrade: "none" };
  assert.equal(refusalOf("/", bad), "not_found");
  assert.equal(refusalOf("/x/1", bad), "bad_address");
  assert.equal(refusalOf(`/${USER}/1`, bad), "bad_version");
  assert.equal(refusalOf(`/${USER}/1`, { upgrade: "none" }), "upgrade_required");
});
