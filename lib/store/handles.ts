/**
 * The open handles of a database, and how they are made anew when a KV Connect server stops answering.
 *
 * Deno's client repeats a request for ever, and waits for ever on a connection whose other end is gone without a word.
 * So once a request is late, a fresh handle is tried until it answers, then takes the place of the old one: whatever
 * waits there fails, and may begin again. Meanwhile nothing new is asked, or requests would pile up.
 * @module
 */
import { type Clock, sleep, withDeadline } from "../clock.ts";
import { logger } from "../log.ts";
import { schemaKey } from "./keys.ts";

const log = logger("store");

/** How long a fresh handle may take to answer, and the wait before the next one is tried. */
const PROBE_MS = { answer: 2_000, pause: 250 } as const;

/** The handles of one database. */
export class Handles {
  #isRenewing = false;
  #isClosed = false;

  /**
   * @param reopen makes a fresh handle, where that can help; it then serves as writer and as reader.
   */
  constructor(
    private current: { readonly writer: Deno.Kv; readonly reader: Deno.Kv },
    private readonly clock: Clock,
    private readonly reopen: (() => Promise<Deno.Kv>) | null,
  ) {}

  get writer(): Deno.Kv {
    return this.current.writer;
  }

  get reader(): Deno.Kv {
    return this.current.reader;
  }

  /** Whether storage is known not to answer. */
  get isDown(): boolean {
    return this.#isRenewing;
  }

  /** A request has waited for longer than it may. */
  late(): void {
    if (this.reopen === null || this.#isRenewing || this.#isClosed) return;
    this.#isRenewing = true;
    log.warn("storage does not answer: it is asked anew until it does");
    void this.#renew(this.reopen, this.clock.monotonic()).finally(() => {
      this.#isRenewing = false;
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
  }

  async #renew(reopen: () => Promise<Deno.Kv>, since: number): Promise<void> {
    for (;;) {
      const kv = await reopen().catch(() => null);
      const answers = kv?.get(schemaKey).then(() => true, () => false) ?? Promise.resolve(false);
      const isUp = await withDeadline(this.clock, answers, PROBE_MS.answer, false);
      if (kv !== null && isUp && !this.#isClosed) {
        this.#closeCurrent();
        this.current = { writer: kv, reader: kv };
        log.info("storage answers again, after {seconds} s", {
          seconds: Math.round((this.clock.monotonic() - since) / 1_000),
        });
        return;
      }
      kv?.close();
      if (this.#isClosed) return;
      await sleep(this.clock, PROBE_MS.pause * (0.5 + Math.random()));
    }
  }
}
