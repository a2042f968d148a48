/**
 * Tests of who may open a connection, and in which order that is judged (protocol §1).
 * @module
 */
import assert from "node:assert/strict";
import type { Address } from "../../lib/address.ts";
import type { Clock } from "../../lib/clock.ts";
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
import type { Rate } from "../../lib/setting_kinds.ts";
import { ManualClock } from "../support/manual_clock.ts";
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

const LIMITS = {
  connectionsMax: 100,
  userConnectionsMax: 100,
  remoteConnectionsMax: 100,
  host: "127.0.0.1",
  rateConnections: null as Rate,
  rateRemoteConnections: null as Rate,
  rateUserConnections: null as Rate,
  rateTakeovers: null as Rate,
};

function admissionOf(
  limits: Partial<typeof LIMITS> = {},
  authenticator: Authenticator = authenticatorFor({}),
  clock: Clock = new ManualClock(),
  descriptors = { suffice: () => true },
  refusals = { waitForHalfMs: (_userId: string) => 0 },
) {
  return new Admission({ ...LIMITS, ...limits }, authenticator, clock, refusals, descriptors);
}

const refused = (reason: string) => ({ name: "Refusal", reason });

Deno.test("admit() passes on whom the token is for", async () => {
  const address = newAddress();
  const identity = { userId: address.userId, deviceId: address.deviceId, expiresAt: 77 };
  const admission = admissionOf({}, authenticatorFor(identity));
  assert.deepEqual(await admission.admit(offerOf(address), null, null), identity);
  assert.equal(admission.count, 1);
  admission.release(address, null);
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
    await assert.rejects(admission.admit(offerOf(address, token), null, null), refused(reason));
    assert.equal(admission.count, 0);
  }
  const admission = admissionOf();
  await assert.rejects(admission.admit(offerOf(address, "broken"), null, null), { name: "TypeError" });
  assert.equal(admission.count, 0);
});

Deno.test("admit() says when to come back if nobody can tell whether a token is good, and counts nobody", async () => {
  const admission = admissionOf();
  const cases = { unknown: ["unavailable", 3], flood: ["too_many_tokens", 4] } as const;
  for (const [token, [reason, retryAfterSeconds]] of Object.entries(cases)) {
    const expected = { ...refused(reason), retryAfterSeconds };
    await assert.rejects(admission.admit(offerOf(newAddress(), token), null, null), expected);
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
  const both = [admission.admit(offerOf(a), null, null), admission.admit(offerOf(b), null, null)];
  const full = { ...refused("too_many_connections"), retryAfterSeconds: 10 };
  await assert.rejects(admission.admit(offerOf(newAddress(), "bad"), null, null), full);
  await Promise.all(both);
  assert.equal(authenticator.asked, 2);
  admission.release(a, null);
  await admission.admit(offerOf(newAddress()), null, null);
});

Deno.test("admit() refuses above the limit of a user, after its token", async () => {
  const admission = admissionOf({ userConnectionsMax: 2 });
  const { userId } = newAddress();
  const device = (deviceId: number) => ({ userId, deviceId });
  await admission.admit(offerOf(device(1)), null, null);
  await admission.admit(offerOf(device(2)), null, null);
  await assert.rejects(admission.admit(offerOf(device(3), "bad"), null, null), refused("unauthorized"));
  await assert.rejects(admission.admit(offerOf(device(3)), null, null), refused("too_many_connections"));
  await admission.admit(offerOf(newAddress()), null, null);
  assert.equal(admission.count, 3);
  admission.release(device(1), null);
  await admission.admit(offerOf(device(3)), null, null);
});

Deno.test("admit() lets a device take over its own address at the limit of its user", async () => {
  const admission = admissionOf({ userConnectionsMax: 1 });
  const address = newAddress();
  await admission.admit(offerOf(address), null, null);
  await admission.admit(offerOf(address), null, null);
  admission.release(address, null); // the connection that was replaced
  await assert.rejects(
    admission.admit(offerOf({ ...address, deviceId: 2 }), null, null),
    refused("too_many_connections"),
  );
  admission.release(address, null);
  await admission.admit(offerOf({ ...address, deviceId: 2 }), null, null);
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
    const admitted = admission.admit(offerOf(newAddress(), null), origin, null);
    if (isAllowed) assert.equal((await admitted).userId, null);
    else await assert.rejects(admitted, refused("forbidden"));
  });
}

Deno.test("admit() without tokens takes what is no web page, and pages of the host that it listens on", async () => {
  const admission = admissionOf({ host: "chat.lan" }, openAccess);
  await admission.admit(offerOf(newAddress(), null), null, null);
  await admission.admit(offerOf(newAddress(), null), "http://chat.lan:8080", null);
  await assert.rejects(
    admission.admit(offerOf(newAddress(), null), "http://other.lan", null),
    refused("forbidden"),
  );
});

Deno.test("admit() with tokens takes pages from anywhere", async () => {
  await admissionOf().admit(offerOf(newAddress()), "https://app.example", null);
});

Deno.test("admit() refuses above the limit of a remote before it looks at the token, and others go on", async () => {
  const authenticator = authenticatorFor({});
  const admission = admissionOf({ remoteConnectionsMax: 2 }, authenticator);
  const [a, b] = [newAddress(), newAddress()];
  await admission.admit(offerOf(a), null, "far");
  await admission.admit(offerOf(b), null, "far");
  await assert.rejects(
    admission.admit(offerOf(newAddress(), "bad"), null, "far"),
    refused("too_many_connections"),
  );
  assert.equal(authenticator.asked, 2);
  await admission.admit(offerOf(newAddress()), null, "near");
  for (let i = 0; i < 5; i++) await admission.admit(offerOf(newAddress()), null, null); // this machine is exempt
  admission.release(a, "far");
  await admission.admit(offerOf(newAddress()), null, "far");
});

