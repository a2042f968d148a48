/**
 * Tokens that this server's own secret signs: JWTs with HS256.
 *
 * Claims: `sub` the user ID, `device` the device ID (absent: every device of the user), `aud` always
 * `messaging-server`, `iat` and `exp`, all as RFC 7519 has them. `nbf` counts where it is there.
 * @module
 */
import { errors, jwtVerify, SignJWT } from "jose";
import { type Address, parseUserId, UINT32_MAX } from "../address.ts";
import type { Clock } from "../clock.ts";
import { TOKEN_BYTES_MAX } from "../limits.ts";
import { AuthenticationError, type Authenticator, type Identity, requireToken } from "./authenticator.ts";

const ALGORITHM = "HS256";

/** Keeps tokens of other services that share a secret by mistake from opening connections here. */
const AUDIENCE = "messaging-server";

/** What a token is made for. */
export interface TokenClaims {
  readonly userId: string;
  /** Absent: every device of the user. */
  readonly deviceId?: Address["deviceId"];
  readonly ttlMs: number;
}

/** Signs a token. */
export function signToken(secret: Uint8Array, claims: TokenClaims, now: number): Promise<string> {
  const seconds = Math.floor(now / 1_000);
  return new SignJWT(claims.deviceId === undefined ? {} : { device: claims.deviceId })
    .setProtectedHeader({ alg: ALGORITHM, typ: "JWT" })
    .setSubject(claims.userId)
    .setAudience(AUDIENCE)
    .setIssuedAt(seconds)
    .setExpirationTime(seconds + Math.ceil(claims.ttlMs / 1_000))
    .sign(secret);
}

/** Verifies tokens against one or more secrets. */
export class LocalTokens implements Authenticator {
  readonly isOpen = false;

  /** @param secrets the one that signs now, then those that still verify. */
  constructor(private readonly secrets: readonly Uint8Array[], private readonly clock: Clock) {}

  async authenticate(token: string | null): Promise<Identity> {
    const presented = requireToken(token, TOKEN_BYTES_MAX);
    let reason = "the token is not valid";
    for (const secret of this.secrets) {
      try {
        const { payload } = await jwtVerify(presented, secret, {
          algorithms: [ALGORITHM],
          audience: AUDIENCE,
          requiredClaims: ["sub", "exp"],
          currentDate: new Date(this.clock.now()),
        });
        return toIdentity(payload);
      } catch (error) {
        if (error instanceof AuthenticationError) throw error;
        reason = reasonOf(error);
        // Only a signature that does not fit may fit another secret.
        if (!(error instanceof errors.JWSSignatureVerificationFailed)) break;
      }
    }
    throw new AuthenticationError(reason);
  }
}

function toIdentity(payload: { sub?: unknown; device?: unknown; exp?: number }): Identity {
  const userId = typeof payload.sub === "string" ? parseUserId(payload.sub) : null;
  if (userId === null) throw new AuthenticationError("the token's sub is not a user ID");
  const device = payload.device ?? null;
  if (device !== null && !isUint32(device)) {
    throw new AuthenticationError("the token's device is not a device ID");
  }
  return { userId, deviceId: device, expiresAt: (payload.exp ?? 0) * 1_000 };
}

function isUint32(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= UINT32_MAX;
}

/** What the bearer may know of why a token was refused. */
function reasonOf(error: unknown): string {
  if (error instanceof errors.JWTExpired) return "the token has expired";
  if (error instanceof errors.JWTClaimValidationFailed) {
    return `the token's ${error.claim} is missing or wrong`;
  }
  if (error instanceof errors.JWSSignatureVerificationFailed) return "the token's signature does not fit";
  return "the token is not one of this server";
}
