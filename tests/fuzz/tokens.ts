/** Tokens, good and bad, with what they are worth: by the README and RFC 7519, and not by the code that verifies them. */
import { createHmac } from "node:crypto";
import { makeUserId } from "./mutation.ts";
import type { Random } from "../process/random.ts";
import { TEST_ENVIRONMENT } from "../support/server.ts";

/** What a token is good for at an address: 101 for its owner, 401 for nobody, 403 for somebody else. */
interface Presented {
  readonly token: string;
  readonly status: 101 | 401 | 403;
  readonly what: string;
}

const SECRET = TEST_ENVIRONMENT["AUTH_SECRET"] ?? "";

const base64url = (text: string) => btoa(text).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

/** Signs whatever header and claims. @param hash of the HMAC; `null` leaves the signature empty. */
function sign(header: unknown, claims: unknown, hash: string | null = "sha256", secret = SECRET): string {
  const text = (value: unknown) => typeof value === "string" ? value : JSON.stringify(value);
  const signed = `${base64url(text(header))}.${base64url(text(claims))}`;
  return `${signed}.${hash === null ? "" : createHmac(hash, secret).update(signed).digest("base64url")}`;
}

const HEADER = { alg: "HS256", typ: "JWT" };

/** Makes a token for a device of a user, or what looks like one. */
function makeToken(random: Random, userId: string, deviceId: number): Presented {
  const now = Math.floor(Date.now() / 1_000);
  const good = { sub: userId, aud: "messaging-server", iat: now, exp: now + 3_600 };
  const { sub: _sub, ...noSubject } = good;
  const { aud: _aud, ...noAudience } = good;
  const { exp: _exp, ...noExpiry } = good;
  const of = (status: Presented["status"], what: string, token: string): Presented => ({
    token,
    status,
    what,
  });
  const claims = (status: Presented["status"], what: string, changed: unknown) =>
    of(status, what, sign(HEADER, changed));
  const forged = (what: string, token: string) => of(401, what, token);
  const makers: readonly (() => Presented)[] = [
    () => claims(101, "good", good),
    () => claims(101, "good for this device", { ...good, device: deviceId }),
    () => claims(101, "upper case", { ...good, sub: userId.toUpperCase() }),
    () => claims(101, "several audiences", { ...good, aud: ["other", "messaging-server"] }),
    () => claims(101, "issued in the future", { ...good, iat: now + 9_999 }),
    () => claims(101, "good for 10,000 years", { ...good, exp: 3.2e11 }),
    () =>
      of(101, "key hints", sign({ ...HEADER, kid: "../../etc/passwd", jku: "http://127.0.0.1:1/" }, good)),
    () => claims(403, "another user", { ...good, sub: makeUserId(random) }),
    () => claims(403, "another device", { ...good, device: (deviceId + 1) % 2 ** 32 }),
    () => claims(401, "expired", { ...good, exp: now - 10 }),
    () => claims(401, "expired before all time", { ...good, exp: -1e18 }),
    () => claims(401, "not yet valid", { ...good, nbf: now + 600 }),
    () => claims(401, "no expiry", noExpiry),
    () => claims(401, "an expiry in words", { ...good, exp: `${now + 3_600}` }),
    () => claims(401, "an empty expiry", { ...good, exp: null }),
    () => claims(401, "no audience", noAudience),
    () =>
      claims(401, "another audience", {
        ...good,
        aud: random.pick(["", "messaging", "Messaging-Server", null, 1]),
      }),
    () => claims(401, "no subject", noSubject),
    () =>
      claims(401, "another subject", {
        ...good,
        sub: random.pick(["", "admin", null, 7, [userId], `${userId} `]),
      }),
    () =>
      claims(401, "a strange device", { ...good, device: random.pick(["1", -1, 1.5, 2 ** 32, [1], true]) }),
    () => claims(401, "claims that are no object", random.pick([[], "x", 1, null, '{"sub":'])),
    () => claims(401, "a prototype", `{"__proto__":${JSON.stringify(good)}}`),
    () => forged("unsigned", sign({ alg: random.pick(["none", "None", "NONE", "nOnE", ""]) }, good, null)),
    () => forged("unsigned, with HS256", sign(HEADER, good, null)),
    () => forged("HS384", sign({ alg: "HS384" }, good, "sha384")),
    () => forged("HS512", sign({ alg: "HS512" }, good, "sha512")),
    () => forged("confused", sign({ alg: random.pick(["RS256", "ES256", "PS256", "EdDSA"]) }, good)),
    () => forged("no algorithm", sign({ typ: "JWT" }, good)),
    () => forged("critical", sign({ ...HEADER, crit: ["x"], x: 1 }, good)),
    () => forged("not encoded", sign({ ...HEADER, crit: ["b64"], b64: false }, good)),
    () => forged("another secret", sign(HEADER, good, "sha256", "another secret that is long enough, too")),
    () => forged("no secret", sign(HEADER, good, "sha256", "")),
    () => forged("too long", sign(HEADER, { ...good, x: "x".repeat(random.pick([8_192, 20_000])) })),
    () => forged("dots", ".".repeat(random.integer(2_000))),
    () => forged("cut", sign(HEADER, good).slice(0, -1 - random.integer(20))),
    () => forged("longer", `${sign(HEADER, good)}${random.pick(["A", ".", ".e30", "=="])}`),
    () => forged("not ASCII", sign(HEADER, good).replace("e", "\u00e9")),
    () => forged("another signature", sign(HEADER, good).replace(/.{4}$/, "AAAA")),
    () => forged("noise", random.bytes(1 + random.integer(60)).toBase64({ alphabet: "base64url" })),
  ];
  return random.chance(0.5) ? random.pick(makers.slice(0, 7))() : random.pick(makers)();
}

/** Where the token is, and what it is worth there. */
export function makeCredentials(random: Random, userId: string, deviceId: number) {
  const { token, status, what } = makeToken(random, userId, deviceId);
  const die = random.next();
  const made = (header: string, bearer: string[], due: number = status) => ({
    token,
    what,
    header,
    bearer,
    due,
  });
  if (die < 0.05) return made("", [], 401);
  // As a subprotocol a token can't hold what ends one.
  if (die < 0.35 && /^[\x21-\x7e]+$/.test(token)) return made("", [`bearer.${token}`]);
  if (die < 0.4) return made(`Authorization: Bearer ${token}\r\n`, ["bearer.nonsense"]);
  if (die < 0.45) return made(`Authorization: ${random.pick(["Basic", "Token", ""])} ${token}\r\n`, [], 401);
  if (die < 0.48) {
    return made(
      `Authorization: Bearer ${token}\r\nAuthorization: Bearer ${token}\r\n`,
      [`bearer.${token}`],
      401,
    );
  }
  if (die < 0.5) return made(`Authorization: Bearer ${token} ${token}\r\n`, [], 401);
  return made(`Authorization: ${random.pick(["Bearer", "bearer", "BEARER", "Bearer  "])} ${token}\r\n`, []);
}
