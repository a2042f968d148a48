/** The fixed seeds of the corpus; more with `deno task fuzz`. And that what is wrong is found, and told. */
import assert from "node:assert/strict";
import { type ClientMessage, v2 } from "../../lib/protocol/mod.ts";
import { checkPayload } from "./codec_target.ts";
import corpus from "./corpus.json" with { type: "json" };
import { RoundError, runRound, runRounds } from "./rounds.ts";
import { readSeedEnvelopes } from "./seed_envelopes.ts";
import { Counts, type Target } from "./target.ts";
import { TARGETS } from "./targets.ts";

for (const target of TARGETS) {
  const seeds = corpus.filter((entry) => entry.target === target.name).map(({ seed }) => seed);
  Deno.test(`the ${target.name} stand what the seeds of the corpus make`, async () => {
    assert.ok(seeds.length > 0);
    const startedAt = performance.now();
    await using open = await target.open();
    for (const seed of seeds) await runRound(target.name, open, seed);
    const seconds = ((performance.now() - startedAt) / 1_000).toFixed(1);
    console.log(`fuzz_test: ${target.name}: ${seeds.length} seeds in ${seconds} s; ${open.describe()}`);
  });
}

Deno.test("a round that fails is told with its seed, and with the command that runs it again", async () => {
  const seen: number[] = [];
  const failing: Target = {
    name: "canary",
    open: () =>
      Promise.resolve({
        run: (seed) => {
          seen.push(seed);
          return seed === 0 ? Promise.reject(new Error("found")) : Promise.resolve();
        },
        describe: () => "",
        [Symbol.asyncDispose]: () => Promise.resolve(),
      }),
  };
  await assert.rejects(runRounds(failing, 0xffff_fffe, 60_000, () => {}), (error) => {
    assert.ok(error instanceof RoundError);
    assert.match(error.message, /found[^]*deno task fuzz --only canary --seed 0 --seconds 0/);
    return true;
  });
  assert.deepEqual(seen, [0xffff_fffe, 0xffff_ffff, 0]);
});

Deno.test("a codec that loses something, or throws what it may not, is found with the vectors", async () => {
  const faults = {
    "loses the flag of a repeat": (message: ClientMessage): ClientMessage =>
      message.type === "user_message"
        ? { ...message, message: { ...message.message, retry: false } }
        : message,
    "throws for many prekeys": (message: ClientMessage): ClientMessage => {
      if (message.type === "register" && message.keys.preKeys.length > 1) throw new TypeError("too many");
      return message;
    },
  };
  const seeds = (await readSeedEnvelopes()).filter(({ version, side }) => version === 2 && side === "client");
  const check = (codec: typeof v2) => {
    for (const { type, payload } of seeds) checkPayload(codec, "client", type, payload, new Counts());
  };
  check(v2);
  for (const [what, spoil] of Object.entries(faults)) {
    const encodeClientMessage: typeof v2.encodeClientMessage = (message, sequence) =>
      v2.encodeClientMessage(spoil(message), sequence);
    assert.throws(() => check({ ...v2, encodeClientMessage }), what);
  }
});
