/**
 * The server as a process that is hurt: killed, stopped, starved of files, disk or storage; and started again.
 *
 * Invariant: it is dead, and its folder gone, when its scope ends.
 * @module
 */
import { residentKib, wait } from "../bench/process_figures.ts";
import { ENVIRONMENT } from "../bench/processes.ts";
import { undoAtEnd } from "./clean_up.ts";

/** How long it may take until it listens, on a machine that is busy and with much to recover. */
const START_MS = 30_000;

/** How much of its log is kept. */
const LOG_CHARACTERS_MAX = 200_000;

/** How often its memory is looked at. */
const LOOK_MS = 250;

/** What differs from an ordinary server. */
export interface VictimOptions {
  /** Settings by their environment variables. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Where its database is; default: a folder of its own, removed at the end. */
  readonly directory?: string;
  /** Shell commands before the server takes the place of the shell. */
  readonly before?: string;
}

interface Run {
  readonly child: Deno.ChildProcess;
  readonly status: Promise<Deno.CommandStatus>;
  readonly listening: Promise<string>;
}

/** A server in a process of its own. */
export class Victim implements AsyncDisposable {
  #run: Run | null = null;
  #url: PromiseWithResolvers<string> = Promise.withResolvers();
  #hasUrl = false;
  #log = "";
  #isOver = false;
  #peakKib = 0;
  /** Lines of the log that tell of an incident, which no fault from outside should cause. */
  readonly incidents: string[] = [];

  readonly #undo: Disposable;

  private constructor(readonly directory: string, private readonly options: VictimOptions) {
    this.#undo = undoAtEnd(() => {
      this.signal("SIGKILL");
      if (options.directory === undefined) Deno.removeSync(directory, { recursive: true });
    });
  }

  /** Makes one that does not run yet. */
  static async create(options: VictimOptions = {}): Promise<Victim> {
    const directory = options.directory ?? await Deno.makeTempDir({ prefix: "messaging-soak-" });
    return new Victim(directory, options);
  }

  /** Starts one, and waits until it listens. */
  static async start(options: VictimOptions = {}): Promise<Victim> {
    const victim = await Victim.create(options);
    try {
      await victim.start();
    } catch (error) {
      await victim[Symbol.asyncDispose]();
      throw error;
    }
    return victim;
  }

  /** Where the database is. */
  get databasePath(): string {
    return `${this.directory}/messaging.kv`;
  }

  /** The process, while it runs. */
  get pid(): number {
    if (this.#run === null) throw new Error("the server does not run");
    return this.#run.child.pid;
  }

  /** Whether it was started and has not been seen to end. */
  get isRunning(): boolean {
    return this.#run !== null;
  }

  /** The end of what it logged, all runs together. */
  get log(): string {
    return this.#log;
  }

  /** The most memory that was seen, in MiB. */
  get peakMib(): number {
    return this.#peakKib / 1_024;
  }

  /** Resolves with the address once it listens: now, or after the next start. */
  get url(): Promise<string> {
    return this.#url.promise;
  }

  /** Its resident memory in MiB. */
  async residentMib(): Promise<number> {
    return await residentKib(this.pid) / 1_024;
  }

  /** Starts it on its database, and waits until it listens. */
  async start(): Promise<string> {
    const run = this.launch();
    const late = wait(START_MS).then(() => {
      throw new Error(`the server does not listen after ${START_MS} ms:\n${this.#log}`);
    });
    return await Promise.race([run.listening, late]);
  }

  /** Starts it, and waits for nothing. */
  launch(): Run {
    if (this.#run !== null) throw new Error("the server runs already");
    const program = new URL("../../main.ts", import.meta.url).pathname;
    const allowed = ["net", "read", "write", "env", "sys"].map((what) => `--allow-${what}`);
    const args = [Deno.execPath(), "run", "--quiet", ...allowed, program];
    const script = `${this.options.before ?? ":"}; exec "$@"`;
    const child = new Deno.Command("sh", {
      args: ["-c", script, "sh", ...args],
      env: { ...ENVIRONMENT, KV_PATH: this.databasePath, LOG_LEVEL: "info", ...this.options.settings },
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    const status = child.status.then((ended) => {
      if (this.#run?.child !== child) return ended;
      this.#run = null;
      // Who waits for it to listen goes on waiting: for the next run.
      if (this.#hasUrl) this.#url = Promise.withResolvers();
      this.#hasUrl = false;
      return ended;
    });
    const run: Run = this.#run = { child, status, listening: this.#listen(child) };
    run.listening.then((url) => {
      if (this.#run !== run) return;
      this.#hasUrl = true;
      this.#url.resolve(url);
    }, () => {});
    void this.#watchMemory(run);
    return run;
  }

  /** Sends a signal; one that has ended takes none. */
  signal(signal: Deno.Signal): void {
    try {
      this.#run?.child.kill(signal);
    } catch {
      // it has ended
    }
  }

  /** `kill -9`: resolves once it is gone. */
  async kill(): Promise<void> {
    const run = this.#run;
    this.signal("SIGKILL");
    await run?.status;
  }

  /** Tells it to stop; resolves with its exit code. */
  async stop(): Promise<number> {
    const run = this.#run;
    if (run === null) throw new Error("the server does not run");
    this.signal("SIGTERM");
    const ended = await Promise.race([run.status, wait(15_000)]);
    if (ended === undefined) throw new Error("the server does not end");
    return ended.code;
  }

  /** Waits for it to end by itself: its exit code, or `null` if it still runs. */
  async ended(deadlineMs: number): Promise<number | null> {
    const run = this.#run;
    if (run === null) return null;
    const ended = await Promise.race([run.status, wait(deadlineMs)]);
    return ended?.code ?? null;
  }

  /** Sets a limit of the running process, such as `--nofile=100:`. */
  async limit(limit: string): Promise<void> {
    const command = new Deno.Command("prlimit", { args: [`--pid=${this.pid}`, limit] });
    const { success, stderr } = await command.output();
    if (!success) throw new Error(`prlimit ${limit}: ${new TextDecoder().decode(stderr)}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true;
    await this.kill();
    this.#undo[Symbol.dispose]();
  }

  /** Reads what it says, to its end. */
  #listen(child: Deno.ChildProcess): Promise<string> {
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    promise.catch(() => {}); // one that is killed while it starts does not listen
    const read = async () => {
      let rest = "";
      for await (const chunk of child.stderr.pipeThrough(new TextDecoderStream())) {
        this.#log = (this.#log + chunk).slice(-LOG_CHARACTERS_MAX);
        const lines = (rest + chunk).split("\n");
        rest = lines.pop() ?? "";
        for (const line of lines) {
          if (/"incident[: ]|incident:/.test(line) && this.incidents.length < 20) this.incidents.push(line);
          const url = /listening on \\?"?(ws:\/\/[0-9.]+:[0-9]+)/.exec(line)?.[1];
          if (url !== undefined) resolve(url);
        }
      }
      reject(new Error(`the server ended before it listened:\n${this.#log}`));
    };
    read().catch(reject);
    return promise;
  }

  async #watchMemory(run: Run): Promise<void> {
    while (!this.#isOver && this.#run === run) {
      const kib = await residentKib(run.child.pid);
      if (kib > this.#peakKib) this.#peakKib = kib;
      await wait(LOOK_MS);
    }
  }
}
