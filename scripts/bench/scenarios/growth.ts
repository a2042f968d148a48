/**
 * B7: whether B1's load slows down, or the server stalls, when much is stored for others, or much is to be deleted.
 *
 * The janitor looks for old sends every 30 s. So servers with old sends are started at the very beginning of a run and
 * stopped by a signal; once 30 s have passed and one goes on, its janitor begins at once.
 * @module
 */
import { acceptedPrefix } from "../../../lib/store/keys.ts";
import { makeRecipients, startSeeded } from "../fleet.ts";
import { runPairs } from "../pairs.ts";
import { wait } from "../process_figures.ts";
import { databasePath, type Folder, makeFolder, startServer, type Target } from "../processes.ts";
import { atLeast, atMost, type Figure, figure, type Findings } from "../report.ts";
import { type Bench, inRounds, on, type Scenario } from "../scenario.ts";
import { copyFolder, fill, makeUsers, type SeedDevice } from "../seed.ts";
import { runSteady } from "../steady.ts";

const PAIRS = 50;
const UNACKNOWLEDGED = 16;
const PROBES_PER_SECOND = 200;

/** The server is warm already; the probe's connections are not. */
const PROBE_WARM_UP_MS = 200;

/** Messages that wait for one of the others. */
const WAITING_EACH = 100;

/** How often the janitor looks, and some time for its start. */
const JANITOR_MS = 30_500;

interface Waiting {
  readonly target: Target;
  readonly folder: Folder;
  readonly recipients: readonly string[];
  readonly startedAt: number;
}

interface Measured {
  readonly rate: number;
  /** Milliseconds: the longest that a probe took, without other load. */
  readonly longestMs: number;
}

const prepared: Waiting[] = [];

/** The load of B1, then the probe alone: what it waits for is a stall, not a queue. */
async function measure(
  { settings }: Bench,
  target: Target,
  recipients: readonly string[],
): Promise<Measured> {
  const { ciphertextBytes, pairs: { warmUpMs }, growth: { measureMs, probeMs } } = settings;
  const load = { recipients, ciphertextBytes, warmUpMs };
  const { rate } = await runPairs(target, { ...load, version: 2, unacknowledged: UNACKNOWLEDGED, measureMs });
  await wait(200);
  const probe = { messagesPerSecond: PROBES_PER_SECOND, measureMs: probeMs };
  const [first = ""] = recipients;
  const { longest } = await runSteady(target, {
    ...load,
    warmUpMs: PROBE_WARM_UP_MS,
    recipients: [first],
    ...probe,
  });
  return { rate, longestMs: longest };
}

async function measureStored(bench: Bench, messages: number): Promise<Measured> {
  const { recipients, seed } = makeRecipients(PAIRS);
  const others: SeedDevice[] = makeUsers(messages / WAITING_EACH).map((userId) => ({
    userId,
    waiting: WAITING_EACH,
  }));
  const devices = [...seed.devices ?? [], ...others];
  return await on(startSeeded({ devices }), (target) => measure(bench, target, recipients));
}

/** The key of the first old send: it changes while the janitor is at work. */
async function firstOldSend(folder: Folder): Promise<string> {
  const kv = await Deno.openKv(databasePath(folder));
  try {
    for await (const { key } of kv.list({ prefix: acceptedPrefix }, { limit: 1 })) return Deno.inspect(key);
    return "none";
  } finally {
    kv.close();
  }
}

async function measureDeletion(bench: Bench): Promise<Measured & { readonly isDeleting: boolean }> {
  const next = prepared.shift();
  if (next === undefined) throw new Error("no server was prepared");
  await using target = next.target;
  await wait(Math.max(0, JANITOR_MS - (performance.now() - next.startedAt)));
  target.kill("SIGCONT");
  await wait(100);
  const before = await firstOldSend(next.folder);
  const measured = await measure(bench, target, next.recipients);
  const middle = await firstOldSend(next.folder);
  await wait(500);
  const after = await firstOldSend(next.folder);
  // Still changing at the end: so it went on all the time.
  return { ...measured, isDeleting: before !== middle && middle !== after };
}

/** Servers with old sends, waiting for their janitor's time. */
async function prepare({ settings, progress }: Bench): Promise<void> {
  progress(`B7: storing ${settings.growth.oldSends} old sends`);
  const { recipients, seed } = makeRecipients(PAIRS);
  using original = makeFolder();
  await fill(original, { ...seed, oldSends: settings.growth.oldSends });
  for (let round = 0; round < settings.rounds; round++) {
    const folder = makeFolder();
    await copyFolder(original, folder);
    const target = await startServer(folder);
    const startedAt = performance.now();
    target.kill("SIGSTOP");
    prepared.push({ target, folder, recipients, startedAt });
  }
}

/** What is stored for others, and what is to be deleted. */
export const growth: Scenario = {
  title: "growth: B1's load (version 2), and a probe of 200 messages/s alone, while more is stored",
  prepare,
  async run(bench): Promise<Findings> {
    const { settings, progress } = bench;
    const { stored, oldSends } = settings.growth;
    const rounds = await inRounds(settings.rounds, async (round) => {
      const byStored: Measured[] = [];
      for (const messages of stored) {
        const measured = await measureStored(bench, messages);
        progress(`B7 round ${round}, ${messages} stored: ${describe(measured)}`);
        byStored.push(measured);
      }
      const deletion = await measureDeletion(bench);
      progress(`B7 round ${round}, ${oldSends} old sends: ${describe(deletion)}`);
      return { byStored, deletion };
    });
    const none = rounds.map(({ byStored }) => byStored[0]?.rate ?? Number.NaN);
    const rows = (name: string, measured: readonly Measured[], isBase: boolean): Figure[] => [
      ...(isBase ? [] : [
        figure(
          `${name}: slowdown`,
          "×",
          measured.map(({ rate }, i) => (none[i] ?? Number.NaN) / rate),
          atMost(1.15),
        ),
      ]),
      figure(
        `${name}: longest stall`,
        "ms",
        measured.map(({ longestMs }) => longestMs),
        ...(isBase ? [] : [atMost(100)]),
      ),
      figure(`${name}: delivered`, "messages/s", measured.map(({ rate }) => rate)),
    ];
    const figures = stored.flatMap((messages, i) =>
      rows(
        `${messages.toLocaleString("en")} stored`,
        rounds.flatMap(({ byStored }) => byStored[i] ?? []),
        i === 0,
      )
    );
    const deletions = rounds.map(({ deletion }) => deletion);
    figures.push(...rows(`${oldSends.toLocaleString("en")} old sends being deleted`, deletions, false));
    const deleting = deletions.map(({ isDeleting }) => isDeleting ? 1 : 0);
    figures.push(figure("the deletion went on all the time", "yes = 1", deleting, atLeast(1)));
    return { figures, notes: ["a stall of the machine counts as well: compare with that at 0 stored"] };
  },
};

function describe({ rate, longestMs }: Measured): string {
  return `${rate.toFixed(0)}/s, longest stall ${longestMs.toFixed(1)} ms`;
}
