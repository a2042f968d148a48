/**
 * Storage that does not answer for a while: another process holds the lock of the database file, or the file system
 * under it is frozen. Sends are refused with 109 in time, and go on afterwards.
 * @module
 */
import { DatabaseSync } from "node:sqlite";
import { wait } from "../../bench/process_figures.ts";
import { atLeast, atMost, figure, type Findings } from "../../bench/report.ts";
import { succeeds, undoAtEnd } from "../clean_up.ts";
import { besideHealthy } from "../healthy.ts";
import type { FaultScenario, Soak } from "../scenario.ts";
import { Victim } from "../victim.ts";

/** How long a send may wait for its refusal: the deadline of storage, and a second to look at it. */
const REFUSED_MS_MAX = 6_000;

/** What a machine that is busy with other things may add. */
const BUSY_MS = 1_500;

/** Runs the fault on a server, and judges the refusals. */
async function run(soak: Soak, victim: Victim, hang: (ms: number) => Promise<void>): Promise<Findings> {
  const { ms } = soak.settings.hang;
  const { figures, notes, result } = await besideHealthy(soak, victim, async (load) => {
    await hang(ms);
    return { longest: load.tally.refusedAfter.longest, codes: new Map(load.tally.errors) };
  });
  const inTime = result.codes.get(109) ?? 0;
  const refused = [...result.codes].reduce((sum, [, count]) => sum + count, 0);
  return {
    figures: [
      figure("sends refused with 109", "", [inTime], atLeast(1)),
      figure("refused with something else", "", [refused - inTime], atMost(0)),
      figure("longest wait for a refusal", "ms", [result.longest], atMost(REFUSED_MS_MAX + BUSY_MS)),
      ...figures,
    ],
    notes: [`${ms} ms`, ...notes],
  };
}

/** Another process holds the lock: the database says so at once. */
export const storageLocked: FaultScenario = {
  title: "another process holds the lock of the database",
  async run(soak): Promise<Findings> {
    await using victim = await Victim.start();
    return await run(soak, victim, async (ms) => {
      using database = new DatabaseSync(victim.databasePath, { timeout: 5_000 });
      database.exec("BEGIN IMMEDIATE");
      soak.progress("locked");
      await wait(ms);
      database.exec("ROLLBACK");
    });
  },
};

/** The file system under the database is frozen: whoever writes waits, and is told nothing. Needs root. */
export const storageFrozen: FaultScenario = {
  title: "the file system under the database is frozen",
  async run(soak): Promise<Findings> {
    const directory = await Deno.makeTempDir({ prefix: "messaging-soak-" });
    using disposables = new DisposableStack();
    disposables.use(undoAtEnd(() => Deno.removeSync(directory, { recursive: true })));
    const [image, mounted] = [`${directory}/image`, `${directory}/mounted`];
    await Deno.mkdir(mounted);
    const mount = `truncate -s 256M ${image} && mkfs.ext4 -q ${image} && mount -o loop ${image} ${mounted}`;
    if (!succeeds("sh", "-c", mount)) {
      throw new Error("a file system of one's own can't be mounted here: be root");
    }
    disposables.use(undoAtEnd(() => {
      succeeds("fsfreeze", "--unfreeze", mounted); // else nothing that waits for it ends
      succeeds("umount", "--lazy", mounted);
    }));
    await using victim = await Victim.start({ directory: mounted });
    return await run(soak, victim, async (ms) => {
      // In one command, so that it thaws whatever becomes of this program.
      const freeze = `fsfreeze --freeze ${mounted} && sleep ${ms / 1_000}; fsfreeze --unfreeze ${mounted}`;
      soak.progress("frozen");
      const { success } = await new Deno.Command("sh", { args: ["-c", freeze] }).output();
      if (!success) throw new Error("fsfreeze failed");
    });
  },
};
