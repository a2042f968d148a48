/** A clock that a test moves forward as a whole, so that what waits for minutes can be seen at once. */
import type { Timer } from "../../lib/clock.ts";
import { ShiftedClock } from "./manual_clock.ts";

/** How often the server looks after its connections. */
const TICK_MS = 1_000;

/** Wall time and monotonic time go forward together; timers run in real time. */
export class AdvancingClock extends ShiftedClock {
  #advancedMs = 0;

  /** @param tickMs how long a timer of exactly one second takes: what the server does every second is then soon done. */
  constructor(private readonly tickMs = TICK_MS) {
    super();
  }

  override monotonic(): number {
    return super.monotonic() + this.#advancedMs;
  }

  override setTimer(delayMs: number, callback: () => void): Timer {
    return super.setTimer(delayMs === TICK_MS ? this.tickMs : delayMs, callback);
  }

  /** Lets time pass. */
  advance(ms: number): void {
    this.#advancedMs += ms;
    this.step(ms);
  }

  /** Waits until the server has looked after its connections. */
  async ticked(): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, 2 * this.tickMs + 20));
  }
}
