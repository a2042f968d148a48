/**
 * `AUTH_MODE=introspection`: an account system is asked about each token (RFC 7662), with an ID and a secret of ours.
 *
 * Its answers are kept for a short time, under the SHA-256 of the token. While a connection is open its token is asked
 * about again, which is how one that was revoked is noticed. Whatever is not a clear yes opens nothing.
 * @module
 */
import { createHash } from "node:crypto";
import { Budget } from "../budget.ts";
import type { Clock } from "../clock.ts";
import { PROVIDER, TOKEN_BYTES_MAX } from "../limits.ts";
import { logger } from "../log.ts";
import {
  AuthenticationError,
  AuthenticationUnavailable,
  type Authenticator,
  type Identity,
  requireToken,
} from "./authenticator.ts";
import { type ClaimNames, type Claims, identityOf, isFor } from "./claims.ts";
import { askProvider, ProviderError } from "./provider.ts";
import { type Purpose, Turns } from "./turns.ts";
import { Verdicts } from "./verdicts.ts";

const log = logger("identity");

/** How often a failing provider is logged. */
const LOG_MS = 10_000;

/** What RFC 6750 allows in a bearer token: nobody needs to be asked about anything else. */
const TOKEN = /^[A-Za-z0-9._~+/-]+=*$/;

/** Whom to ask, and what the answer must say. */
export interface IntrospectionOptions {
  readonly url: URL;
  readonly clientId: string;
  readonly clientSecret: string;
  /** What `iss` must be; `undefined` if that does not matter. */
  readonly issuer: string | undefined;
  /** What `aud` must name; `undefined` if that does not matter. */
  readonly audience: string | undefined;
  readonly names: ClaimNames;
}

/** Asks an account system. */
export class Introspection implements Authenticator {
  readonly isOpen = false;
  readonly #accepted: Verdicts<Identity>;
  readonly #refused: Verdicts<string>;
  readonly #asking = new Map<string, Promise<Identity>>();
  readonly #turns: Turns;
  readonly #rate: Budget;
  readonly #authorization: string;
  #loggedAt = Number.NEGATIVE_INFINITY;
  #failures = 0;
  #pausedUntil = Number.NEGATIVE_INFINITY;

