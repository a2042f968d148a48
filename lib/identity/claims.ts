/**
 * What the tokens of an identity provider say, read as an identity: strictly, since whatever is unclear must not open a
 * connection.
 * @module
 */
import { parseDeviceId, parseUserId, UINT32_MAX } from "../address.ts";
import { PROVIDER } from "../limits.ts";
import { AuthenticationError, type Identity } from "./authenticator.ts";

/** Which claims say whom a token is for. */
export interface ClaimNames {
  /** The claim that holds the user ID. */
  readonly user: string;
  /** The claim that holds the device ID; `null` if a token is good for every device of its user. */
  readonly device: string | null;
}

/** Claims, as they came out of JSON. */
export type Claims = Readonly<Record<string, unknown>>;

/**
 * Whom the claims are for, if they hold now.
 *
 * @param now milliseconds since the epoch.
 * @throws {AuthenticationError} if they name no user, or not the device that they must name, or hold no more or not yet.
 */
export function identityOf(claims: Claims, names: ClaimNames, now: number): Identity {
  const user = read(claims, names.user);
  const userId = typeof user === "string" ? parseUserId(user) : null;
  if (userId === null) throw new AuthenticationError(`the token's ${names.user} is not a user ID`);
  const deviceId = names.device === null ? null : readDevice(read(claims, names.device));
  if (deviceId === undefined) {
    throw new AuthenticationError(`the token's ${names.device} is missing or not a device ID`);
  }
  const exp = readTime(claims, "exp");
  if (exp !== null && exp * 1_000 <= now) throw new AuthenticationError("the token has expired");
  const nbf = readTime(claims, "nbf");
  if (nbf !== null && nbf * 1_000 > now + PROVIDER.clockSkewMs) {
    throw new AuthenticationError("the token is not good yet");
  }
  return { userId, deviceId, expiresAt: exp === null ? null : exp * 1_000 };
}

/** Whether the claim `aud` names an audience: as its text, or among several. */
export function isFor(aud: unknown, audience: string): boolean {
  return aud === audience || (Array.isArray(aud) && aud.includes(audience));
}

function read(claims: Claims, name: string): unknown {
  return Object.hasOwn(claims, name) ? claims[name] : undefined;
}

/** A number, or, since some providers know nothing but text, its decimal form. */
function readDevice(value: unknown): number | undefined {
  if (typeof value === "string") return parseDeviceId(value) ?? undefined;
  const isUint32 = typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= UINT32_MAX;
  return isUint32 ? value : undefined;
}

function readTime(claims: Claims, name: "exp" | "nbf"): number | null {
  const value = read(claims, name) ?? null;
  if (value !== null && typeof value !== "number") {
    throw new AuthenticationError(`the token's ${name} is not a number`);
  }
  return value;
}
