/**
 * The budgets of a server (protocol §6).
 * @module
 */
import { Budget } from "../budget.ts";
import type { Clock } from "../clock.ts";
import type { Config } from "../config.ts";

/** All budgets of a server. */
export interface RateLimits {
  readonly sends: Budget;
  readonly pair: Budget;
  readonly preKeys: Budget;
  readonly claims: Budget;
  readonly requests: Budget;
  /** What is refused without any cost to the others. */
  readonly refusals: Budget;
}

type Rates = Pick<
  Config,
  "rateSends" | "ratePair" | "ratePreKeys" | "rateClaims" | "rateRequests" | "rateRefusals"
>;

/** Makes the budgets. */
export function createRateLimits(rates: Rates, clock: Clock): RateLimits {
  return {
    sends: new Budget(rates.rateSends, "messages", clock),
    pair: new Budget(rates.ratePair, "messages to this device", clock),
    preKeys: new Budget(rates.ratePreKeys, "prekey requests for this device", clock),
    claims: new Budget(rates.rateClaims, "prekeys", clock),
    requests: new Budget(rates.rateRequests, "requests", clock),
    refusals: new Budget(rates.rateRefusals, "refused requests", clock),
  };
}
