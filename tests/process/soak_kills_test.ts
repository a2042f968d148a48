/** kill -9 in every phase of a server's life, on one file: `deno task soak --kills` in short. */
import { kills } from "../../scripts/soak/faults/kills.ts";
import { requireUnharmed } from "./soak_findings.ts";

Deno.test("kill -9 in every phase loses, repeats and reorders nothing, and gives no prekey twice", async () => {
  await requireUnharmed("kills", kills);
});
