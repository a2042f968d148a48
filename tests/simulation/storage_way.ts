/**
 * The way from one process to the database: it takes time, and what can go wrong on it goes wrong.
 *
 * What it never does, since no backend does: carry a commit out after having said that it failed.
 */
import type { Random } from "./random.ts";
import type { Scheduler } from "./scheduler.ts";
import type { Way } from "./kv_model.ts";
import type { Asked, KvState, Row } from "./kv_state.ts";

/** What goes wrong, as probabilities of one call. */
export interface Weather {
  /** The commit fails before it reached the database, or after it was carried out. */
  readonly cutBefore: number;
  readonly cutAfter: number;
  /** Another process has the file. */
  readonly locked: number;
  /** The call, or its answer, takes up to twenty seconds. */
  readonly late: number;
  readonly lateAnswer: number;
  /** The answer to a commit that was carried out gets lost, and the client of the database sends it again. */
  readonly replayed: number;
  /** A read fails; so does a watch with its next read. */
  readonly unreadable: number;
}

/** Nothing goes wrong. */
export const FAIR: Weather = {
  cutBefore: 0,
  cutAfter: 0,
  locked: 0,
  late: 0,
  lateAnswer: 0,
  replayed: 0,
  unreadable: 0,
};

/** What a commit came to. */
export type Result = Deno.KvCommitResult | Deno.KvCommitError;

/** Whoever wants to know what really happened at the database. */
export interface Witness {
  committed(processId: number, asked: Asked, versionstamp: string): void;
  /** The process has learned what became of a commit. */
  answered(versionstamp: string): void;
  /** The commit did not go as it should: its process may not know of it, or late. */
  troubled(asked: Asked): void;
  read(processId: number, rows: readonly Row[]): void;
  /** The process got a row. */
  got(entry: Deno.KvEntryMaybe<unknown>): void;
}

/** How long a call takes each way, in milliseconds: the mean, and the most of one that is late. */
const LEG_MS = { mean: 0.8, most: 20_000 } as const;

/** What a test may spoil on the way, to see that it is noticed. */
export type Tamper = (asked: Asked) => Asked;

/** The way of one process. */
export class StorageWay implements Way {
  weather: Weather = FAIR;
  /** Until when nothing gets through. */
  outageUntil = 0;
  /** Whether the process is gone: no answer reaches it. */
  isDead = false;

  constructor(
    private readonly processId: number,
    private readonly state: KvState,
    private readonly scheduler: Scheduler,
    private readonly random: Random,
    private readonly witness: Witness,
    private readonly wallClock: () => number,
    private readonly tamper: Tamper = (asked) => asked,
  ) {}

  read<T>(look: () => T): Promise<T> {
    const { random, weather } = this;
    if (random.chance(weather.unreadable)) {
      return this.#fail(new Error("the connection to the database broke"));
    }
    return this.#go(look, () => {}, random.chance(weather.late), random.chance(weather.lateAnswer));
  }

  commit(original: Asked): Promise<Result> {
    const { random, weather } = this;
    const asked = this.tamper(original);
    const fate = random.fraction();
    const { locked, cutBefore, cutAfter } = weather;
    if (fate < locked) return this.#fail(new TypeError("database is locked"));
    if (fate < locked + cutBefore) {
      this.witness.troubled(asked);
      return this.#fail(new Error("the connection to the database broke before the commit"));
    }
    const isCut = fate < locked + cutBefore + cutAfter;
    const isReplayed = !isCut && random.chance(weather.replayed);
    const [isLate, isAnswerLate] = [random.chance(weather.late), random.chance(weather.lateAnswer)];
    if (isCut || isReplayed || isLate || isAnswerLate || this.outageUntil > this.scheduler.elapsed) {
      this.witness.troubled(asked);
    }
    let result: Result;
    const apply = (): Result => {
      result = this.#apply(asked);
      if (isCut) throw new Error("the connection to the database broke after the commit");
      return result;
    };
    const answered = () => {
      if (result.ok) this.witness.answered(result.versionstamp);
    };
    if (!isReplayed) return this.#go(apply, answered, isLate, isAnswerLate);
    return this.#go(apply, () => {}, isLate, isAnswerLate)
      .then((first) => first.ok ? this.#go(apply, answered, false, false) : first);
  }

  got(entry: Deno.KvEntryMaybe<unknown>): void {
    this.witness.got(entry);
  }

  saw(rows: readonly Row[]): void {
    this.witness.read(this.processId, rows);
  }

  #apply(asked: Asked): Result {
    const result = this.state.commit(asked, this.wallClock());
    const keys = asked.changes.map(({ type, key }) =>
      `${type} ${key.slice(0, 3).join("/")}${key[4] instanceof Uint8Array ? ` ${key[4].toHex()}` : ""}`
    ).join(", ");
    this.scheduler.trace(
      `commit of ${this.processId} ${result.ok ? result.versionstamp : "refused"}: ${keys}`,
    );
    if (result.ok) this.witness.committed(this.processId, asked, result.versionstamp);
    return result;
  }

  #fail(error: Error): Promise<never> {
    return new Promise((_, reject) => {
      this.scheduler.after(this.random.wait(LEG_MS.mean), () => this.isDead || reject(error));
    });
  }

  /** There, and back; a process that is gone gets no answer, but what it asked for may still arrive. */
  #go<T>(apply: () => T, answered: () => void, isLate: boolean, isAnswerLate: boolean): Promise<T> {
    const { scheduler, random } = this;
    const legMs = (late: boolean) => random.wait(LEG_MS.mean) + (late ? random.between(0, LEG_MS.most) : 0);
    const arrives = random.chance(0.5);
    return new Promise((resolve, reject) => {
      if (this.isDead) return;
      const waitMs = Math.max(0, this.outageUntil - scheduler.elapsed);
      scheduler.after(waitMs + legMs(isLate), () => {
        if (this.isDead && !arrives) return;
        let answer: () => void;
        try {
          const outcome = apply();
          answer = () => {
            answered();
            resolve(outcome);
          };
        } catch (error) {
          answer = () => reject(error);
        }
        scheduler.after(legMs(isAnswerLate), () => this.isDead || answer());
      });
    });
  }
}
