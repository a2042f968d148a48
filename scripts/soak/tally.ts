/** What is counted over all devices of a run: what must never happen, and what happened beside it. */
import { Latencies } from "./latencies.ts";

/** How many cases of a fault are kept in words. */
const CASES_MAX = 10;

/** Errors after which the same request may succeed (protocol §3). */
const UNAVAILABLE = 109;
const TEMPORARY: ReadonlySet<number> = new Set([1, 105, 106, UNAVAILABLE]);

/** The wait before a refused request is repeated, and before another attempt to connect; jittered. */
export const AGAIN_MS = 500;

/** What the protocol promises never happens. */
export const FAULTS = {
  lost: "accepted, and never delivered",
  duplicated: "delivered again after its Ack was durable",
  reordered: "delivered after one that was sent later in its pair",
  leftOut: "not delivered, though one sent later on the same connection was",
  mangled: "not as it was sent, or at the wrong device",
  keysTwice: "one-time prekeys given to two claims",
  claimsChanged: "repeated claims that were answered with another prekey",
  refused: "requests refused for good",
} as const;

/** The name of a fault. */
export type Fault = keyof typeof FAULTS;

/** The counts of a run. */
export class Tally {
  sent = 0;
  /** Of them, on version 2. */
  sentOnVersion2 = 0;
  accepted = 0;
  /** Sent again with the retry flag. */
  repeated = 0;
  delivered = 0;
  /** Delivered again, as may be: not acknowledged, or the Ack was not durable. */
  cameAgain = 0;
  keysGiven = 0;
  registers = 0;
  /** Connections that were opened, and that ended otherwise than by the load. */
  connected = 0;
  disconnected = 0;
  readonly faults: Record<Fault, number>;
  /** The first cases of each fault, in words. */
  readonly cases: string[] = [];
  /** Temporary errors that the load was told, by code. */
  readonly errors = new Map<number, number>();
  /** Upgrades that were refused, by status. */
  readonly refusals = new Map<number, number>();
  /** From due to delivered. */
  delivery = new Latencies();
  /** From sent to answered, refusals included. */
  answers = new Latencies();
  /** From sent to refused. */
  refusedAfter = new Latencies();

  constructor() {
    this.faults = Object.fromEntries(Object.keys(FAULTS).map((name) => [name, 0])) as Record<Fault, number>;
  }

  /** How often anybody was told that storage did not answer in time. */
  get timesBehind(): number {
    return this.errors.get(UNAVAILABLE) ?? 0;
  }

  /** Counts a fault. */
  fault(name: Fault, where: string): void {
    this.faults[name]++;
    if (this.cases.length < CASES_MAX) this.cases.push(`${name}: ${where}`);
  }

  /** How many faults there are. */
  get faultCount(): number {
    return Object.values(this.faults).reduce((sum, count) => sum + count, 0);
  }

  /** Begins to measure latencies anew; returns what was measured so far. */
  cut(): Pick<Tally, "delivery" | "answers" | "refusedAfter"> {
    const { delivery, answers, refusedAfter } = this;
    this.delivery = new Latencies();
    this.answers = new Latencies();
    this.refusedAfter = new Latencies();
    return { delivery, answers, refusedAfter };
  }
}

/** Counts an error that a request was answered with. @returns whether it is worth a repeat; else it is a fault. */
export function isTemporary(tally: Tally, where: string, code: number): boolean {
  if (TEMPORARY.has(code)) count(tally.errors, code);
  else tally.fault("refused", `${where}: ${code}`);
  return TEMPORARY.has(code);
}

/** Adds one under a key. */
export function count<K>(counts: Map<K, number>, key: K): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}
