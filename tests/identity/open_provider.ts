/**
 * The tokens of an identity provider that does what a test wants of it.
 * @module
 */
import { KeySet } from "../../lib/identity/key_set.ts";
import { ProviderTokens } from "../../lib/identity/provider_tokens.ts";
import { IdentityProvider, newSigningKey } from "../support/identity_provider.ts";
import { ManualClock } from "../support/manual_clock.ts";

/** Whom the tokens are for. */
export const USER = "3f0c7e0a-91d4-4b6e-8a57-2d1c9e6f7b10";
/** When every test begins. */
export const NOW = Date.UTC(2030, 0, 1);
export const NOW_SECONDS = NOW / 1_000;
/** The claims of a good token. */
export const GOOD = {
  iss: "https://accounts.example",
  aud: "messages",
  sub: USER,
  iat: NOW_SECONDS,
  exp: NOW_SECONDS + 60,
};

/** The key that the provider publishes. */
export const key = await newSigningKey("k1");

/** What a test may choose. */
export interface Setup {
  readonly keys?: readonly unknown[];
  readonly user?: string;
  readonly device?: string;
}

/** An authenticator at a provider with these keys, and the provider. */
export function openProvider({ keys = [key.jwk], user = "sub", device }: Setup = {}) {
  const provider = IdentityProvider.start(() => Response.json({ keys }));
  const clock = new ManualClock(NOW);
  const set = new KeySet(new URL(provider.url()), clock);
  const expected = { issuer: GOOD.iss, audience: GOOD.aud };
  return {
    provider,
    clock,
    tokens: new ProviderTokens(set, expected, { user, device: device ?? null }, clock),
  };
}

/** The token is called bad, for this reason. */
export const refused = (message: RegExp) => ({ name: "AuthenticationError", message });
