/** Which installation each device had, and when: seen at the database. */
import * as v from "valibot";
import { decodeRecord } from "../../lib/store/records.ts";
import type { Scheduler } from "./scheduler.ts";

const deviceFields = v.object({ epoch: v.string() });

/** One installation. */
export interface Installation {
  readonly epoch: string;
  readonly from: number;
  /** The process that registered it. */
  readonly by: number;
  until: number;
  /** When its trash had been taken out: what comes later stays. */
  sweptAt: number;
}

/** The installations of all devices. */
export class Installations {
  readonly #byDevice = new Map<string, Installation[]>();

  constructor(private readonly scheduler: Scheduler) {}

  /** A device record was written, or deleted. */
  wrote(processId: number, device: string, key: Deno.KvKey, value: unknown): void {
    const epoch = value === null ? null : decodeRecord(deviceFields, key, value).epoch;
    const all = this.#byDevice.get(device) ?? [];
    this.#byDevice.set(device, all);
    const last = all.at(-1);
    const { elapsed } = this.scheduler;
    if (last !== undefined && last.until === Infinity) {
      if (last.epoch === epoch) return;
      last.until = elapsed;
    }
    if (epoch !== null) all.push({ epoch, from: elapsed, by: processId, until: Infinity, sweptAt: Infinity });
  }

  /** The janitor has done with an installation. */
  swept(device: string, epoch: string): void {
    const installation = this.find(device, epoch);
    if (installation !== null) installation.sweptAt = this.scheduler.elapsed;
  }

  /** The installation that a device has now. */
  current(device: string): Installation | null {
    const last = this.#byDevice.get(device)?.at(-1);
    return last?.until === Infinity ? last : null;
  }

  /** The installation of that name. */
  find(device: string, epoch: string): Installation | null {
    return this.#byDevice.get(device)?.find((installation) => installation.epoch === epoch) ?? null;
  }

  /** Whether a device was registered, under whatever installation, all the time from a moment on. */
  wasRegisteredSince(device: string, since: number): boolean {
    const covering = (this.#byDevice.get(device) ?? []).filter(({ until }) => until >= since);
    if (covering[0] === undefined || covering[0].from > since || covering.at(-1)?.until !== Infinity) {
      return false;
    }
    return covering.every(({ from }, i) => i === 0 || from === covering[i - 1]?.until);
  }

  /** The devices of a user that have an installation now, or had one all the time since a moment. */
  devicesOf(userId: string, since: number): string[] {
    return [...this.#byDevice.keys()].filter((device) =>
      device.startsWith(`${userId}/`) && this.wasRegisteredSince(device, since)
    );
  }

  /** Every device that has an installation. */
  all(): { device: string; installation: Installation }[] {
    return [...this.#byDevice.keys()].flatMap((device) => {
      const installation = this.current(device);
      return installation === null ? [] : [{ device, installation }];
    });
  }
}
