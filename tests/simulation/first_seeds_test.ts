/** The first half of the seeds; and that a seed decides everything. */
import assert from "node:assert/strict";
import { passSeeds, SEEDS } from "./seeds.ts";
import { runWorld } from "./world.ts";

Deno.test("every promise holds in the first hundred simulated worlds", () => passSeeds(1, SEEDS / 2));

Deno.test("the same seed has the same trace, and another seed another", async () => {
  const hashes = new Set<string>();
  for (const seed of [3, 7, 42]) {
    const first = await runWorld({ seed });
    const second = await runWorld({ seed });
    assert.equal(second.traceHash, first.traceHash);
    assert.deepEqual(second.figures, first.figures);
    hashes.add(first.traceHash);
  }
  assert.equal(hashes.size, 3);
});

Deno.test("a seed is replayed by another process, to the same trace", async () => {
  const { traceHash } = await runWorld({ seed: 1017 });
  const main = new URL("main.ts", import.meta.url).pathname;
  const args = ["run", "--quiet", "--allow-env", "--lock=tests/deno.lock", main, "--seed", "1017"];
  const command = new Deno.Command(Deno.execPath(), { args, cwd: new URL("../..", import.meta.url) });
  const { code, stdout } = await command.output();
  assert.equal(code, 0);
  assert.match(
    new TextDecoder().decode(stdout),
    new RegExp(`^seed 1017: trace ${traceHash.slice(0, 16)}\n1 runs, 0 failed`),
  );
});
