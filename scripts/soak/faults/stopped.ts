/**
 * Processes that stop for a while and go on (SIGSTOP, SIGCONT): the server itself, and a client.
 *
 * To its peers such a process is there and says nothing; when it goes on, all its timers are late at once.
 * @module
 */
import { wait } from "../../bench/process_figures.ts";
import { atMost, figure, type Findings } from "../../bench/report.ts";
import { besideHealthy } from "../healthy.ts";
import type { FaultScenario, Soak } from "../scenario.ts";
import { Sleeper } from "../sleeper.ts";
import { Victim } from "../victim.ts";

const start = ({ settings }: Soak) => Victim.start({ settings: { IDLE_PING: settings.stopped.idlePing } });

/** The server stops for a while. */
export const serverStopped: FaultScenario = {
  title: "the server is stopped for a while",
  async run(soak): Promise<Findings> {
    const { serverMs, idlePing } = soak.settings.stopped;
    await using victim = await start(soak);
    const { figures, notes } = await besideHealthy(soak, victim, async () => {
      victim.signal("SIGSTOP");
      await wait(serverMs);
      victim.signal("SIGCONT");
      await wait(2_000); // for what it does about everything that is late
    });
    return {
      figures,
      notes: [`stopped for ${serverMs} ms, IDLE_PING=${idlePing}`, ...notes],
    };
  },
};

/** How many messages go to the client that is stopped: more than its window. */
const MESSAGES = 600;

/** A client stops for a while. */
export const clientStopped: FaultScenario = {
  title: "a client is stopped for a while, and messages go to it",
  async run(soak): Promise<Findings> {
    const { clientMs, idlePing } = soak.settings.stopped;
    await using victim = await start(soak);
    await using sleeper = await Sleeper.start(await victim.url);
    const { figures, notes, result } = await besideHealthy(soak, victim, async () => {
      await sleeper.send(MESSAGES / 3);
      await sleeper.received(MESSAGES / 3, 20_000);
      sleeper.signal("SIGSTOP");
      await sleeper.send(MESSAGES / 3);
      await wait(clientMs);
      sleeper.signal("SIGCONT");
      await sleeper.send(MESSAGES / 3);
      const tookMs = await sleeper.received(MESSAGES, 60_000);
      return { tookMs, ...sleeper.judge(MESSAGES) };
    });
    return {
      figures: [
        figure("of its messages, lost", "", [result.lost], atMost(0)),
        figure("of its messages, out of order", "", [result.reordered], atMost(0)),
        figure("of its messages, came again unacknowledged", "", [result.cameAgain]),
        figure("from SIGCONT until all are there", "ms", [result.tookMs]),
        ...figures,
      ],
      notes: [`stopped for ${clientMs} ms, IDLE_PING=${idlePing}`, ...notes],
    };
  },
};
