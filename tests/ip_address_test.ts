/**
 * Tests of addresses of the network, against the platform's own parser where it has one.
 * @module
 */
import assert from "node:assert/strict";
import { isIP } from "node:net";
import {
  isInBlock,
  isLoopbackAddress,
  parseIpAddress,
  parseIpBlock,
  subscriberOf,
} from "../lib/ip_address.ts";
import fc from "./support/fast_check.ts";

function address(text: string): bigint {
  const parsed = parseIpAddress(text);
  assert.ok(parsed !== null, text);
  return parsed;
}

const SAME: readonly (readonly string[])[] = [
  ["10.1.2.3", "::ffff:10.1.2.3", "::FFFF:0a01:0203", "0:0:0:0:0:ffff:10.1.2.3"],
  ["::1", "0:0:0:0:0:0:0:1", "0000:0000::0001"],
  ["fe80::1", "fe80::1%eth0", "FE80:0:0:0:0:0:0:1"],
  ["2001:db8::", "2001:db8:0:0:0:0:0:0"],
  ["1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"],
];

for (const forms of SAME) {
  Deno.test(`parseIpAddress() reads ${forms[0]} in all of its forms`, () => {
    assert.equal(new Set(forms.map(address)).size, 1);
  });
}

const NO_ADDRESSES = [
  "",
  " ",
  "localhost",
  "10.1.2",
  "10.1.2.256",
  "10.1.2.03",
  "10.1.2.3.4",
  "10.1.2.3 ",
  "0x7f.0.0.1",
  ":",
  ":::",
  "1::2::3",
  "1:2:3:4:5:6:7",
  "1:2:3:4:5:6:7:8:9",
  "1:2:3:4::5:6:7:8",
  "12345::",
  "g::",
  "[::1]",
  "1.2.3.4::",
  "::1.2.3.4:5",
  "::1%",
  "10.1.2.3%eth0",
  "-1.2.3.4",
];

for (const text of NO_ADDRESSES) {
  Deno.test(`parseIpAddress() reads no address in ${JSON.stringify(text)}`, () => {
    assert.equal(parseIpAddress(text), null);
  });
}

Deno.test("parseIpAddress() agrees with the platform on what is an address, and never throws", () => {
  const piece = fc.oneof(
    fc.constantFrom(":", "::", ".", "0", "1", "255", "ffff", "%", "/", " "),
    fc.string(),
  );
  const text = fc.oneof(fc.ipV4(), fc.ipV6(), fc.array(piece, { maxLength: 12 }).map((all) => all.join("")));
  fc.assert(fc.property(text, (text) => {
    if (text.includes("%")) return void parseIpAddress(text);
    assert.equal(parseIpAddress(text) !== null, isIP(text) !== 0, text);
  }));
});

Deno.test("isInBlock() takes what begins with the bits of the block, and nothing else", () => {
  const cases: readonly (readonly [block: string, inside: readonly string[], outside: readonly string[]])[] =
    [
      ["10.0.0.0/8", ["10.0.0.0", "10.255.255.255", "::ffff:10.1.1.1"], [
        "11.0.0.0",
        "9.255.255.255",
        "::a00:1",
      ]],
      ["192.168.1.7", ["192.168.1.7"], ["192.168.1.6", "192.168.1.8"]],
      ["172.16.0.0/12", ["172.31.255.255"], ["172.32.0.0"]],
      ["128.0.0.0/1", ["255.0.0.1"], ["127.0.0.1", "8000::"]],
      ["fd00::/8", ["fd12:3456::1"], ["fc00::1", "253.0.0.0"]],
      ["::1/128", ["::1"], ["::2", "0.0.0.1"]],
    ];
  for (const [text, inside, outside] of cases) {
    const block = parseIpBlock(text);
    assert.ok(block !== null, text);
    for (const one of inside) assert.ok(isInBlock(address(one), block), `${one} in ${text}`);
    for (const one of outside) assert.ok(!isInBlock(address(one), block), `${one} not in ${text}`);
  }
});

Deno.test("parseIpBlock() refuses every address at once, bits behind the prefix, and what is malformed", () => {
  const wrong = ["0.0.0.0/0", "::/0", "10.0.0.1/8", "fd00::1/64", "10.0.0.0/33", "::/129", "10.0.0.0/08"];
  for (
    const text of [...wrong, "10.0.0.0/", "10.0.0.0/8/8", "/8", "all", "10.0.0.0/255.0.0.0", "10.0.0.0/-1"]
  ) {
    assert.equal(parseIpBlock(text), null, text);
  }
});

Deno.test("subscriberOf() gathers a /64 of IPv6, and keeps IPv4 addresses apart", () => {
  assert.equal(subscriberOf(address("2001:db8:0:1::5")), subscriberOf(address("2001:db8:0:1:ffff::")));
  assert.notEqual(subscriberOf(address("2001:db8:0:1::5")), subscriberOf(address("2001:db8:0:2::5")));
  assert.notEqual(subscriberOf(address("10.0.0.1")), subscriberOf(address("10.0.0.2")));
  assert.equal(subscriberOf(address("10.0.0.1")), subscriberOf(address("::ffff:10.0.0.1")));
});

/** Addresses, and the network of each: what has the same one is of one subscriber. */
const NETWORKS: Readonly<Record<string, string>> = {
  "192.0.2.1": "192.0.2.1",
  "::ffff:192.0.2.1": "192.0.2.1",
  "::FFFF:192.0.2.1": "192.0.2.1",
  "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64",
  "2001:DB8:1:2::6": "2001:db8:1:2::/64",
  "2001:0db8:0001:0002::": "2001:db8:1:2::/64",
  "2001:db8::1": "2001:db8:0:0::/64",
  "2001:db8:0:0:ffff::1": "2001:db8:0:0::/64",
  "::1": "0:0:0:0::/64",
  "fe80::1%eth0": "fe80:0:0:0::/64",
};

for (const [one, network] of Object.entries(NETWORKS)) {
  Deno.test(`subscriberOf() counts "${one}" as "${network}"`, () => {
    for (const [other, itsNetwork] of Object.entries(NETWORKS)) {
      const isSame = subscriberOf(address(one)) === subscriberOf(address(other));
      assert.equal(isSame, network === itsNetwork, other);
    }
  });
}

Deno.test("isLoopbackAddress() takes this machine in both families", () => {
  for (const one of ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"]) {
    assert.ok(isLoopbackAddress(address(one)));
  }
  for (const one of ["128.0.0.1", "::2", "10.0.0.1"]) assert.ok(!isLoopbackAddress(address(one)));
});
