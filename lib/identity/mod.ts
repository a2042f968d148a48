/**
 * Who a user or device is. One file a way to authenticate; this one picks what `AUTH_MODE` names.
 * @module
 */
import type { Clock } from "../clock.ts";
import type { Config } from "../config.ts";
import type { Authenticator } from "./authenticator.ts";
import { LocalTokens } from "./local_tokens.ts";
import { openAccess } from "./open_access.ts";

export { AuthenticationError, type Authenticator, type Identity } from "./authenticator.ts";
export { signToken, type TokenClaims } from "./local_tokens.ts";

type AuthSettings = Pick<Config, "authMode" | "authSecret" | "authSecretPrevious">;

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
  }
}
