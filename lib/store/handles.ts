/**
 * The open handles of a database, and how they are made anew when a KV Connect server stops answering.
 *
 * Deno's client repeats a request for ever, and waits for ever on a connection whose other end is gone without a word.
 * So once a request is late and nothing was answered meanwhile, a fresh handle is tried until it answers, then takes the
 * place of the old one: commits that wait there begin again, and watches too. Meanwhile nothing new is read, or requests
 * would pile up.
 * @module
 */
import { type Clock, sleep, withDeadline } from "../clock.ts";
import { TIMES } from "../limits.ts";
import { logger } from "../log.ts";
import { schemaKey } from "./keys.ts";
import { WatchHandles, type WatchPlace } from "./watch_handles.ts";

const log = logger("store");

/** How long a fresh handle may take to open and answer, and the wait before the next one is tried. */
const PROBE_MS = { answer: 2_000, pause: 250 } as const;

/** How long nothing must have been answered: a little less than the deadline that makes a request late. */
const SILENCE_MS = TIMES.storageDeadlineMs - 250;

/** The handles of one database. */
export class Handles {
  #isRenewing = false;
  #isClosed = false;
  /** When something was answered last, by the monotonic clock. */
  #answeredAt: number;
  readonly #watches: WatchHandles | null;
  /** Those who wait for something that was asked of the current handles. */
  readonly #waiting = new Set<(reason: Error) => void>();

  /**
   * @param reopen makes a fresh handle, where that can help; it then serves as writer and as reader.
   */
  constructor(
    private current: { readonly writer: Deno.Kv; readonly reader: Deno.Kv },
    private readonly clock: Clock,
    private readonly reopen: (() => Promise<Deno.Kv>) | null,
  ) {
    this.#answeredAt = clock.monotonic();
    this.#watches = reopen === null ? null : new WatchHandles(reopen, clock);
  }

  get writer(): Deno.Kv {
    return this.current.writer;
  }

  get reader(): Deno.Kv {
    return this.current.reader;
  }

  /** A place for one more watch; waits while storage is known not to answer. */
  async takeWatch(signal: AbortSignal): Promise<WatchPlace> {
    if (this.#watches === null) return { kv: this.reader, release: () => {} };
    while (this.#isRenewing && !signal.aborted) await sleep(this.clock, PROBE_MS.pause);
    return await this.#watches.take();
  }

  /** Whether storage is known not to answer. */
  get isDown(): boolean {
    return this.#isRenewing;
  }

  /** A request was answered. */
  answered(): void {
    this.#answeredAt = this.clock.monotonic();
  }

  /** A request has waited for longer than it may. Where others were answered meanwhile, storage is only busy. */
  late(): void {
    if (this.reopen === null || this.#isRenewing || this.#isClosed) return;
    if (this.clock.monotonic() - this.#answeredAt < SILENCE_MS) return;
    this.#isRenewing = true;
    log.warn("storage does not answer: it is asked anew until it does");
    void this.#renew(this.reopen, this.clock.monotonic()).finally(() => {
      this.#isRenewing = false;
    });
  }

  /** Waits for what was asked of the current handles, and fails if others take their place: closing ends no request. */
  whileCurrent<T>(work: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#waiting.add(reject);
      work.then((result) => {
        this.answered();
        resolve(result);
      }, reject).finally(() => this.#waiting.delete(reject));
    });
  }

  close(): void {
    this.#isClosed = true;
    this.#closeCurrent();
  }

  #closeCurrent(): void {
    const { writer, reader } = this.current;
    writer.close();
    if (reader !== writer) reader.close();
    this.#watches?.close();
  }

  async #renew(reopen: () => Promise<Deno.Kv>, since: number): Promise<void> {
    while (!this.#isClosed) {
      const kv = await this.#probe(reopen);
      if (kv === null) {
        await sleep(this.clock, PROBE_MS.pause * (0.5 + Math.random()));
        continue;
      }
      if (this.#isClosed) return kv.close();
      this.#closeCurrent();
      this.current = { writer: kv, reader: kv };
      this.answered();
      for (const fail of this.#waiting) fail(new Error("the connection to storage was made anew"));
      log.info("storage answers again, after {seconds} s", {
        seconds: Math.round((this.clock.monotonic() - since) / 1_000),
      });
      return;
    }
  }

  /** A fresh handle that answers, or `null`. */
  async #probe(reopen: () => Promise<Deno.Kv>): Promise<Deno.Kv | null> {
    let opened: Deno.Kv | null = null;
    let isOver = false;
    const trying = async () => {
      const kv = await reopen();
      // Deno tries for half a minute to open it, and for ever to read.
      if (isOver) kv.close();
      opened = kv;
      await kv.get(schemaKey);
      return kv;
    };
    const kv = await withDeadline(this.clock, trying().catch(() => null), PROBE_MS.answer, null);
    isOver = true;
    if (kv === null) (opened as Deno.Kv | null)?.close();
    return kv;
  }
}
