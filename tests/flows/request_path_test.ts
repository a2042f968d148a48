/** Requests whose path could be read in two ways: no header and no trick of URLs leads anywhere else than the path. */
import assert from "node:assert/strict";
import { handshake } from "../support/handshake.ts";
import { startServer } from "../support/server.ts";

const USER = "3f0c7e0a-91d4-4b6e-8a57-2d1c9e6f7b10";

/** Paths and Host headers, and the status that they get; 200 and 101 stand for what is served. */
const REQUESTS: readonly (readonly [path: string, host: string, status: number])[] = [
  [`/${USER}/7`, "chat.example.org", 101],
  [`/${USER}/7?next=/metrics`, "[::1]:8080", 101],
  [`http://other.example:9/${USER}/7`, "chat.example.org", 101],
  [`http://[/${USER}/7`, "chat.example.org", 101],
  [`/a/../${USER}/7`, "x", 404],
  [`/./${USER}/7`, "x", 404],
  [`/a/%2e%2e/${USER}/7`, "x", 404],
  [`/${USER}\\7`, "x", 404],
  [`/${USER}/%37`, "x", 400],
  ["/a/../metrics", "x", 404],
  ["/%6detrics", "x", 404],
  ["/healthz", "x", 200],
  // With these, a URL that is put together from the header and the path has another path, or is none.
  ["/7", `x/${USER}`, 400],
  ["/x", "x/metrics?", 400],
  ["/healthz", "x#", 400],
  ["/healthz", "a b", 400],
  ["/healthz", "a@b", 400],
  ["/healthz", "a\\b", 400],
  ["/healthz", "[", 200],
  ["/healthz", "a:99999", 200],
];

Deno.test("the path counts as it was sent, whatever the Host header says, and nothing is a fault", async () => {
  await using server = await startServer();
  const authorization = `Bearer ${await server.token(USER)}`;
  for (const [path, host, status] of REQUESTS) {
    const answer = await handshake(server.url, path, { headers: { host, authorization } });
    answer.upgraded?.conn.close();
    assert.equal(answer.status, status, `${path} at ${host}: ${answer.body}`);
  }
});
