/**
 * What a process uses, from outside: memory and processor time out of `/proc`, after a collection where it matters.
 *
 * `/proc` is read by `cat`, since Deno lets nobody read there without all permissions.
 * @module
 */
import type { Target } from "./processes.ts";

/** The kernel counts processor time in hundredths of a second. */
const TICKS_PER_SECOND = 100;

async function cat(...paths: string[]): Promise<string> {
  try {
    const { stdout } = await new Deno.Command("cat", { args: paths, stderr: "null" }).output();
    return new TextDecoder().decode(stdout);
  } catch {
    return "";
  }
}

/** The resident memory of a process in KiB; `NaN` where there is no `/proc`. */
export async function residentKib(pid: number): Promise<number> {
  return Number(/VmRSS:\s+([0-9]+) kB/.exec(await cat(`/proc/${pid}/status`))?.[1] ?? Number.NaN);
}

/** Processor seconds that each process has used, all its threads together. */
export async function processorSeconds(pids: readonly number[]): Promise<number[]> {
  const lines = (await cat(...pids.map((pid) => `/proc/${pid}/stat`))).trim().split("\n");
  return lines.map((line) => {
    // The name, in brackets, may hold spaces: fields are counted behind it.
    const fields = line.slice(line.lastIndexOf(")") + 2).split(" ");
    return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
  });
}

/** How many processors the target and the load kept busy, from the call to the call of what it returns. */
export async function watchProcessors(target: Target): Promise<() => Promise<Processors>> {
  const pids = [target.pid, Deno.pid];
  const before = await processorSeconds(pids);
  const startedAt = performance.now();
  return async () => {
    const seconds = (performance.now() - startedAt) / 1_000;
    const after = await processorSeconds(pids);
    const [busy = Number.NaN, load = Number.NaN] = after.map((value, i) =>
      (value - (before[i] ?? 0)) / seconds
    );
    return { target: busy, load };
  };
}

/** Processors that were busy: 1 is one of them all the time. */
export interface Processors {
  readonly target: number;
  /** The load's event loop can't use more than one. */
  readonly load: number;
}

/** How long an inspector may take to answer. */
const INSPECTOR_MS = 10_000;

/** Asks the inspector of a process for one thing after the other: their results, `undefined` if one did not come. */
async function inspect(inspector: string, methods: readonly string[]): Promise<unknown[]> {
  const socket = new WebSocket(inspector);
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onerror = () => reject(new Error(`no inspector at ${inspector}`));
  });
  const results: unknown[] = [];
  for (const [id, method] of methods.entries()) {
    const done = new Promise<unknown>((resolve) => {
      socket.onmessage = ({ data }) => {
        const answer = JSON.parse(String(data));
        if (answer.id === id) resolve(answer.result);
      };
    });
    socket.send(JSON.stringify({ id, method }));
    results.push(await Promise.race([done, wait(INSPECTOR_MS)]));
  }
  socket.close();
  return results;
}

/** Has a process that was started with an inspector collect its garbage, twice: finalizers free more. */
export async function collectGarbage(target: Target): Promise<void> {
  const method = "HeapProfiler.collectGarbage";
  if (target.inspector !== null) await inspect(target.inspector, [method, method]);
}

/** What a process that was started with an inspector keeps in JavaScript's heap: KiB. Collect its garbage before. */
export async function heapKib({ inspector }: Target): Promise<number> {
  if (inspector === null) return Number.NaN;
  const [usage] = await inspect(inspector, ["Runtime.getHeapUsage"]);
  return (usage as { readonly usedSize: number }).usedSize / 1_024;
}

/** The resident memory once garbage is collected and what was freed has gone back: KiB. */
export async function settledKib(target: Target, settleMs: number): Promise<number> {
  await wait(settleMs);
  await collectGarbage(target);
  await wait(200);
  return await residentKib(target.pid);
}

/** Waits. */
export function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** What the figures were measured on. */
export async function describeMachine(): Promise<Record<string, string | number>> {
  const cpu = /model name\s*: (.*)/.exec(await cat("/proc/cpuinfo"))?.[1] ?? "unknown";
  const { total, available } = Deno.systemMemoryInfo();
  const [load = 0] = Deno.loadavg();
  return {
    os: `${Deno.build.os} ${Deno.osRelease()}`,
    processor: cpu,
    processors: navigator.hardwareConcurrency,
    memoryMib: Math.round(total / 2 ** 20),
    availableMib: Math.round(available / 2 ** 20),
    loadAverageAtStart: load,
    fsyncMs: await measureFsync(),
    openFilesMax: Number(await ulimit()),
  };
}

/** The median time that the disk of the databases takes to make 4 KiB durable: behind every Ack is one of these. */
async function measureFsync(): Promise<number> {
  const path = await Deno.makeTempFile({ prefix: "messaging-bench-" });
  const file = await Deno.open(path, { write: true });
  const times: number[] = [];
  for (let i = 0; i < 50; i++) {
    await file.write(new Uint8Array(4_096));
    const startedAt = performance.now();
    await file.syncData();
    times.push(performance.now() - startedAt);
  }
  file.close();
  await Deno.remove(path);
  return Number((times.sort((a, b) => a - b)[times.length >> 1] ?? 0).toFixed(3));
}

/** How many files a process may have open. */
export async function ulimit(): Promise<number> {
  const { stdout } = await new Deno.Command("sh", { args: ["-c", "ulimit -n"] }).output();
  const text = new TextDecoder().decode(stdout).trim();
  return text === "unlimited" ? Number.POSITIVE_INFINITY : Number(text);
}
