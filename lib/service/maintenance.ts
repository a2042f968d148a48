/**
 * What must be done now and then: late writes answered, memory swept, what is gone deleted, unseen devices removed.
 * @module
 */
import type { Address } from "../address.ts";
import { sleep } from "../clock.ts";
import { TIMES } from "../limits.ts";
import { logger } from "../log.ts";
import type { Core } from "./core.ts";
import { removeDevice } from "./unregister.ts";

const log = logger("service");

/** How often each thing is done, in milliseconds. */
const EVERY_MS = {
  lateWrites: 250,
  sweep: 1_000,
  rates: 60_000,
  ids: 20_000,
  trash: 5_000,
  accepted: 30_000,
  unseen: 60_000,
} as const;

/** The wait between portions of what is deleted, while there is more. */
const PORTION_PAUSE_MS = 50;

/** How many devices are looked at in one go, to find those that nobody has seen. */
const UNSEEN_PAGE = 200;

/** Does it all, until stopped. */
export class Maintenance {
  readonly #stopped = new AbortController();
  #unseenAfter: Address | null = null;

  constructor(private readonly core: Core) {
    const { store, doorbell, rates } = core;
    this.#every(EVERY_MS.lateWrites, () => store.writer.refuseLate(TIMES.storageDeadlineMs));
    this.#every(EVERY_MS.sweep, () => doorbell.sweep());
    this.#every(EVERY_MS.rates, () => Object.values(rates).forEach((budget) => budget.sweep()));
    this.#every(EVERY_MS.ids, () => store.ids.reserve());
    this.#every(EVERY_MS.trash, () => this.#inPortions(() => store.trash.sweep()));
    this.#every(EVERY_MS.accepted, () => this.#inPortions(() => store.accepted.sweep()));
    this.#every(EVERY_MS.unseen, () => this.#removeUnseen());
  }

  /** Stops. What is under way ends by itself. */
  stop(): void {
    this.#stopped.abort();
  }

  #every(intervalMs: number, work: () => void | Promise<void>): void {
    const { signal } = this.#stopped;
    const run = async () => {
      try {
        await work();
      } catch (error) {
        if (!signal.aborted) log.warn("maintenance failed: {reason}", { reason: String(error) });
      }
      if (!signal.aborted) arm();
    };
    const arm = () => {
      const timer = this.core.clock.setTimer(intervalMs, () => {
        signal.removeEventListener("abort", cancel);
        void run();
      });
      const cancel = () => timer.cancel();
      signal.addEventListener("abort", cancel, { once: true });
    };
    arm();
  }

  /** Deletes portion by portion, so that senders get their turn in between. */
  async #inPortions(sweep: () => Promise<boolean>): Promise<void> {
    while (!this.#stopped.signal.aborted && await sweep()) await sleep(this.core.clock, PORTION_PAUSE_MS);
  }

  /** Looks at the next devices; a round over all of them takes as long as it takes. */
  async #removeUnseen(): Promise<void> {
    const { store, config, clock } = this.core;
    const page = await store.devices.page(this.#unseenAfter, UNSEEN_PAGE);
    this.#unseenAfter = page.length < UNSEEN_PAGE ? null : page.at(-1)?.address ?? null;
    const isUnseen = (seenAt: number) => clock.now() - seenAt > config.deviceUnseenMs;
    for (const { address, device } of page) {
      if (this.#stopped.signal.aborted || !isUnseen(device.record.seenAt)) continue;
      if (this.core.doorbell.isConnected(address)) continue;
      await removeDevice(this.core, address, isUnseen);
      log.info("a device that nobody had seen was unregistered: {device}", { device: address.deviceId });
    }
  }
}
