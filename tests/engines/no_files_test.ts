/** With WS_ENGINE=ws a process that has run out of file descriptors ends, rather than live on and accept nothing. */
import assert from "node:assert/strict";
import { eventually } from "../support/eventually.ts";
import { ProcessServer } from "../support/process_server.ts";

/** More than the server has open at its start, and few. */
const FILES_MAX = 80;

Deno.test("without file descriptors the server ends with an error, so that it is started again", async () => {
  await using server = await ProcessServer.start({ WS_ENGINE: "ws" });
  const limit = new Deno.Command("prlimit", { args: [`--pid=${server.pid}`, `--nofile=${FILES_MAX}`] });
  assert.ok((await limit.output()).success, "this test needs prlimit, of util-linux");
  using held = new DisposableStack();
  const { hostname, port } = new URL(server.url);
  for (let i = 0; i < FILES_MAX; i++) held.use(await Deno.connect({ hostname, port: Number(port) }));
  await eventually("it says so", () => server.log.includes("lost its listener"), 90_000);
  assert.equal((await server.stop()).code, 1);
});
