/**
 * How fast new connections may come: in all, from one remote, of one user, and one in place of another.
 *
 * Invariant: whoever is over a rate of its own takes nothing from a rate that is shared with others.
 * @module
 */
import { type Address, addressKey } from "../address.ts";
import type { Clock } from "../clock.ts";
import type { Config } from "../config.ts";
import { ALL, Budget } from "../budget.ts";
import { Refusal } from "./refusal.ts";

/** Those who are refused at the same moment come again at different ones, within so many seconds more. */
const SPREAD_SECONDS = 30;

/** How often those are looked for who can be forgotten. */
const SWEEP_MS = 60_000;

type Rates = Pick<
  Config,
  "rateConnections" | "rateRemoteConnections" | "rateUserConnections" | "rateTakeovers"
>;

function secondsOf(ms: number): number {
  return Math.max(1, Math.ceil(ms / 1_000));
}

/** Counts new connections, each process for itself. */
export class Arrivals {
  readonly #all: Budget;
  readonly #byRemote: Budget;
  readonly #byUser: Budget;
  readonly #takeovers: Budget;

  #sweptAt = Number.NEGATIVE_INFINITY;

  /** @param refusals what is borne with of each user, which its sessions take from. */
  constructor(
    rates: Rates,
    private readonly clock: Clock,
    private readonly refusals: Pick<Budget, "waitForHalfMs">,
  ) {
    this.#all = new Budget(rates.rateConnections, "new connections", clock);
    this.#byRemote = new Budget(rates.rateRemoteConnections, "new connections", clock);
    this.#byUser = new Budget(rates.rateUserConnections, "new connections", clock);
    this.#takeovers = new Budget(rates.rateTakeovers, "takeovers", clock);
  }

  /**
   * Counts one more that asks to connect; before anything is known of it but where it comes from.
   *
   * @param remote see `Remote.key`.
   * @throws {Refusal} `too_many_connections` or `overloaded`.
   */
  knock(remote: string | null): void {
    const remoteWaitMs = remote === null ? 0 : this.#byRemote.claim(remote);
    if (remoteWaitMs > 0) {
      throw new Refusal(
        "too_many_connections",
        "too many new connections from this remote address",
        secondsOf(remoteWaitMs),
      );
    }
    const waitMs = this.#all.claim(ALL);
    if (waitMs === 0) return;
    throw new Refusal(
      "overloaded",
      "too many clients connect at once",
      secondsOf(waitMs) + Math.floor(Math.random() * SPREAD_SECONDS),
    );
  }

  /**
   * Counts one more of a user that has proved to be it.
   *
   * @param takesOver whether a connection of the same address has to give way to it: two installations of one device,
   * each of which connects again at once, would do nothing else.
   * @throws {Refusal} `too_many_connections`.
   */
  enter(address: Address, takesOver: boolean): void {
    // Who was thrown out for flooding comes back when it has calmed down, not to be thrown out at once again.
    const floodWaitMs = this.refusals.waitForHalfMs(address.userId);
    if (floodWaitMs > 0) {
      const message = "too many requests of this user were refused";
      throw new Refusal("too_many_connections", message, secondsOf(floodWaitMs));
    }
    const takeoverWaitMs = takesOver ? this.#takeovers.claim(addressKey(address)) : 0;
    // A device that is held up here takes nothing from the other devices of its user.
    const waitMs = takeoverWaitMs || this.#byUser.claim(address.userId);
    if (waitMs === 0) return;
    throw new Refusal(
      "too_many_connections",
      takeoverWaitMs > 0
        ? "connections of this device take its place from each other too often"
        : "too many new connections of this user",
      secondsOf(waitMs),
    );
  }

  /** Forgets those who have not come for long enough. Call it about once a second. */
  sweep(): void {
    const now = this.clock.monotonic();
    if (now - this.#sweptAt < SWEEP_MS) return;
    this.#sweptAt = now;
    for (const budget of [this.#byRemote, this.#byUser, this.#takeovers]) budget.sweep();
  }
}
