/**
 * No file descriptors left: more connections than the process may have files. It must not live on deaf: it recovers, or
 * ends and says why.
 * @module
 */
import { wait } from "../../bench/process_figures.ts";
import { atMost, figure, type Findings } from "../../bench/report.ts";
import { besideHealthy } from "../healthy.ts";
import type { FaultScenario, Soak } from "../scenario.ts";
import { tryOnce } from "../try_once.ts";
import { Victim } from "../victim.ts";

/** How long it may take until it answers again, once there are files. */
const RECOVERY_MS = 10_000;

async function countFiles(pid: number): Promise<number> {
  const { stdout } = await new Deno.Command("ls", { args: [`/proc/${pid}/fd`] }).output();
  return new TextDecoder().decode(stdout).trim().split("\n").length;
}

/** Opens connections until the server has no files, and keeps at it. */
async function exhaust({ settings }: Soak, victim: Victim, url: URL): Promise<void> {
  const { spare, ms } = settings.files;
  await victim.limit(`--nofile=${await countFiles(victim.pid) + spare}:`);
  const conns: Deno.TcpConn[] = [];
  const endsAt = performance.now() + ms;
  while (performance.now() < endsAt) {
    try {
      const conn = await Deno.connect({ hostname: url.hostname, port: Number(url.port) });
      if (conns.push(conn) > 4 * spare) conns.shift()?.close();
    } catch {
      await wait(20); // refused or reset: that is the point
    }
  }
  for (const conn of conns) {
    try {
      conn.close();
    } catch {
      // the server was quicker
    }
  }
}

/** No files. */
export const noFiles: FaultScenario = {
  title: "no file descriptors left",
  async run(soak): Promise<Findings> {
    await using victim = await Victim.start();
    const url = new URL((await victim.url).replace("ws:", "http:"));
    let exitCode: number | null = null;
    const { figures, notes, result } = await besideHealthy(soak, victim, async () => {
      await exhaust(soak, victim, url);
      const freedAt = performance.now();
      while (victim.isRunning && performance.now() - freedAt < RECOVERY_MS) {
        if (await tryOnce(url, 1_000) !== null) return performance.now() - freedAt;
        await wait(100);
      }
      if (victim.isRunning) return Number.NaN;
      exitCode = 1;
      await victim.start();
      return performance.now() - freedAt;
    });
    const saysWhy = /too many open files/i.test(victim.log);
    return {
      figures: [
        figure("deaf although it has files again", "", [Number.isNaN(result) ? 1 : 0], atMost(0)),
        figure("does not say why", "", [saysWhy ? 0 : 1], atMost(0)),
        figure("answers again after", "ms", [result]),
        ...figures,
      ],
      notes: [
        exitCode === null ? "the process went on" : "the process ended, and was started again",
        ...notes,
      ],
    };
  },
};
