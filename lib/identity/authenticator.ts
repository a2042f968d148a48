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
}

/** The token is missing or bad. The message says how, without repeating it. */
export class AuthenticationError extends Error {
  override readonly name = "AuthenticationError";
}

/** A way to find out who is connecting. */
export interface Authenticator {
  /**
   * Verifies a token.
   *
   * @param token as presented, or `null` if none was.
   * @throws {AuthenticationError} if it is not good: the caller is told 401.
   */
  authenticate(token: string | null): Promise<Identity>;
  /** Whether every request from a web page of another machine must be refused, since there are no tokens. */
  readonly isOpen: boolean;
}
