/**
 * Tests of where a request comes from: what a client makes up about itself is never believed.
 * @module
 */
import assert from "node:assert/strict";
import { parseIpBlock } from "../../lib/ip_address.ts";
import { remoteOf } from "../../lib/server/remote.ts";
import fc from "../support/fast_check.ts";

const blocks = (...texts: readonly string[]) => texts.flatMap((text) => parseIpBlock(text) ?? []);

/** The key of a remote that connects itself. */
const keyOf = (address: string) => remoteOf(address, null, []).key;

const PROXIES = blocks("127.0.0.1", "10.0.0.0/8");

/** From the peer and its X-Forwarded-For to the remote that it stands for. */
const CASES: readonly (readonly [peer: string, forwardedFor: string | null, remote: string | null])[] = [
  ["203.0.113.9", null, "203.0.113.9"],
  ["203.0.113.9", "198.51.100.1", "203.0.113.9"], // not a proxy: it may say what it likes
  ["127.0.0.1", "198.51.100.1", "198.51.100.1"],
  ["::ffff:127.0.0.1", "198.51.100.1", "198.51.100.1"],
  ["127.0.0.1", "1.1.1.1, 198.51.100.1", "198.51.100.1"], // the left one is made up
  ["127.0.0.1", "1.1.1.1, 198.51.100.1, 10.1.1.1", "198.51.100.1"],
  ["127.0.0.1", "1.1.1.1, 10.9.9.9, 198.51.100.1,10.1.1.1", "198.51.100.1"],
  ["10.1.1.1", "198.51.100.1:4711", "198.51.100.1"],
  ["10.1.1.1", "[2001:db8::7]:4711", "2001:db8::7"],
  ["10.1.1.1", "2001:db8::7", "2001:db8::8"], // the same /64
  ["10.1.1.1", "  198.51.100.1\t", "198.51.100.1"],
  ["10.1.1.1", "198.51.100.1, unknown", null], // what the proxy wrote can't be read: it is not guessed
  ["10.1.1.1", "", null],
  ["10.1.1.1", null, null], // the proxy itself, such as its health check
  ["10.1.1.1", "10.2.2.2", null],
  ["10.1.1.1", "127.0.0.2", null],
  ["127.0.0.5", null, null], // this machine
  ["::1", null, null],
];

for (const [peer, forwardedFor, remote] of CASES) {
  Deno.test(`remoteOf() takes ${peer} with ${JSON.stringify(forwardedFor)} for ${remote ?? "nobody to limit"}`, () => {
    assert.equal(remoteOf(peer, forwardedFor, PROXIES).key, remote === null ? null : keyOf(remote));
  });
}

Deno.test("remoteOf() tells of a proxy that nobody named", () => {
  assert.equal(remoteOf("127.0.0.1", "198.51.100.1", []).isUnnamedProxy, true);
  assert.equal(remoteOf("127.0.0.1", "198.51.100.1", PROXIES).isUnnamedProxy, false);
  assert.equal(remoteOf("127.0.0.1", null, []).isUnnamedProxy, false);
  assert.deepEqual(remoteOf(null, null, PROXIES), { key: null, isUnnamedProxy: false });
});

Deno.test("remoteOf() is not moved by anything that stands left of what the proxy wrote", () => {
  fc.assert(fc.property(fc.oneof(fc.string({ maxLength: 3_000 }), fc.ipV4(), fc.ipV6()), (madeUp) => {
    assert.equal(remoteOf("10.1.1.1", `${madeUp}, 198.51.100.1`, PROXIES).key, keyOf("198.51.100.1"));
  }));
});
