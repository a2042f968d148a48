/** How a server in a process of its own is: that it is there, has logged no fault, and needs no more memory than before. */
import assert from "node:assert/strict";
import type { ProcessServer } from "../support/process_server.ts";

const MIB = 1_048_576;

/**
 * The heap is mostly garbage between two collections, so the lowest values are compared: of the second quarter of the
 * samples, after a warm-up, and of the last quarter.
 */
const SAMPLES_MIN = 160;
const HEAP_GROWTH_MAX = 16 * MIB;

/** Far above what the server ever needed here (250 MiB): a bound on what comes and goes between two samples. */
const RESIDENT_MAX = 800 * MIB;

/** How often it is looked. */
const LOOK_MS = 250;

/** Looks at a server while it is fuzzed. */
export class Vitals {
  readonly #heap: number[] = [];
  #residentMax = 0;
  #logRead = 0;

  constructor(private readonly server: ProcessServer) {}

  /** Looks until the work is over, and once more. @throws what the work throws; or if anything is wrong. */
  async during(work: Promise<unknown>): Promise<void> {
    const { promise: over, resolve: finish } = Promise.withResolvers<"over">();
    const tell = () => finish("over");
    work.then(tell, tell);
    let next: "over" | null;
    do {
      await this.#look();
      let timer: ReturnType<typeof setTimeout> | undefined;
      const pause = new Promise<null>((resolve) => timer = setTimeout(() => resolve(null), LOOK_MS));
      next = await Promise.race([over, pause]);
      clearTimeout(timer);
    } while (next === null);
    await work;
    await this.#look();
  }

  async #look(): Promise<void> {
    const response = await fetch(`${this.server.httpUrl}/metrics`);
    const metrics = await response.text();
    assert.equal(response.status, 200, "the server does not serve its metrics");
    this.#heap.push(Number(/^messaging_heap_bytes (\S+)$/m.exec(metrics)?.[1]));
    this.#residentMax = Math.max(this.#residentMax, await this.server.residentBytes());
    const log = this.server.log.slice(this.#logRead);
    this.#logRead += log.length;
    const faults = log.split("\n").filter((line) => /incident|"level":"(ERROR|FATAL)"/i.test(line));
    assert.deepEqual(faults.slice(0, 3), [], "faults in the log");
    assert.ok(this.#residentMax < RESIDENT_MAX, `the server takes ${this.#residentMax} bytes`);
    if (this.#heap.length < SAMPLES_MIN) return;
    const { early, late } = this.#lowest();
    assert.ok(late - early < HEAP_GROWTH_MAX, `the heap grows: ${this.describe()}`);
  }

  /** The memory, in one line. */
  describe(): string {
    const { early, late } = this.#lowest();
    const inMib = (bytes: number) => Number.isFinite(bytes) ? (bytes / MIB).toFixed(0) : "?";
    return `heap ${inMib(early)} MiB, then ${inMib(late)}; resident at most ${inMib(this.#residentMax)}`;
  }

  #lowest(): { early: number; late: number } {
    const quarter = Math.floor(this.#heap.length / 4);
    return {
      early: Math.min(...this.#heap.slice(quarter, 2 * quarter)),
      late: Math.min(...this.#heap.slice(-Math.max(1, quarter))),
    };
  }
}
