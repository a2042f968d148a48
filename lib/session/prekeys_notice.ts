/**
 * PreKeysLow: once for each time the pool falls below the limit, then again only after five minutes (protocol §3).
 * @module
 */
import type { Clock } from "../clock.ts";
import type { Config } from "../config.ts";
import { TIMES } from "../limits.ts";
import type { OwnDevice } from "../service/mod.ts";
import type { Outbox } from "./outbox.ts";

/** Tells the owner of a device that its one-time prekeys run low. */
export class PreKeysNotice {
  #toldAt: number | null = null;

  constructor(
    private readonly config: Pick<Config, "preKeysLow" | "preKeysRequested">,
    private readonly outbox: Outbox,
    private readonly clock: Clock,
  ) {}

  /** Whether the owner was told, and the pool may be as low as then. */
  get isOpen(): boolean {
    return this.#toldAt !== null;
  }

  /** Whether it is time to look whether the pool is still low. */
  get isDue(): boolean {
    return this.#toldAt !== null && this.#isOld(this.#toldAt);
  }

  /** The pool is below the limit. */
  low(): void {
    if (this.#toldAt !== null && !this.#isOld(this.#toldAt)) return;
    this.#toldAt = this.clock.monotonic();
    this.outbox.push({ type: "prekeys_low", wanted: this.config.preKeysRequested });
  }

  /** The pool was counted. */
  counted(device: OwnDevice): void {
    if (device.preKeys < this.config.preKeysLow) this.low();
    else this.#toldAt = null; // the next fall is told at once
  }

  #isOld(toldAt: number): boolean {
    return this.clock.monotonic() - toldAt >= TIMES.preKeysLowRepeatMs;
  }
}
