/**
 * The real program as a process of its own, started with the command of the task `start`, on a real file.
 *
 * Nothing is inherited from whoever runs the tests but what is no setting of the server.
 * @module
 */
import { stripVTControlCharacters } from "node:util";
import { SETTINGS } from "../../lib/settings.ts";
import { eventually } from "./eventually.ts";
import { TEST_ENVIRONMENT } from "./server.ts";

const ROOT = new URL("../../", import.meta.url);

/** How long a program may take to start, or to end after it was told to. */
const DEADLINE_MS = 15_000;

/** Settings by the names of their environment variables; `undefined` takes one of the test environment away. */
export type Settings = Readonly<Record<string, string | undefined>>;

/** How a program ended, and what it printed. */
export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  /** From its start, or from the signal that ended it. */
  readonly elapsedMs: number;
}

/** Programs that still run: should the tests end early, they end as well. */
const running = new Set<Deno.ChildProcess>();

addEventListener("unload", () => {
  for (const child of running) child.kill("SIGKILL");
});

/** What is run instead of the task `start` under this Deno. */
export interface Program {
  /** Default: the Deno that runs the tests. */
  readonly path?: string;
  /** Default: the arguments of the task `start`. */
  readonly args?: readonly string[];
}

/** The command of the task `start`, so that the tests run with exactly its permissions. */
async function startCommand(): Promise<string[]> {
  const { tasks } = JSON.parse(await Deno.readTextFile(new URL("deno.json", ROOT)));
  const words: string[] = tasks.start.command.split(" ");
  if (words[0] !== "deno" || words.at(-1) !== "main.ts") {
    throw new Error(`unexpected task: ${words.join(" ")}`);
  }
  return words.slice(1);
}

/** Reads a stream to its end, and tells what has come so far. */
class Output {
  text = "";
  readonly ended: Promise<void>;

  constructor(stream: ReadableStream<Uint8Array>) {
    this.ended = this.#read(stream);
  }

  async #read(stream: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder();
    for await (const chunk of stream) this.text += decoder.decode(chunk, { stream: true });
  }
}

/** One run of the program. */
class Run {
  readonly ended: Promise<Ended>;
  readonly #startedAt = performance.now();
  hasEnded = false;

  private constructor(
    readonly child: Deno.ChildProcess,
    readonly stdout: Output,
    readonly stderr: Output,
  ) {
    running.add(child);
    this.ended = this.#wait();
  }

  static async start(settings: Settings, args: readonly string[], program: Program = {}): Promise<Run> {
    const names = new Set<string>(Object.values(SETTINGS).map(({ env }) => env));
    const inherited = Object.entries(Deno.env.toObject()).filter(([name]) => !names.has(name));
    const given = Object.entries({ ...TEST_ENVIRONMENT, PORT: "0", ...settings })
      .flatMap(([name, value]) => value === undefined ? [] : [[name, value] as const]);
    const child = new Deno.Command(program.path ?? Deno.execPath(), {
      args: [...program.args ?? await startCommand(), ...args],
      cwd: ROOT,
      clearEnv: true,
      env: Object.fromEntries([...inherited, ...given]),
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    return new Run(child, new Output(child.stdout), new Output(child.stderr));
  }

  signal(signal: Deno.Signal): void {
    if (!this.hasEnded) this.child.kill(signal);
  }

  /** Waits for the end; a program that does not end by itself is killed, and is an error. */
  async end(what: string, deadlineMs = DEADLINE_MS): Promise<Ended> {
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      this.signal("SIGKILL");
    }, deadlineMs);
    const ended = await this.ended;
    clearTimeout(timer);
    if (isLate) throw new Error(`${what} did not end within ${deadlineMs} ms:\n${ended.stderr}`);
    return ended;
  }

  async #wait(): Promise<Ended> {
    const [{ code }] = await Promise.all([this.child.status, this.stdout.ended, this.stderr.ended]);
    this.hasEnded = true;
    running.delete(this.child);
    const elapsedMs = performance.now() - this.#startedAt;
    return { code, stdout: this.stdout.text, stderr: this.stderr.text, elapsedMs };
  }
}

