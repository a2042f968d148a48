/**
 * Who a user or device is. One file a way to authenticate; this one picks what `AUTH_MODE` names.
 * @module
 */
import type { Clock } from "../clock.ts";
import type { Config } from "../config.ts";
import type { Authenticator } from "./authenticator.ts";
import type { ClaimNames } from "./claims.ts";
import { Introspection } from "./introspection.ts";
import { KeySet } from "./key_set.ts";
import { LocalTokens } from "./local_tokens.ts";
import { openAccess } from "./open_access.ts";
import { ProviderTokens } from "./provider_tokens.ts";

export {
  AuthenticationError,
  AuthenticationUnavailable,
  type Authenticator,
  type Identity,
} from "./authenticator.ts";
export { signToken, type TokenClaims } from "./local_tokens.ts";

/** What a server of its own tokens needs, and what one that trusts an identity provider needs beside it. */
type AuthSettings =
  & Pick<Config, "authMode" | "authSecret" | "authSecretPrevious">
  & Partial<ProviderSettings>;
type ProviderSettings = Pick<
  Config,
  | "authJwksUrl"
  | "authIntrospectionUrl"
  | "authClientId"
  | "authClientSecret"
  | "authIssuer"
  | "authAudience"
  | "authUserClaim"
  | "authDeviceClaim"
>;

/** The secret that the operator set, or the one kept in the database. */
export async function signingSecret(
  settings: AuthSettings,
  kept: () => Promise<Uint8Array>,
): Promise<Uint8Array> {
  return settings.authSecret === undefined ? await kept() : new TextEncoder().encode(settings.authSecret);
}

/**
 * Makes the authenticator.
 *
 * @param kept reads the secret that is kept in the database; called only if none is set.
 */
export async function createAuthenticator(
  settings: AuthSettings,
  clock: Clock,
  kept: () => Promise<Uint8Array>,
): Promise<Authenticator> {
  switch (settings.authMode) {
    case "none":
      return openAccess;
    case "local": {
      const secrets = [await signingSecret(settings, kept)];
      if (settings.authSecretPrevious !== undefined) {
        secrets.push(new TextEncoder().encode(settings.authSecretPrevious));
      }
      return new LocalTokens(secrets, clock);
    }
    case "jwks": {
      const keys = new KeySet(required(settings.authJwksUrl, "AUTH_JWKS_URL"), clock);
      await keys.refresh(); // a wrong URL shows in the log at once; the server starts all the same
      const expected = {
        issuer: required(settings.authIssuer, "AUTH_ISSUER"),
        audience: required(settings.authAudience, "AUTH_AUDIENCE"),
      };
      return new ProviderTokens(keys, expected, claimNames(settings), clock);
    }
    case "introspection":
      return new Introspection({
        url: required(settings.authIntrospectionUrl, "AUTH_INTROSPECTION_URL"),
        clientId: required(settings.authClientId, "AUTH_CLIENT_ID"),
        clientSecret: required(settings.authClientSecret, "AUTH_CLIENT_SECRET"),
        issuer: settings.authIssuer,
        audience: settings.authAudience,
        names: claimNames(settings),
      }, clock);
  }
}

function claimNames({ authUserClaim, authDeviceClaim }: AuthSettings): ClaimNames {
  return { user: required(authUserClaim, "AUTH_USER_CLAIM"), device: authDeviceClaim ?? null };
}

/** The settings were checked when they were read; that a check is missing there must not open anything here. */
function required<T>(value: T | undefined, name: string): T {
  if (value === undefined) throw new TypeError(`${name} is needed`);
  return value;
}
