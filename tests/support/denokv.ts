/** A real denokv server as a process of its own, on a fresh file: it can be killed and started again, at the same address. */
import { eventually } from "./eventually.ts";

/** What servers and tests present to it. */
export const KV_TOKEN = "a token for tests";

const running = new Set<Deno.ChildProcess>();

addEventListener("unload", () => {
  for (const child of running) child.kill("SIGKILL");
});

/** A KV Connect server, ended with its scope. */
export class Denokv implements AsyncDisposable {
  #child: Deno.ChildProcess | null = null;
  #address = "127.0.0.1:0";
  #log = "";

  private constructor(private readonly program: string, private readonly folder: string) {}

  /** Starts one, and waits until it listens. */
  static async start(program: string): Promise<Denokv> {
    const server = new Denokv(program, await Deno.makeTempDir({ prefix: "messaging-denokv-" }));
    try {
      await server.start();
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
    return server;
  }

  /** Where it listens, as `KV_PATH` has it. */
  get url(): string {
    return `http://${this.#address}`;
  }

  /** What a server process needs to use it. */
  get settings(): Record<string, string> {
    return { KV_PATH: this.url, DENO_KV_ACCESS_TOKEN: KV_TOKEN };
  }

  get pid(): number {
    if (this.#child === null) throw new Error("denokv does not run");
    return this.#child.pid;
  }

  /** Starts it again, on the same file and address. */
  async start(): Promise<void> {
    const child = this.#child = new Deno.Command(this.program, {
      args: [
        `--sqlite-path=${this.folder}/denokv.sqlite`,
        "serve",
        `--addr=${this.#address}`,
        `--access-token=${KV_TOKEN}`,
        "--num-workers=2",
      ],
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).spawn();
    running.add(child);
    this.#log = "";
    void this.#read(child);
    const find = () => /Listening on http:\/\/(\S+)/.exec(this.#log)?.[1];
    await eventually("denokv listens", () => find() !== undefined);
    this.#address = find() ?? this.#address;
  }

  /** `kill -9`: returns once the process is gone. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (child === null) return;
    this.#child = null;
    child.kill("SIGKILL");
    await child.status;
    running.delete(child);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    await Deno.remove(this.folder, { recursive: true });
  }

  async #read(child: Deno.ChildProcess): Promise<void> {
    for await (const chunk of child.stderr.pipeThrough(new TextDecoderStream())) {
      this.#log = (this.#log + chunk).slice(-20_000);
    }
  }
}
