/**
 * Who is connecting: the interface that every way to authenticate implements.
 *
 * Each way is a file of its own beside this one; `mod.ts` picks the one that `AUTH_MODE` names.
 * @module
 */

/** Whom a token speaks for. */
export interface Identity {
  /** The user, canonical; `null` if anyone is anyone. */
  readonly userId: string | null;
  /** The only device that the token is good for; `null` if it is good for every device of the user. */
  readonly deviceId: number | null;
  /** When the connection must end, milliseconds since the epoch; `null` if never. */
  readonly expiresAt: number | null;
  /**
   * Finds out whether the token is still good, for as long as the connection is open. Absent where a token that was good
   * once is good until it expires.
   *
   * @returns whom it speaks for by now: `expiresAt` may have moved.
   * @throws {AuthenticationError} if it was revoked; {AuthenticationUnavailable} if nobody can tell at the moment.
   */
  readonly confirm?: () => Promise<Identity>;
}

/** The token is missing or bad. The message says how, without repeating it. */
export class AuthenticationError extends Error {
  override readonly name = "AuthenticationError";
}

/** Nobody can tell whether the token is good: it is neither taken nor called bad. */
export class AuthenticationUnavailable extends Error {
  override readonly name = "AuthenticationUnavailable";

  /**
   * @param retryAfterSeconds when it may work.
   * @param isFlood whether it is for the many tokens that came from this remote address, rather than for the provider.
   */
  constructor(message: string, readonly retryAfterSeconds: number, readonly isFlood = false) {
    super(message);
  }
}

/** A way to find out who is connecting. */
export interface Authenticator {
  /**
   * Verifies a token.
   *
   * @param token as presented, or `null` if none was.
   * @param remoteAddress whence it came: the same for all addresses that count as one; `null` if that is not known.
   * @throws {AuthenticationError} if it is not good: the caller is told 401. {AuthenticationUnavailable} if nobody can
   * tell: 503, or 429 for a flood.
   */
  authenticate(token: string | null, remoteAddress?: string | null): Promise<Identity>;
  /** Whether every request from a web page of another machine must be refused, since there are no tokens. */
  readonly isOpen: boolean;
}

/** Refuses what no way to authenticate would look at: nothing, and what is longer than any real token. */
export function requireToken(token: string | null, lengthMax: number): string {
  if (token === null || token === "") throw new AuthenticationError("a bearer token is needed");
  if (token.length > lengthMax) throw new AuthenticationError("the token is too long");
  return token;
}
