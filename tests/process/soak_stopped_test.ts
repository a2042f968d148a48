/** Processes that stop for a while: `deno task soak --only server_stopped,client_stopped` in short. */
import { clientStopped, serverStopped } from "../../scripts/soak/faults/stopped.ts";
import { requireUnharmed } from "./soak_findings.ts";

Deno.test("a server that is stopped for longer than its pings closes no healthy connection", async () => {
  await requireUnharmed("server_stopped", serverStopped);
});

Deno.test("a client that is stopped gets everything in order when it goes on", async () => {
  await requireUnharmed("client_stopped", clientStopped);
});
