/**
 * B3: how long a message takes from when it was due to its delivery, at a steady rate, beside a bare echo.
 * @module
 */
import { makeRecipients, startSeeded } from "../fleet.ts";
import { startEcho } from "../processes.ts";
import { atMost, figure, type Findings, loadNote } from "../report.ts";
import { inRounds, on, type Scenario } from "../scenario.ts";
import { runSteady, steadyEcho } from "../steady.ts";

/** Latency at 500 messages a second. */
export const latency: Scenario = {
  title: "latency at 500 messages/s, 50 pairs, version 2, from due to delivered",
  async run({ settings, progress }): Promise<Findings> {
    const rounds = await inRounds(settings.rounds, async (round) => {
      const { recipients, seed } = makeRecipients(settings.steady.pairs);
      const load = { ...settings.steady, recipients, ciphertextBytes: settings.ciphertextBytes };
      const server = await on(startSeeded(seed), (target) => runSteady(target, load));
      const echo = await on(startEcho(), (target) => runSteady(target, load, steadyEcho));
      progress(
        `B3 round ${round}: server p50 ${server.p50.toFixed(2)} p99 ${server.p99.toFixed(2)} ms, ` +
          `echo p50 ${echo.p50.toFixed(2)} p99 ${echo.p99.toFixed(2)} ms`,
      );
      return { server, echo };
    });
    return {
      figures: [
        figure("p99: server ÷ bare echo", "×", rounds.map((r) => r.server.p99 / r.echo.p99), atMost(10)),
        figure("p50: server ÷ bare echo", "×", rounds.map((r) => r.server.p50 / r.echo.p50)),
        figure("server p50", "ms", rounds.map((r) => r.server.p50)),
        figure("server p99", "ms", rounds.map((r) => r.server.p99)),
        figure("echo p50", "ms", rounds.map((r) => r.echo.p50)),
        figure("echo p99", "ms", rounds.map((r) => r.echo.p99)),
        figure(
          "how late the load sent, p99 (in all of the above)",
          "ms",
          rounds.map((r) => r.server.lateP99),
        ),
      ],
      notes: [
        loadNote("server", rounds.map(({ server }) => server.processors)),
        loadNote("echo", rounds.map(({ echo }) => echo.processors)),
      ],
    };
  },
};
