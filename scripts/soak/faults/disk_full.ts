/**
 * No space left for the database: sends are refused with 109 or 1, and go on once there is space again.
 *
 * The database is on a small file system of its own, which a file beside it fills. Where nobody may mount one, the
 * server's files may grow no further.
 * @module
 */
import { atLeast, atMost, figure, type Findings } from "../../bench/report.ts";
import { wait } from "../../bench/process_figures.ts";
import { succeeds, undoAtEnd } from "../clean_up.ts";
import { besideHealthy } from "../healthy.ts";
import type { FaultScenario, Soak } from "../scenario.ts";
import { Victim } from "../victim.ts";

/** Something with little space. */
interface SmallDisk extends AsyncDisposable {
  readonly what: string;
  readonly victim: Victim;
  fill(): Promise<void>;
  free(): Promise<void>;
}

async function mountSmallDisk(mebibytes: number): Promise<SmallDisk | null> {
  const directory = await Deno.makeTempDir({ prefix: "messaging-soak-" });
  if (!succeeds("mount", "-t", "tmpfs", "-o", `size=${mebibytes}m`, "tmpfs", directory)) {
    await Deno.remove(directory);
    return null;
  }
  const mounted = undoAtEnd(() => {
    succeeds("umount", "--lazy", directory); // what a process that was just killed still has open does not count
    Deno.removeSync(directory);
  });
  const filler = `${directory}/filler`;
  try {
    const victim = await Victim.start({ directory });
    return {
      what: `a file system of ${mebibytes} MiB, filled`,
      victim,
      fill: () => fillWith(filler),
      free: () => Deno.remove(filler),
      [Symbol.asyncDispose]: async () => {
        await victim[Symbol.asyncDispose]();
        mounted[Symbol.dispose]();
      },
    };
  } catch (error) {
    mounted[Symbol.dispose]();
    throw error;
  }
}

/** Writes zeros until nothing more fits. */
async function fillWith(path: string): Promise<void> {
  using file = await Deno.open(path, { write: true, create: true });
  const zeros = new Uint8Array(4_096);
  try {
    for (;;) await file.write(zeros);
  } catch (error) {
    if (!/os error 28/.test(String(error))) throw error;
  }
}

/** A limit on the size of the server's files, which its soft part can be moved while it runs. */
async function limitFiles(): Promise<SmallDisk> {
  // The signal that comes with the limit would end the server; without it the write fails, as on a full disk.
  const victim = await Victim.start({ before: "trap '' XFSZ" });
  return {
    what: "files that may not grow",
    victim,
    fill: () => victim.limit("--fsize=4096:"),
    free: () => victim.limit("--fsize=unlimited:"),
    [Symbol.asyncDispose]: () => victim[Symbol.asyncDispose](),
  };
}

/** Full, with space again; then full, killed, and started with space again. */
async function beFullTwice({ settings, progress }: Soak, disk: SmallDisk): Promise<void> {
  const { victim } = disk;
  await disk.fill();
  progress(`full: ${disk.what}`);
  await wait(settings.disk.fullMs);
  await disk.free();
  await wait(settings.disk.fullMs);
  await disk.fill();
  await wait(settings.disk.fullMs);
  await victim.kill();
  await disk.free().catch(() => {}); // a limit goes with its process
  await victim.start();
  progress("killed while full, and started again");
}

async function run(soak: Soak, disk: SmallDisk): Promise<Findings> {
  let errors = new Map<number, number>();
  const { figures, notes } = await besideHealthy(soak, disk.victim, async (load) => {
    await beFullTwice(soak, disk);
    errors = load.tally.errors;
  }, { endsConnections: true });
  const refused = [...errors].reduce((sum, [, count]) => sum + count, 0);
  const others = refused - (errors.get(109) ?? 0) - (errors.get(1) ?? 0);
  return {
    figures: [
      figure("sends refused with 109 or 1", "", [refused - others], atLeast(1)),
      figure("sends refused with something else", "", [others], atMost(0)),
      ...figures,
    ],
    notes: [disk.what, ...notes],
  };
}

/** A full disk; files that may not grow where nobody may mount one. */
export const diskFull: FaultScenario = {
  title: "no space for the database, then space again; and kill -9 while there is none",
  async run(soak): Promise<Findings> {
    await using disk = await mountSmallDisk(soak.settings.disk.mebibytes) ?? await limitFiles();
    return await run(soak, disk);
  },
};

/** Files that may not grow. */
export const filesLimited: FaultScenario = {
  title: "the files of the database may not grow, then may; and kill -9 while they may not",
  async run(soak): Promise<Findings> {
    await using disk = await limitFiles();
    return await run(soak, disk);
  },
};
