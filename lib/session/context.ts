/**
 * What all sessions of a server share.
 * @module
 */
import type { Clock } from "../clock.ts";
import type { Config } from "../config.ts";
import type { Metrics } from "../metrics.ts";
import type { Service } from "../service/mod.ts";

/** What sessions share. */
export interface SessionContext {
  readonly service: Service;
  readonly clock: Clock;
  readonly config: Config;
  readonly metrics: Metrics;
}