  constructor(private readonly options: IntrospectionOptions, private readonly clock: Clock) {
    const { acceptedMs, refusedMs, verdictsMax, addressQuestions, addressesMax } = PROVIDER;
    this.#accepted = new Verdicts(clock, acceptedMs, verdictsMax);
    this.#refused = new Verdicts(clock, refusedMs, verdictsMax);
    this.#turns = new Turns({
      max: PROVIDER.questionsMax,
      ofAKindMax: PROVIDER.questionsOfAKindMax,
      waitingMax: PROVIDER.questionsWaitingMax,
      waitMs: PROVIDER.turnMs,
    }, clock);
    this.#rate = new Budget(
      { perSecond: addressQuestions, burst: addressQuestions },
      "tokens",
      clock,
      addressesMax,
    );
    this.#authorization = basic(options.clientId, options.clientSecret);
  }

  async authenticate(token: string | null, remoteAddress: string | null = null): Promise<Identity> {
    const presented = requireToken(token, TOKEN_BYTES_MAX);
    if (!TOKEN.test(presented)) throw new AuthenticationError("the token is malformed");
    const confirm = () => this.#judge(presented, "confirm", () => true);
    const identity = await this.#judge(presented, "open", () => this.#rate.claim(remoteAddress ?? "") === 0);
    return { ...identity, confirm };
  }

  /** @param mayAsk called if the verdict is not known and nobody else asks for it. */
  async #judge(token: string, purpose: Purpose, mayAsk: () => boolean): Promise<Identity> {
    const hash = createHash("sha256").update(token).digest("base64");
    const reason = this.#refused.get(hash);
    if (reason !== undefined) throw new AuthenticationError(reason);
    const known = this.#accepted.get(hash);
    if (known !== undefined) return requireTime(known, this.clock.now());
    let asking = this.#asking.get(hash);
    if (asking === undefined) {
      if (this.clock.monotonic() < this.#pausedUntil) throw cannotAsk();
      if (!mayAsk()) {
        throw new AuthenticationUnavailable("too many tokens come from this address", soon(), true);
      }
      asking = this.#ask(token, hash, purpose).finally(() => this.#asking.delete(hash));
      this.#asking.set(hash, asking);
    }
    return requireTime(await asking, this.clock.now());
  }

  /** Asks in its turn, and keeps the verdict. */
  async #ask(token: string, hash: string, purpose: Purpose): Promise<Identity> {
    const lateAt = this.clock.monotonic() + PROVIDER.deadlineMs;
    if (!await this.#turns.take(purpose)) {
      throw new AuthenticationUnavailable("too many tokens wait to be looked up", soon());
    }
    try {
      const claims = await this.#introspect(token, lateAt - this.clock.monotonic());
      const identity = this.#read(claims);
      this.#accepted.keep(hash, identity);
      return identity;
    } catch (error) {
      if (error instanceof ProviderError) throw this.#failed(error);
      if (error instanceof AuthenticationError) {
        this.#accepted.forget(hash);
        this.#refused.keep(hash, error.message);
      }
      throw error;
    } finally {
      this.#turns.giveBack(purpose);
    }
  }

  async #introspect(token: string, deadlineMs: number): Promise<Claims> {
    const headers = {
      accept: "application/json",
      authorization: this.#authorization,
      "content-type": "application/x-www-form-urlencoded",
    };
    const body = `${new URLSearchParams({ token, token_type_hint: "access_token" })}`;
    const answer = await askProvider({
      url: this.options.url.href,
      init: { method: "POST", headers, body },
      bytesMax: PROVIDER.answerBytesMax,
      deadlineMs,
    }, this.clock);
    if (!isClaims(answer) || typeof answer["active"] !== "boolean") {
      throw new ProviderError("its answer does not say whether the token is active");
    }
    this.#failures = 0;
    return answer;
  }

  /** @throws {AuthenticationError} unless the answer is a yes, for us, to a token of a user. */
  #read(claims: Claims): Identity {
    const { issuer, audience, names } = this.options;
    if (claims["active"] !== true) throw new AuthenticationError("the token is not active");
    if (issuer !== undefined && claims["iss"] !== issuer) {
      throw new AuthenticationError("the token's iss is missing or wrong");
    }
    if (audience !== undefined && !isFor(claims["aud"], audience)) {
      throw new AuthenticationError("the token's aud is missing or wrong");
    }
    return identityOf(claims, names, this.clock.now());
  }

  #failed(error: ProviderError): AuthenticationUnavailable {
    const now = this.clock.monotonic();
    if (++this.#failures >= PROVIDER.failuresMax) this.#pausedUntil = now + PROVIDER.pauseMs;
    if (now - this.#loggedAt >= LOG_MS) {
      this.#loggedAt = now;
      const { origin } = this.options.url;
      log.warn("{origin} can't say whether a token is good: {reason}", { origin, reason: error.message });
    }
    return cannotAsk();
  }
}

function cannotAsk(): AuthenticationUnavailable {
  return new AuthenticationUnavailable("the account system can't be asked at the moment", soon());
}

/** When to come back, seconds: not all at once. */
function soon(): number {
  return 2 + Math.floor(Math.random() * 4);
}

function isClaims(answer: unknown): answer is Claims {
  return typeof answer === "object" && answer !== null && !Array.isArray(answer);
}

/** A verdict that is kept must not outlive its token. */
function requireTime(identity: Identity, now: number): Identity {
  if (identity.expiresAt !== null && identity.expiresAt <= now) {
    throw new AuthenticationError("the token has expired");
  }
  return identity;
}

/** HTTP Basic as OAuth 2 has it (RFC 6749 §2.3.1): both parts are form-encoded before. */
function basic(id: string, secret: string): string {
  const encode = (part: string) => `${new URLSearchParams([["", part]])}`.slice(1);
  return `Basic ${btoa(`${encode(id)}:${encode(secret)}`)}`;
}
