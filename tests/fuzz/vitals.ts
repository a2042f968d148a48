/** How a server in a process of its own is: that it is there, has logged no fault, and needs no more memory than before. */
import assert from "node:assert/strict";
import type { ProcessServer } from "../support/process_server.ts";

const MIB = 1_048_576;

/**
 * Its database is in memory, which is quicker; `tests/process` has a fuzz on a file. What its heap may hold: three times what it needs here. What is kept of each frame or request would sooner or later
 * pass it, and end the process; a comparison of measurements says less, since most of a heap is garbage.
 */
export const FUZZED_SETTINGS = { KV_PATH: ":memory:", DENO_V8_FLAGS: "--max-old-space-size=96" } as const;

/** Twice what it took here at most, with all that is not in the heap. */
const RESIDENT_MAX = 400 * MIB;

/** How often it is looked. */
const LOOK_MS = 250;

/** Looks at a server while it is fuzzed. */
export class Vitals {
  #heapMax = 0;
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
    this.#heapMax = Math.max(this.#heapMax, Number(/^messaging_heap_bytes (\S+)$/m.exec(metrics)?.[1]));
    this.#residentMax = Math.max(this.#residentMax, await this.server.residentBytes());
    const log = this.server.log.slice(this.#logRead);
    this.#logRead += log.length;
    const faults = log.split("\n").filter((line) => /incident|"level":"(ERROR|FATAL)"/i.test(line));
    assert.deepEqual(faults.slice(0, 3), [], "faults in the log");
    assert.ok(this.#residentMax < RESIDENT_MAX, `the server takes ${this.#residentMax} bytes`);
  }

  /** The memory, in one line. */
  describe(): string {
    const inMib = (bytes: number) => (bytes / MIB).toFixed(0);
    return `heap at most ${inMib(this.#heapMax)} MiB, resident ${inMib(this.#residentMax)}`;
  }
}
