/**
 * Introspection at a provider that does what a test wants of it.
 * @module
 */
import type { Authenticator } from "../../lib/identity/mod.ts";
import { Introspection, type IntrospectionOptions } from "../../lib/identity/introspection.ts";
import { IdentityProvider } from "../support/identity_provider.ts";
import { ManualClock } from "../support/manual_clock.ts";

/** Whom the tokens are for. */
export const USER = "3f0c7e0a-91d4-4b6e-8a57-2d1c9e6f7b10";
/** When every test begins. */
export const NOW = Date.UTC(2030, 0, 1);
export const NOW_SECONDS = NOW / 1_000;
/** What the provider says of every token, unless a test has it say otherwise. */
export const YES = { active: true, sub: USER, exp: NOW_SECONDS + 3_600 };

/** The token is called bad, for this reason. */
export const refused = (message: RegExp) => ({ name: "AuthenticationError", message });
/** The token is neither taken nor called bad. */
export const unavailable = (isFlood = false) => ({ name: "AuthenticationUnavailable", isFlood });

/** An authenticator that asks a provider which says yes. */
export function openIntrospection(options: Partial<IntrospectionOptions> = {}) {
  const provider = IdentityProvider.start(() => Response.json(YES));
  const clock = new ManualClock(NOW);
  const tokens: Authenticator = new Introspection({
    url: new URL(provider.url("/introspect")),
    clientId: "messaging",
    clientSecret: "the secret of the server",
    issuer: undefined,
    audience: undefined,
    names: { user: "sub", device: null },
    ...options,
  }, clock);
  return { provider, clock, tokens };
}
