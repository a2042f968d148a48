/** A client in a process of its own, which can be stopped, and somebody who writes to it. */
import { Connection } from "../../lib/client/mod.ts";
import { wait } from "../bench/process_figures.ts";
import { benchToken } from "../bench/processes.ts";
import { undoAtEnd } from "./clean_up.ts";

/** How many sends wait for their answers at once. */
const AT_ONCE = 50;

/** A client that may sleep. */
export class Sleeper implements AsyncDisposable {
  /** The numbers that it was handed, in order. */
  readonly #numbers: number[] = [];
  readonly #ready = Promise.withResolvers<void>();
  readonly #undo = undoAtEnd(() => this.signal("SIGKILL")); // whether or not it is stopped
  #sent = 0;

  private constructor(
    private readonly child: Deno.ChildProcess,
    private readonly userId: string,
    private readonly sender: Connection,
  ) {
    void this.#read();
  }

  /** Starts one, and waits until it is connected and registered. */
  static async start(url: string): Promise<Sleeper> {
    const userId = crypto.randomUUID();
    const senderId = crypto.randomUUID();
    const program = new URL("./sleeping_client.ts", import.meta.url).pathname;
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "--quiet", "--allow-net", program, url, userId, await benchToken(userId)],
      stdin: "null",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    const token = await benchToken(senderId);
    const sender = await Connection.connect({ url, userId: senderId, deviceId: 1, token });
    const sleeper = new Sleeper(child, userId, sender);
    const late = wait(30_000).then(() => Promise.reject(new Error("the client does not get ready")));
    await Promise.race([sleeper.#ready.promise, late]);
    return sleeper;
  }

  /** Sends it a signal. */
  signal(signal: Deno.Signal): void {
    try {
      this.child.kill(signal);
    } catch {
      // it has ended
    }
  }

  /** Sends it the next numbers; resolves when all are stored. */
  async send(count: number): Promise<void> {
    for (let left = count; left > 0; left -= AT_ONCE) {
      await Promise.all(Array.from({ length: Math.min(left, AT_ONCE) }, () => {
        const ciphertext = new Uint8Array(200);
        new DataView(ciphertext.buffer).setUint32(0, this.#sent++);
        return this.sender.send({ userId: this.userId, deviceId: 1 }, ciphertext);
      }));
    }
  }

  /** Waits until so many numbers came, repeats aside. @returns the milliseconds that it took. */
  async received(count: number, deadlineMs: number): Promise<number> {
    const startedAt = performance.now();
    while (new Set(this.#numbers).size < count && performance.now() - startedAt < deadlineMs) await wait(20);
    return performance.now() - startedAt;
  }

  /** What is wrong with what came. */
  judge(sent: number): { lost: number; reordered: number; cameAgain: number } {
    const seen = new Set<number>();
    let [last, reordered, cameAgain] = [-1, 0, 0];
    for (const number of this.#numbers) {
      if (seen.has(number)) cameAgain++;
      else if (number < last) reordered++;
      seen.add(number);
      last = Math.max(last, number);
    }
    return { lost: sent - seen.size, reordered, cameAgain };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#undo[Symbol.dispose]();
    await this.child.status;
    await this.sender.close();
  }

  async #read(): Promise<void> {
    let rest = "";
    for await (const chunk of this.child.stdout.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + chunk).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) {
        if (line === "ready") this.#ready.resolve();
        else this.#numbers.push(Number(line));
      }
    }
  }
}
