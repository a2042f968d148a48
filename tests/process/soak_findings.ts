/** What a fault must come to: every figure that has to be something is that. */
import assert from "node:assert/strict";
import { isMet } from "../../scripts/bench/report.ts";
import type { FaultScenario } from "../../scripts/soak/scenario.ts";
import { SHORT } from "../../scripts/soak/settings.ts";

/** Brings a fault about in short, prints what was found, and fails on what must not be. */
export async function requireUnharmed(name: string, fault: FaultScenario): Promise<void> {
  const steps: string[] = [];
  const { figures, notes } = await fault.run({ settings: SHORT, progress: (text) => steps.push(text) });
  const value = (figure: string) => figures.find((row) => row.name === figure)?.value;
  const counts = ["sent", "accepted", "delivered", "lost", "duplicated", "reordered", "keysTwice"];
  console.log(`${name}: ${counts.map((count) => `${count} ${value(count)}`).join(", ")}`);
  const missed = figures.filter((row) => isMet(row) === false).map((row) => `${row.name}: ${row.value}`);
  assert.deepEqual(missed, [], [...steps, ...notes].join("\n"));
  assert.ok((value("delivered") ?? 0) > 50, `too little happened: ${value("delivered")} messages`);
}