/** Runs the program until it ends by itself: what it prints, and its exit code. */
export async function runProgram(
  args: readonly string[],
  settings: Settings = {},
  deadlineMs = DEADLINE_MS,
  program: Program = {},
): Promise<Ended> {
  const run = await Run.start(settings, args, program);
  return await run.end(`main.ts ${args.join(" ")}`, deadlineMs);
}

/** A fresh folder, removed at the end of its scope. */
export async function temporaryFolder(): Promise<{ path: string } & AsyncDisposable> {
  const path = await Deno.makeTempDir({ prefix: "messaging-test-" });
  return { path, [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }) };
}

/** A server in a process of its own. It can be killed and started again, on the same file; ended with its scope. */
export class ProcessServer implements AsyncDisposable {
  #run: Run | null = null;
  #logBefore = "";
  #url = "";

  private constructor(
    readonly directory: string,
    private readonly settings: Settings,
    private readonly args: readonly string[],
    private readonly program: Program,
  ) {}

  /** Starts a server on a fresh file, and waits until it listens. */
  static async start(
    settings: Settings = {},
    args: readonly string[] = [],
    program: Program = {},
  ): Promise<ProcessServer> {
    const directory = await Deno.makeTempDir({ prefix: "messaging-test-" });
    const server = new ProcessServer(directory, settings, args, program);
    try {
      await server.start();
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
    return server;
  }

  /** Starts it again, on the same file, and waits until it listens. */
  async start(): Promise<void> {
    if (this.#run !== null) throw new Error("the server runs already");
    const run = this.#run = await Run.start(
      { KV_PATH: this.path, ...this.settings },
      this.args,
      this.program,
    );
    // In both formats the line may hold quotes, and colours in one.
    const find = () =>
      /listening on [^w]*(wss?:\/\/[^\s"',\\]+)/.exec(stripVTControlCharacters(run.stderr.text));
    await eventually("the server listens, or ends", () => run.hasEnded || find() !== null, DEADLINE_MS);
    const [, url] = find() ?? [];
    if (url === undefined) throw new Error(`the server did not start:\n${run.stderr.text}`);
    this.#url = url;
  }

  /** Where clients connect, without the path: another one after every start. */
  get url(): string {
    return this.#url;
  }

  /** The same for plain requests. */
  get httpUrl(): string {
    return this.#url.replace(/^ws/, "http");
  }

  /** The file with the database, unless the settings name another. */
  get path(): string {
    return `${this.directory}/messaging.kv`;
  }

  get pid(): number {
    return this.#running.child.pid;
  }

  /** Everything that was logged, by all runs. */
  get log(): string {
    return this.#logBefore + (this.#run?.stderr.text ?? "");
  }

  /** The memory of the process that is resident, in bytes. */
  async residentBytes(): Promise<number> {
    const status = await Deno.readTextFile(`/proc/${this.pid}/status`);
    const [, kibibytes] = /^VmRSS:\s+(\d+) kB$/m.exec(status) ?? [];
    if (kibibytes === undefined) throw new Error(`no VmRSS for process ${this.pid}`);
    return Number(kibibytes) * 1_024;
  }

  /** `kill -9`: returns once the process is gone. */
  async kill(): Promise<void> {
    await this.stop("SIGKILL");
  }

  /** Tells the server to stop, and waits until it has. */
  async stop(signal: Deno.Signal = "SIGTERM"): Promise<Ended> {
    const run = this.#running;
    const signalledAt = performance.now();
    run.signal(signal);
    const ended = await run.end(`the server, after ${signal},`);
    this.#logBefore += run.stderr.text;
    this.#run = null;
    return { ...ended, elapsedMs: performance.now() - signalledAt };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#run !== null) await this.kill();
    await Deno.remove(this.directory, { recursive: true });
  }

  get #running(): Run {
    if (this.#run === null) throw new Error("the server does not run");
    return this.#run;
  }
}
