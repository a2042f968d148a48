/**
 * Tokens of open connections, asked about again now and then: the connection of one that was revoked is closed.
 *
 * Only a clear no closes at once. While nobody can tell, be it that the account system is gone or that it is asked too
 * much, a connection stays for a while longer, but never beyond the end that its token names.
 * @module
 */
import type { Clock } from "../clock.ts";
import { AuthenticationError, AuthenticationUnavailable, type Identity } from "../identity/mod.ts";
import { PROVIDER } from "../limits.ts";
import { logger } from "../log.ts";
import { CLOSE } from "../protocol/mod.ts";

const log = logger("server");

/** What is needed of a session. */
export interface Confirmed {
  /** When the token ends, milliseconds since the epoch; `null` if it names no end. */
  expiresAt: number | null;
  close(code: number, reason: string): void;
}

interface Watched {
  readonly identity: Identity;
  readonly confirm: NonNullable<Identity["confirm"]>;
  /** When the token was last found good; this and the next on the clock that never steps. */
  confirmedAt: number;
  askAt: number;
  isAsking: boolean;
}

/** The connections whose tokens can be asked about. */
export class Confirmations {
  readonly #watched = new Map<Confirmed, Watched>();

  constructor(private readonly clock: Clock) {}

  /** How many connections are watched. */
  get size(): number {
    return this.#watched.size;
  }

  /** Begins to watch a connection, if its token is one of those that can be revoked. */
  watch(session: Confirmed, identity: Identity): void {
    const { confirm } = identity;
    if (confirm === undefined) return;
    const now = this.clock.monotonic();
    const askAt = now + jittered(PROVIDER.confirmMs);
    this.#watched.set(session, { identity, confirm, confirmedAt: now, askAt, isAsking: false });
  }

  /** The connection is over. */
  leave(session: Confirmed): void {
    this.#watched.delete(session);
  }

  /** Asks about whatever is due. Call it about once a second. */
  tick(now: number): void {
    for (const [session, watched] of this.#watched) {
      if (now - watched.confirmedAt >= PROVIDER.unconfirmedMs) {
        this.#close(session, "the token could not be confirmed for too long");
      } else if (now >= watched.askAt && !watched.isAsking) void this.#ask(session, watched);
    }
  }

  async #ask(session: Confirmed, watched: Watched): Promise<void> {
    watched.isAsking = true;
    let againMs: number = PROVIDER.confirmMs;
    try {
      const { userId, deviceId, expiresAt } = await watched.confirm();
      if (userId !== watched.identity.userId || deviceId !== watched.identity.deviceId) {
        return this.#close(session, "the token is for somebody else by now");
      }
      session.expiresAt = expiresAt;
      watched.confirmedAt = this.clock.monotonic();
    } catch (error) {
      if (error instanceof AuthenticationError) {
        return this.#close(session, "the token was revoked or has expired");
      }
      if (!(error instanceof AuthenticationUnavailable)) {
        log.error("incident: a token can't be confirmed: {reason}", { reason: String(error) });
      }
      againMs = PROVIDER.confirmRetryMs;
    } finally {
      watched.isAsking = false;
    }
    watched.askAt = this.clock.monotonic() + jittered(againMs);
  }

  #close(session: Confirmed, reason: string): void {
    if (this.#watched.delete(session)) session.close(CLOSE.unauthorized, reason);
  }
}

/** Up to a quarter longer, so that those who came together do not ask together for ever. */
function jittered(delayMs: number): number {
  return delayMs * (1 + Math.random() / 4);
}
