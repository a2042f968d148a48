/**
 * kill -9, again and again on one file, in every phase of the server's life.
 *
 * Pairs write to each other as fast as they are answered, on version 1, on version 2 with retries, and mixed. They
 * claim prekeys, upload what was uploaded before, leave some messages unacknowledged, and are away now and then.
 * @module
 */
import { figure, type Findings } from "../../bench/report.ts";
import { wait } from "../../bench/process_figures.ts";
import { Load } from "../load.ts";
import { countFigures, countNotes, type FaultScenario, type Soak } from "../scenario.ts";
import { Victim } from "../victim.ts";

/** What the server is doing when it is killed. */
const PHASES = ["busy", "connecting", "busy", "backlog", "stopping", "busy", "starting"] as const;
type Phase = (typeof PHASES)[number];

/** One device in so many goes away in the phase `backlog`. */
const AWAY_EVERY = 4;

const random = (most: number) => Math.random() * most;

/** Lives through one phase, and kills. The server listens when this begins, unless the phase is `starting`. */
async function live(phase: Phase, victim: Victim, load: Load, aliveMs: number): Promise<void> {
  switch (phase) {
    case "starting":
      victim.launch();
      await wait(random(800)); // while it opens its file, or is about to listen
      break;
    case "connecting":
      await victim.start();
      await wait(random(200)); // while everybody connects, registers and repeats
      break;
    case "busy":
      await victim.start();
      await wait(aliveMs * (0.25 + random(0.75)));
      break;
    case "backlog": {
      await victim.start();
      const away = load.devices.filter((_, index) => index % AWAY_EVERY === 0);
      for (const device of away) device.stayAway(true);
      await wait(aliveMs * (0.25 + random(0.5)));
      for (const device of away) device.stayAway(false);
      await wait(random(400)); // while they read what waited
      break;
    }
    case "stopping":
      await victim.start();
      await wait(aliveMs * (0.25 + random(0.5)));
      victim.signal("SIGTERM");
      await wait(random(400)); // while it commits, answers and closes
      break;
  }
  await victim.kill();
}

async function killAgainAndAgain({ settings, progress }: Soak, victim: Victim, load: Load): Promise<number> {
  const { seconds, aliveMs } = settings.kills;
  const endsAt = performance.now() + seconds * 1_000;
  let kills = 0;
  await victim.kill();
  while (!load.isSpent && performance.now() < endsAt) {
    const phase = PHASES[kills % PHASES.length] ?? "busy";
    await live(phase, victim, load, aliveMs);
    kills++;
    const { accepted, delivered, faultCount, cases, timesBehind } = load.tally;
    progress(
      `kill ${kills} (${phase}): ${accepted} accepted, ${delivered} delivered, ${faultCount} faults` +
        `${faultCount > 0 ? ` (${cases[0]} …)` : ""}, ${timesBehind} told to try again`,
    );
  }
  return kills;
}

/** Kills. */
export const kills: FaultScenario = {
  title: "kill -9 in every phase, on one file; versions 1 and 2, with retries",
  async run(soak): Promise<Findings> {
    const { pairs, inFlight, messages } = soak.settings.kills;
    await using victim = await Victim.start();
    await using load = await Load.start(victim, { pairs, inFlight, messages, isRestless: true });
    const killed = await killAgainAndAgain(soak, victim, load);
    await victim.start();
    await load.settle();
    await load.sendLast(); // everybody has what waited, and has acknowledged it
    const memory = await victim.residentMib();
    await victim.stop();
    await victim.start();
    await load.sendLast(); // nothing may come again: everything was acknowledged before a stop in order
    const tally = await load.end();
    return {
      figures: [
        figure("kills", "", [killed]),
        ...countFigures(tally, victim),
        figure("sent on version 2", "", [tally.sentOnVersion2]),
        figure("memory of the server at the end", "MiB", [memory]),
        figure("prekeys given out", "", [tally.keysGiven]),
        figure("Registers", "", [tally.registers]),
        figure("messages sent again with the retry flag", "", [tally.repeated]),
        figure("came again, as may be", "", [tally.cameAgain]),
        figure("answer to a send, p50", "ms", [tally.answers.quantile(0.5)]),
        figure("answer to a send, p99", "ms", [tally.answers.quantile(0.99)]),
      ],
      notes: countNotes(tally, victim),
    };
  },
};
