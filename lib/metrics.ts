/**
 * What the server counts, for `/metrics` in the Prometheus text format.
 *
 * The hot paths only add to plain numbers; the library sees them when somebody asks.
 * @module
 */
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { ErrorName } from "./errors.ts";

/** Counts that only grow, and what each means. */
const COUNTS = {
  connectionsOpened: "Connections that were opened",
  connectionsReplaced: "Connections that gave way to a newer one of the same device",
  listenersLost: "Times that the listener was lost and had to be had again",
  requestsServed: "HTTP requests that were answered, refused or upgraded",
  framesReceived: "WebSocket messages received",
  messagesAccepted: "Messages stored and acknowledged to their sender",
  messagesDelivered: "Messages sent to their recipient, repeats included",
  messagesAcknowledged: "Messages that their recipient acknowledged",
  messagesRefused: "Messages that a recipient answered with an Error",
  messagesSetAside:
    "Messages moved behind their mailbox, since their recipient's client never dealt with them",
  preKeysTaken: "One-time prekeys given out",
  preKeysExhausted: "Bundles given out without a one-time prekey, since none was left",
  registrations: "Register requests carried out",
  rowsWritten: "Rows written to the database or deleted from it",
  writesLocked: "Commits repeated because the database was locked",
  writesFailed: "Commits that failed or took too long",
} as const;

const REFUSED_UPGRADES = [400, 401, 403, 404, 426, 429, 500, 503] as const;

/** All metrics of one server. */
export class Metrics {
  /** Counters: add to them directly. */
  readonly counts: Record<keyof typeof COUNTS, number>;
  /** Errors that clients were told, by name. */
  readonly errors = new Map<ErrorName, number>();
  /** Connections that the server closed or saw closed, by close code. */
  readonly closes = new Map<number, number>();
  /** Upgrades that were refused, by HTTP status. */
  readonly refusals = new Map<number, number>(REFUSED_UPGRADES.map((status) => [status, 0]));
  /** Seconds from handing a batch to the database to its answer. */
  readonly commitSeconds: Histogram;
  /** Mutations of one commit. */
  readonly commitMutations: Histogram;
  /** Seconds that the event loop came late. */
  readonly loopLagSeconds: Histogram;
  readonly #registry = new Registry();

  /** @param gauges what is measured when asked for: name, help and value. */
  constructor(gauges: Readonly<Record<string, { help: string; value: () => number }>> = {}) {
    const registers = [this.#registry];
    this.counts = { ...COUNTS } as unknown as Record<keyof typeof COUNTS, number>;
    for (const [name, help] of Object.entries(COUNTS)) {
      const key = name as keyof typeof COUNTS;
      this.counts[key] = 0;
      const metric = `messaging_${name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)}_total`;
      const read = () => this.counts[key];
      new Counter({
        name: metric,
        help,
        registers,
        collect() {
          this.reset();
          this.inc(read());
        },
      });
    }
    this.#labelled("messaging_errors_total", "Errors that clients were told", "name", this.errors, registers);
    this.#labelled("messaging_closes_total", "Connections that ended", "code", this.closes, registers);
    this.#labelled(
      "messaging_upgrades_refused_total",
      "Upgrades refused",
      "status",
      this.refusals,
      registers,
    );
    for (const [name, { help, value }] of Object.entries(gauges)) {
      new Gauge({
        name: `messaging_${name}`,
        help,
        registers,
        collect() {
          this.set(value());
        },
      });
    }
    const buckets = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5];
    this.commitSeconds = new Histogram({
      name: "messaging_commit_seconds",
      help: "Commit times",
      registers,
      buckets,
    });
    this.commitMutations = new Histogram({
      name: "messaging_commit_mutations",
      help: "Mutations of one commit",
      registers,
      buckets: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000],
    });
    this.loopLagSeconds = new Histogram({
      name: "messaging_loop_lag_seconds",
      help: "How late a timer of the event loop fired",
      registers,
      buckets,
    });
  }

  #labelled<K extends string | number>(
    name: string,
    help: string,
    label: string,
    values: ReadonlyMap<K, number>,
    registers: Registry[],
  ): void {
    new Counter({
      name,
      help,
      registers,
      labelNames: [label],
      collect() {
        this.reset();
        for (const [key, value] of values) this.inc({ [label]: String(key) }, value);
      },
    });
  }

  /** Counts one more under a label. */
  static count<K>(values: Map<K, number>, key: K): void {
    values.set(key, (values.get(key) ?? 0) + 1);
  }

  /** All that was counted together: it grows with whatever the server does for its clients. */
  get total(): number {
    let total = 0;
    for (const count of Object.values(this.counts)) total += count;
    for (const labelled of [this.errors, this.closes, this.refusals]) {
      for (const count of labelled.values()) total += count;
    }
    return total;
  }

  /** The Prometheus text. */
  text(): Promise<string> {
    return this.#registry.metrics();
  }
}
