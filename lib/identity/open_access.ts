/**
 * `AUTH_MODE=none`: anyone is anyone, for trials on one's own machine.
 * @module
 */
import type { Authenticator, Identity } from "./authenticator.ts";

const ANYONE: Identity = { userId: null, deviceId: null, expiresAt: null };

/** Takes every address for its owner's. */
export const openAccess: Authenticator = {
  isOpen: true,
  authenticate: () => Promise.resolve(ANYONE),
};