Deno.test("admit() gives a place back that a bad token had of its remote", async () => {
  const admission = admissionOf({ remoteConnectionsMax: 1 });
  for (let i = 0; i < 3; i++) {
    await assert.rejects(
      admission.admit(offerOf(newAddress(), "bad"), null, "far"),
      refused("unauthorized"),
    );
  }
  await admission.admit(offerOf(newAddress()), null, "far");
});

Deno.test("admit() refuses new ones of a remote over its rate, which cost the rate of all nothing", async () => {
  const clock = new ManualClock();
  const rateConnections = { perSecond: 1, burst: 5 };
  const rateRemoteConnections = { perSecond: 0.1, burst: 2 };
  const admission = admissionOf({ rateConnections, rateRemoteConnections }, authenticatorFor({}), clock);
  const admit = (remote: string | null, token = "good") =>
    admission.admit(offerOf(newAddress(), token), null, remote);
  await admit("far");
  await assert.rejects(admit("far", "bad"), refused("unauthorized")); // it costs as much
  const late = { ...refused("too_many_connections"), retryAfterSeconds: 10 };
  for (let i = 0; i < 50; i++) await assert.rejects(admit("far"), late);
  for (let i = 0; i < 2; i++) await admit("near");
  await admit(null);
  clock.advance(10_000);
  await admit("far");
});

Deno.test("admit() refuses above the rate of all before it looks at the token, to come again at different times", async () => {
  const authenticator = authenticatorFor({});
  const admission = admissionOf({ rateConnections: { perSecond: 1, burst: 3 } }, authenticator);
  for (let i = 0; i < 3; i++) await admission.admit(offerOf(newAddress()), null, `remote ${i}`);
  const times = new Set<unknown>();
  for (let i = 0; i < 100; i++) {
    const error = await admission.admit(offerOf(newAddress()), null, `other ${i}`).then(() => null, (e) => e);
    assert.equal(error?.reason, "overloaded");
    assert.equal(error.status, 503);
    assert.ok(error.retryAfterSeconds >= 1 && error.retryAfterSeconds <= 31, `${error.retryAfterSeconds}`);
    times.add(error.retryAfterSeconds);
  }
  assert.ok(times.size > 5, `${times.size} times`);
  assert.equal(authenticator.asked, 3);
});

Deno.test("admit() refuses new ones of a user over its rate, and a takeover over that of its device first", async () => {
  const clock = new ManualClock();
  const rates = {
    rateUserConnections: { perSecond: 0.1, burst: 4 },
    rateTakeovers: { perSecond: 0.2, burst: 1 },
  };
  const admission = admissionOf(rates, authenticatorFor({}), clock);
  const phone = newAddress(1);
  const tablet = { ...phone, deviceId: 2 };
  const late = (seconds: number) => ({ ...refused("too_many_connections"), retryAfterSeconds: seconds });
  await admission.admit(offerOf(phone), null, null);
  await admission.admit(offerOf(phone), null, null); // takes over
  for (let i = 0; i < 20; i++) {
    await assert.rejects(admission.admit(offerOf(phone), null, null), late(5));
  }
  await admission.admit(offerOf(tablet), null, null); // the loop took nothing from it
  admission.release(tablet, null);
  await admission.admit(offerOf(tablet), null, null); // no takeover
  admission.release(tablet, null);
  await assert.rejects(admission.admit(offerOf(tablet), null, null), late(10));
  await admission.admit(offerOf(newAddress()), null, null);
  clock.advance(5_000);
  await assert.rejects(admission.admit(offerOf(phone), null, null), late(5)); // of its user
  clock.advance(5_000);
  await admission.admit(offerOf(phone), null, null);
  assert.equal(admission.count, 4);
});

Deno.test("admit() refuses while nothing more can be opened, before it looks at the token", async () => {
  const descriptors = { suffice: () => false };
  const authenticator = authenticatorFor({});
  const admission = admissionOf({}, authenticator, new ManualClock(), descriptors);
  const full = { ...refused("overloaded"), retryAfterSeconds: 10 };
  await assert.rejects(admission.admit(offerOf(newAddress()), null, null), full);
  assert.equal(authenticator.asked, 0);
  assert.equal(admission.count, 0);
  descriptors.suffice = () => true;
  await admission.admit(offerOf(newAddress()), null, null);
});

Deno.test("admit() refuses a user whose requests were refused too often, after its token, and no other", async () => {
  const flooder = newAddress();
  const refusals = { waitForHalfMs: (userId: string) => userId === flooder.userId ? 4_200 : 0 };
  const admission = admissionOf({}, authenticatorFor({}), new ManualClock(), undefined, refusals);
  await assert.rejects(admission.admit(offerOf(flooder, "bad"), null, null), refused("unauthorized"));
  const late = { ...refused("too_many_connections"), retryAfterSeconds: 5 };
  await assert.rejects(admission.admit(offerOf(flooder), null, null), late);
  await admission.admit(offerOf(newAddress()), null, null);
  assert.equal(admission.count, 1);
});
