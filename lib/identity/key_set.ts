/**
 * The public keys of an identity provider (a JSON Web Key Set), kept and fetched again without ever pestering it.
 *
 * At most one request is under way, and one begins at the earliest a cool-down after the last one ended, whatever tokens
 * come. While the provider is gone, the last good keys stay in use, for a day.
 * @module
 */
import { createLocalJWKSet, errors, type JSONWebKeySet, type JWTVerifyGetKey } from "jose";
import type { Clock } from "../clock.ts";
import { PROVIDER } from "../limits.ts";
import { logger } from "../log.ts";
import { AuthenticationUnavailable } from "./authenticator.ts";
import { askProvider, ProviderError } from "./provider.ts";

const log = logger("identity");

type LocalKeys = ReturnType<typeof createLocalJWKSet>;

/** The keys at a URL. */
export class KeySet {
  #keys: LocalKeys | null = null;
  #fetchedAt = Number.NEGATIVE_INFINITY;
  #askedAt = Number.NEGATIVE_INFINITY;
  #hasFailed = false;
  #asking: Promise<void> | null = null;

  constructor(private readonly url: URL, private readonly clock: Clock) {}

  /**
   * Finds the key that a token's header names; `jwtVerify` of jose takes it as it is.
   *
   * @throws {errors.JWKSNoMatchingKey} if the provider has no such key; {AuthenticationUnavailable} if it can't be asked.
   */
  readonly find: JWTVerifyGetKey = async (header, token) => {
    await this.#renew();
    try {
      return await this.#current()(header, token);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
      // It may be a new key. What is fetched for the one token serves all that wait.
      if (this.#asking === null && this.#coolDownMs > 0) {
        if (this.#hasFailed) throw this.#unavailable();
        throw error;
      }
    }
    await this.refresh();
    if (this.#hasFailed) throw this.#unavailable();
    return await this.#current()(header, token);
  };

  /** Fetches the keys, or waits for whoever does. Never rejects: the keys stay what they were. */
  refresh(): Promise<void> {
    this.#asking ??= this.#fetch().finally(() => {
      this.#askedAt = this.clock.monotonic();
      this.#asking = null;
    });
    return this.#asking;
  }

  /** Fetches keys that are not fresh: beside the work while they will do, before it when they won't. */
  async #renew(): Promise<void> {
    const ageMs = this.clock.monotonic() - this.#fetchedAt;
    if (ageMs < PROVIDER.keySetFreshMs) return;
    if (ageMs >= PROVIDER.keySetKeptMs) this.#keys = null;
    if (this.#asking === null && this.#coolDownMs > 0) return;
    const fetched = this.refresh();
    if (this.#keys === null || ageMs >= PROVIDER.keySetStaleMs) await fetched;
  }

  async #fetch(): Promise<void> {
    try {
      const answer = await askProvider({
        url: this.url.href,
        init: { method: "GET", headers: { accept: "application/jwk-set+json, application/json" } },
        bytesMax: PROVIDER.keySetBytesMax,
        deadlineMs: PROVIDER.deadlineMs,
      }, this.clock);
      this.#keys = createLocalJWKSet(toKeySet(answer));
      this.#fetchedAt = this.clock.monotonic();
      this.#hasFailed = false;
    } catch (error) {
      this.#hasFailed = true;
      log.warn("the key set of {origin} can't be had: {reason}; the keys of before are {kept}", {
        origin: this.url.origin,
        reason: error instanceof ProviderError ? error.message : "it is not a key set",
        kept: this.#keys === null ? "too old, or there are none: nobody can connect" : "in use",
      });
    }
  }

  #current(): LocalKeys {
    if (this.#keys === null) throw this.#unavailable();
    return this.#keys;
  }

  /** How long nobody may ask yet. */
  get #coolDownMs(): number {
    const coolDownMs = this.#keys === null ? PROVIDER.keySetMissingMs : PROVIDER.keySetCoolDownMs;
    return coolDownMs - (this.clock.monotonic() - this.#askedAt);
  }

  #unavailable(): AuthenticationUnavailable {
    const seconds = Math.max(1, Math.ceil(this.#coolDownMs / 1_000));
    return new AuthenticationUnavailable("the identity provider's keys can't be had at the moment", seconds);
  }
}

/** @throws {ProviderError} if it is not one, or an unreasonable one. */
function toKeySet(answer: unknown): JSONWebKeySet {
  const keys = typeof answer === "object" && answer !== null && "keys" in answer ? answer.keys : null;
  if (!Array.isArray(keys) || keys.length === 0) throw new ProviderError("it has no keys");
  if (keys.length > PROVIDER.keysMax) throw new ProviderError(`it has more than ${PROVIDER.keysMax} keys`);
  return { keys };
}
