/**
 * `AUTH_MODE=jwks`: the signed tokens of an identity provider, verified with the keys that it publishes.
 *
 * What decides is fixed here and never read from the token: which algorithms count, who must have issued it, whom it must
 * be for, that it ends, and that it names its key.
 * @module
 */
import { decodeProtectedHeader, errors, jwtVerify } from "jose";
import type { Clock } from "../clock.ts";
import { PROVIDER, TOKEN_BYTES_MAX } from "../limits.ts";
import {
  AuthenticationError,
  AuthenticationUnavailable,
  type Authenticator,
  type Identity,
  requireToken,
} from "./authenticator.ts";
import { type ClaimNames, identityOf } from "./claims.ts";
import type { KeySet } from "./key_set.ts";

/** Signatures that only a private key makes: a public key must never serve as the secret of an HMAC. */
const ALGORITHMS = [
  "RS256",
  "RS384",
  "RS512",
  "PS256",
  "PS384",
  "PS512",
  "ES256",
  "ES384",
  "ES512",
  "EdDSA",
  "Ed25519",
];

/** What a token for a service may call itself: a logout token of the same provider, say, is none. */
const TYPES: ReadonlySet<string> = new Set(["jwt", "at+jwt"]);

/** Verifies the tokens of an identity provider. */
export class ProviderTokens implements Authenticator {
  readonly isOpen = false;

  constructor(
    private readonly keys: KeySet,
    private readonly expected: { readonly issuer: string; readonly audience: string },
    private readonly names: ClaimNames,
    private readonly clock: Clock,
  ) {}

  async authenticate(token: string | null): Promise<Identity> {
    const presented = requireToken(token, TOKEN_BYTES_MAX);
    try {
      requireHeader(presented);
      const now = this.clock.now();
      const { payload } = await jwtVerify(presented, this.keys.find, {
        algorithms: ALGORITHMS,
        issuer: this.expected.issuer,
        audience: this.expected.audience,
        requiredClaims: ["exp"],
        currentDate: new Date(now),
        clockTolerance: PROVIDER.clockSkewMs / 1_000,
      });
      // The tolerance is for clocks that are behind, not for tokens that are over: that is judged again, and exactly.
      return identityOf(payload, this.names, now);
    } catch (error) {
      if (error instanceof AuthenticationError || error instanceof AuthenticationUnavailable) throw error;
      throw new AuthenticationError(reasonOf(error));
    }
  }
}

/** Refuses by the header what would otherwise be looked up among the keys. */
function requireHeader(token: string): void {
  const { kid, typ } = decodeProtectedHeader(token);
  if (typeof kid !== "string" || kid === "") throw new AuthenticationError("the token names no key");
  const type: unknown = typ;
  if (type === undefined) return;
  const isFitting = typeof type === "string" && TYPES.has(type.toLowerCase().replace(/^application\//, ""));
  if (!isFitting) throw new AuthenticationError("the token is of another type");
}

/** What the bearer may know of why a token was refused. */
function reasonOf(error: unknown): string {
  if (error instanceof errors.JWTExpired) return "the token has expired";
  if (error instanceof errors.JWTClaimValidationFailed) {
    return `the token's ${error.claim} is missing or wrong`;
  }
  if (error instanceof errors.JWSSignatureVerificationFailed) return "the token's signature does not fit";
  if (error instanceof errors.JWKSNoMatchingKey) return "the token's key is not one of the identity provider";
  if (error instanceof errors.JOSEAlgNotAllowed) return "the token's algorithm is not allowed";
  return "the token is not one of the identity provider";
}
