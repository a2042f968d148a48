/** The processes on one database, what befalls them, and the clocks that they go by. */
import type { Config } from "../../lib/config.ts";
import type { Evidence } from "./evidence.ts";
import type { KvState } from "./kv_state.ts";
import type { Random } from "./random.ts";
import { ProcessClock, type Scheduler } from "./scheduler.ts";
import { type Plant, ServerProcess } from "./server_process.ts";
import { FAIR, StorageWay, type Tamper, type Weather } from "./storage_way.ts";

/** A bug that is put in, to see that it is found. */
export interface Bug {
  readonly plant?: Plant;
  readonly tamper?: Tamper;
}

/** What a cluster is made of. */
export interface ClusterOptions {
  readonly random: Random;
  readonly storageRandom: Random;
  readonly scheduler: Scheduler;
  readonly state: KvState;
  readonly evidence: Evidence;
  readonly config: Config;
  /** Whether several processes share the database; else it is the file of one. */
  readonly isShared: boolean;
  readonly bug: Bug | undefined;
}

const HOUR_MS = 3_600_000;

/** The database collects what has expired about so often. */
const COLLECT_MS = 45_000;

/** The database's own number among the clocks. */
const DATABASE_ID = 0;

/** The processes. */
export class Cluster {
  processes: ServerProcess[] = [];
  readonly databaseClock: ProcessClock;
  readonly figures = { crashes: 0, steps: 0, outages: 0, restarts: 0 };
  readonly #weather: Weather;
  readonly #startMs: number;
  #processId = DATABASE_ID;
  #isCalm = false;

  constructor(private readonly options: ClusterOptions) {
    const { random, scheduler, evidence, isShared } = options;
    this.#startMs = Date.UTC(2030, 0, 1) + random.below(24 * HOUR_MS);
    this.#weather = weatherOf(random, isShared);
    this.databaseClock = new ProcessClock(scheduler, this.#startMs);
    evidence.walls.shows(DATABASE_ID, this.#startMs);
    for (let i = isShared ? 2 + random.below(2) : 1; i > 0; i--) this.processes.push(this.#startProcess());
    this.#keepCollecting();
  }

  /** The processes that take connections. */
  get up(): ServerProcess[] {
    return this.processes.filter(({ isUp }) => isUp);
  }

  /** Something befalls a process now and then, until all is calm. */
  keepDisturbing(meanMs: number): void {
    const { random, scheduler } = this.options;
    scheduler.after(random.wait(meanMs), () => {
      if (this.#isCalm) return;
      const index = random.below(this.processes.length);
      const process = this.processes[index];
      if (process !== undefined) this.#disturb(process, index);
      this.keepDisturbing(meanMs);
    });
  }

  /** From here on nothing goes wrong. */
  calm(): void {
    this.#isCalm = true;
    for (const { way } of this.processes) {
      way.weather = FAIR;
      way.outageUntil = 0;
    }
  }

  /** Every clock goes on: to so long after whatever any of them has shown. */
  moveOn(ms: number): void {
    const { evidence: { walls }, scheduler } = this.options;
    const until = walls.extremes(0).latest + ms;
    scheduler.trace(`every clock moves on to ${until}`);
    for (const { id, clock } of this.processes) {
      clock.step(until - clock.now());
      walls.shows(id, clock.now());
    }
    this.databaseClock.step(until - this.databaseClock.now());
    walls.shows(DATABASE_ID, this.databaseClock.now());
  }

  #disturb(process: ServerProcess, index: number): void {
    const { random, scheduler } = this.options;
    const what = random.weighted({ crash: 3, stop: 1, step: 3, outage: 2 });
    scheduler.trace(`${what} befalls process ${process.id}`);
    if (what === "crash" && process.isUp) {
      this.figures.crashes++;
      process.crash();
      this.#replace(process, index);
    } else if (what === "stop" && process.isUp) {
      this.figures.restarts++;
      void process.stop().then(() => this.#replace(process, index));
    } else if (what === "step" && !process.isGone) this.#step(process);
    else if (what === "outage") {
      this.figures.outages++;
      process.way.outageUntil = scheduler.elapsed + random.between(500, 12_000);
    }
  }

  #step(process: ServerProcess): void {
    const { random, evidence, isShared } = this.options;
    this.figures.steps++;
    const steps = [HOUR_MS, -HOUR_MS, random.between(-HOUR_MS, HOUR_MS), random.between(-5_000, 5_000)];
    const step = Math.trunc(random.pick(steps) ?? 0);
    // A file has the clock of its process's machine.
    for (const clock of isShared ? [process.clock] : [process.clock, this.databaseClock]) clock.step(step);
    evidence.walls.shows(process.id, process.clock.now());
    evidence.walls.shows(DATABASE_ID, this.databaseClock.now());
  }

  /** Another process takes the place of one that is gone, after a moment. */
  #replace(process: ServerProcess, index: number): void {
    const { random, scheduler, evidence } = this.options;
    evidence.walls.ends(process.id);
    scheduler.after(random.between(100, 3_000), () => {
      this.processes[index] = this.#startProcess();
    });
  }

  #startProcess(): ServerProcess {
    const { scheduler, state, config, isShared, evidence, storageRandom, bug } = this.options;
    const id = ++this.#processId;
    const wall = isShared ? this.#startMs : this.databaseClock.now() - scheduler.elapsed;
    const clock = new ProcessClock(scheduler, wall);
    evidence.walls.shows(id, clock.now());
    const wallClock = () => this.databaseClock.now();
    const way = new StorageWay(id, state, scheduler, storageRandom, evidence, wallClock, bug?.tamper);
    if (!this.#isCalm) way.weather = this.#weather;
    const plant = bug?.plant;
    const options = { config, isShared, state, scheduler };
    return new ServerProcess(id, clock, way, plant === undefined ? options : { ...options, plant });
  }

  #keepCollecting(): void {
    const { random, scheduler, state } = this.options;
    scheduler.after(random.wait(COLLECT_MS), () => {
      state.collect(this.databaseClock.now());
      this.#keepCollecting();
    });
  }
}

/** What goes wrong at storage in a run: nothing, a little, or much. */
function weatherOf(random: Random, isShared: boolean): Weather {
  const amount = random.pick([0, 0.002, 0.02]) ?? 0;
  return {
    cutBefore: amount,
    cutAfter: amount,
    locked: isShared ? 0 : 5 * amount,
    late: amount / 2,
    lateAnswer: amount / 2,
    replayed: isShared ? amount : 0,
    unreadable: amount,
  };
}
