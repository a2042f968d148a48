/**
 * The part of the table of settings that says how owners are known.
 * @module
 */
import { kinds, optional, setting } from "./setting_kinds.ts";

const { choice, secretText, serviceUrl, text } = kinds;

/** The settings of authentication. */
export const AUTH_SETTINGS = {
  authMode: setting(
    "AUTH_MODE",
    choice("local", "jwks", "introspection", "none"),
    "local",
    "how owners are known: tokens of this server, of an identity provider, or of an account system; or not at all",
  ),
  authSecret: optional(
    "AUTH_SECRET",
    secretText(32),
    "signs and verifies tokens (HS256); default: made once and kept in the database",
    true,
  ),
  authSecretPrevious: optional(
    "AUTH_SECRET_PREVIOUS",
    secretText(32),
    "also verifies, while you rotate",
    true,
  ),
  // Somebody may write a password into a URL: so what is wrong with one is told without it.
  authJwksUrl: optional(
    "AUTH_JWKS_URL",
    serviceUrl,
    "jwks: where the identity provider publishes its keys",
    true,
  ),
  authIntrospectionUrl: optional(
    "AUTH_INTROSPECTION_URL",
    serviceUrl,
    "introspection: where the account system says whether a token is good (RFC 7662)",
    true,
  ),
  authClientId: optional("AUTH_CLIENT_ID", text("the ID of this server there"), "introspection: who asks"),
  authClientSecret: optional(
    "AUTH_CLIENT_SECRET",
    secretText(16),
    "introspection: the secret of AUTH_CLIENT_ID",
    true,
  ),
  authIssuer: optional(
    "AUTH_ISSUER",
    text("the iss of the tokens"),
    "who must have issued a token; jwks needs it, introspection may",
  ),
  authAudience: optional(
    "AUTH_AUDIENCE",
    text("one aud of the tokens"),
    "whom a token must be for; jwks needs it, introspection may",
  ),
  authUserClaim: setting(
    "AUTH_USER_CLAIM",
    text("the name of a claim"),
    "sub",
    "jwks, introspection: the claim with the user ID",
  ),
  authDeviceClaim: optional(
    "AUTH_DEVICE_CLAIM",
    text("the name of a claim"),
    "jwks, introspection: the claim with the device ID; default: a token is good for every device of its user",
  ),
  authHttpIUnderstand: optional(
    "AUTH_HTTP_I_UNDERSTAND",
    choice("yes"),
    "lets AUTH_JWKS_URL and AUTH_INTROSPECTION_URL be http beyond this machine: who is between can be anyone",
  ),
  authNoneIUnderstand: optional(
    "AUTH_NONE_I_UNDERSTAND",
    choice("yes"),
    "lets AUTH_MODE=none listen on an address that is not loopback: anyone is anyone",
  ),
} as const;
