/**
 * The codes with which a connection ends (protocol §7).
 * @module
 */

/** Why the server closed a connection. */
export const CLOSE = {
  /** The client asked for it. */
  normal: 1000,
  /** The server stops: reconnect with jitter. */
  goingAway: 1001,
  /** A broken envelope, or the wrong version byte. */
  protocolError: 1002,
  /** A text message. */
  unsupportedData: 1003,
  /** A WebSocket message over the limit. */
  messageTooBig: 1009,
  /** A fault of the server. */
  internalError: 1011,
  /** The token expired or was revoked, or the device was unregistered by another of its user. */
  unauthorized: 4401,
  /** The peer does not read. */
  tooSlow: 4408,
  /** A newer connection has this address: do not reconnect by itself. */
  replaced: 4409,
  /** More unanswered requests than any client needs. */
  flooding: 4429,
} as const;
