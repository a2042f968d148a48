/**
 * Tests of who may open a connection, and in which order that is judged (protocol §1).
 * @module
 */
import assert from "node:assert/strict";
import type { Address } from "../../lib/address.ts";
import {
  AuthenticationError,
  AuthenticationUnavailable,
  type Authenticator,
  type Identity,
} from "../../lib/identity/mod.ts";
import { openAccess } from "../../lib/identity/open_access.ts";
import { v1 } from "../../lib/protocol/mod.ts";
import { Admission } from "../../lib/server/admission.ts";
import type { Offer } from "../../lib/server/offer.ts";
import { newAddress } from "../store/open_store.ts";

const offerOf = (address: Address, token: string | null = "good"): Offer => ({
  address,
  token,
  codec: v1,
  subprotocol: null,
});

/** Takes every token but `bad`, for the identity that is given. */
function authenticatorFor(identity: Partial<Identity>): Authenticator & { asked: number } {
  return {
    isOpen: false,
    asked: 0,
    authenticate(token) {
      this.asked++;
      if (token === "bad") return Promise.reject(new AuthenticationError("the token has expired"));
      if (token === "unknown") return Promise.reject(new AuthenticationUnavailable("nobody can tell", 3));
      if (token === "flood") return Promise.reject(new AuthenticationUnavailable("too many", 4, true));
      if (token === "broken") return Promise.reject(new TypeError("a fault"));
      return Promise.resolve({ userId: null, deviceId: null, expiresAt: null, ...identity });
    },
  };
}

const LIMITS = { connectionsMax: 100, userConnectionsMax: 100, host: "127.0.0.1" };

function admissionOf(
  limits: Partial<typeof LIMITS> = {},
  authenticator: Authenticator = authenticatorFor({}),
) {
  return new Admission({ ...LIMITS, ...limits }, authenticator);
}

const refused = (reason: string) => ({ name: "Refusal", reason });

Deno.test("admit() passes on whom the token is for", async () => {
  const address = newAddress();
  const identity = { userId: address.userId, deviceId: address.deviceId, expiresAt: 77 };
  const admission = admissionOf({}, authenticatorFor(identity));
  assert.deepEqual(await admission.admit(offerOf(address), null), identity);
  assert.equal(admission.count, 1);
  admission.release(address);
  assert.equal(admission.count, 0);
});

Deno.test("admit() refuses a token that is bad, or for somebody else, and counts nobody", async () => {
  const address = newAddress(5);
  const cases: readonly (readonly [reason: string, identity: Partial<Identity>, token: string])[] = [
    ["unauthorized", {}, "bad"],
    ["forbidden", { userId: crypto.randomUUID() }, "good"],
    ["forbidden", { userId: address.userId, deviceId: 6 }, "good"],
  ];
  for (const [reason, identity, token] of cases) {
    const admission = admissionOf({}, authenticatorFor(identity));
    await assert.rejects(admission.admit(offerOf(address, token), null), refused(reason));
    assert.equal(admission.count, 0);
  }
  const admission = admissionOf();
  await assert.rejects(admission.admit(offerOf(address, "broken"), null), { name: "TypeError" });
  assert.equal(admission.count, 0);
});

Deno.test("admit() says when to come back if nobody can tell whether a token is good, and counts nobody", async () => {
  const admission = admissionOf();
  const cases = { unknown: ["unavailable", 3], flood: ["too_many_tokens", 4] } as const;
  for (const [token, [reason, retryAfterSeconds]] of Object.entries(cases)) {
    const expected = { ...refused(reason), retryAfterSeconds };
    await assert.rejects(admission.admit(offerOf(newAddress(), token), null), expected);
    assert.equal(admission.count, 0);
  }
});

Deno.test("admit() tells the authenticator where a token comes from", async () => {
  const from: unknown[] = [];
  const authenticator: Authenticator = {
    isOpen: false,
    authenticate(_, remoteAddress) {
      from.push(remoteAddress);
      return Promise.resolve({ userId: null, deviceId: null, expiresAt: null });
    },
  };
  const admission = admissionOf({}, authenticator);
  await admission.admit(offerOf(newAddress()), null, "192.0.2.1");
  await admission.admit(offerOf(newAddress()), null, null);
  assert.deepEqual(from, ["192.0.2.1", null]);
});

Deno.test("admit() refuses above the limit in total before it looks at the token, those under way counted", async () => {
  const authenticator = authenticatorFor({});
  const admission = admissionOf({ connectionsMax: 2 }, authenticator);
  const [a, b] = [newAddress(), newAddress()];
  const both = [admission.admit(offerOf(a), null), admission.admit(offerOf(b), null)];
  const full = { ...refused("too_many_connections"), retryAfterSeconds: 10 };
  await assert.rejects(admission.admit(offerOf(newAddress(), "bad"), null), full);
  await Promise.all(both);
  assert.equal(authenticator.asked, 2);
  admission.release(a);
  await admission.admit(offerOf(newAddress()), null);
});

Deno.test("admit() refuses above the limit of a user, after its token", async () => {
  const admission = admissionOf({ userConnectionsMax: 2 });
  const { userId } = newAddress();
  const device = (deviceId: number) => ({ userId, deviceId });
  await admission.admit(offerOf(device(1)), null);
  await admission.admit(offerOf(device(2)), null);
  await assert.rejects(admission.admit(offerOf(device(3), "bad"), null), refused("unauthorized"));
  await assert.rejects(admission.admit(offerOf(device(3)), null), refused("too_many_connections"));
  await admission.admit(offerOf(newAddress()), null);
  assert.equal(admission.count, 3);
  admission.release(device(1));
  await admission.admit(offerOf(device(3)), null);
});

Deno.test("admit() lets a device take over its own address at the limit of its user", async () => {
  const admission = admissionOf({ userConnectionsMax: 1 });
  const address = newAddress();
  await admission.admit(offerOf(address), null);
  await admission.admit(offerOf(address), null);
  admission.release(address); // the connection that was replaced
  await assert.rejects(
    admission.admit(offerOf({ ...address, deviceId: 2 }), null),
    refused("too_many_connections"),
  );
  admission.release(address);
  await admission.admit(offerOf({ ...address, deviceId: 2 }), null);
});

const ORIGINS: Readonly<Record<string, boolean>> = {
  "http://localhost:3000": true,
  "http://127.0.0.1": true,
  "http://[::1]:8080": true,
  "https://evil.example": false,
  "http://localhost.evil.example": false,
  "null": false,
  "": false,
};

for (const [origin, isAllowed] of Object.entries(ORIGINS)) {
  Deno.test(`admit() without tokens ${isAllowed ? "takes" : "refuses"} a page of "${origin}"`, async () => {
    const admission = admissionOf({}, openAccess);
    const admitted = admission.admit(offerOf(newAddress(), null), origin);
    if (isAllowed) assert.equal((await admitted).userId, null);
    else await assert.rejects(admitted, refused("forbidden"));
  });
}

Deno.test("admit() without tokens takes what is no web page, and pages of the host that it listens on", async () => {
  const admission = admissionOf({ host: "chat.lan" }, openAccess);
  await admission.admit(offerOf(newAddress(), null), null);
  await admission.admit(offerOf(newAddress(), null), "http://chat.lan:8080");
  await assert.rejects(
    admission.admit(offerOf(newAddress(), null), "http://other.lan"),
    refused("forbidden"),
  );
});

Deno.test("admit() with tokens takes pages from anywhere", async () => {
  await admissionOf().admit(offerOf(newAddress()), "https://app.example");
});
