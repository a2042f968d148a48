/** Clients that are many, stuck, or no clients at all: the other faults of `deno task soak` in short. */
import { halfOpen } from "../../scripts/soak/faults/half_open.ts";
import { noFiles } from "../../scripts/soak/faults/no_files.ts";
import { stampede } from "../../scripts/soak/faults/stampede.ts";
import { stuckClients } from "../../scripts/soak/faults/stuck_clients.ts";
import { requireUnharmed } from "./soak_findings.ts";

Deno.test("clients that read nothing, acknowledge nothing or send a byte a second hold nobody up", async () => {
  await requireUnharmed("stuck_clients", stuckClients);
});

Deno.test("connections that never finish their request hold nobody up", async () => {
  await requireUnharmed("half_open", halfOpen);
});

Deno.test("a server without file descriptors says so, keeps its connections, and listens again", async () => {
  await requireUnharmed("no_files", noFiles);
});

Deno.test("all clients that reconnect at once after a restart come back", async () => {
  await requireUnharmed("stampede", stampede);
});
