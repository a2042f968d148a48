/** The token command: what it prints, what its tokens are good for, and what it refuses. */
import assert from "node:assert/strict";
import { decodeJwt } from "jose";
import { handshake } from "../support/handshake.ts";
import { ProcessServer, runProgram, temporaryFolder } from "../support/process_server.ts";
import { Member } from "./member.ts";

/** No secret is set: that of the database counts, as it does for most operators. */
const KEPT_SECRET = { AUTH_SECRET: undefined };

/** Runs the command, and gives the token: the only line on stdout. */
async function printToken(
  path: string,
  ...args: readonly string[]
): Promise<{ token: string; note: string }> {
  const { code, stdout, stderr } = await runProgram(["token", ...args], { ...KEPT_SECRET, KV_PATH: path });
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^[\w-]+\.[\w-]+\.[\w-]+\n$/, "stdout has the token and nothing else");
  return { token: stdout.trimEnd(), note: stderr };
}

/** The status of a connection with this token. */
async function statusOf(url: string, path: string, token: string): Promise<number> {
  const { status, upgraded } = await handshake(url, path, { headers: { authorization: `Bearer ${token}` } });
  upgraded?.conn.close();
  return status;
}

Deno.test("token new, beside a running server on the same file, makes a user who can connect at once", async () => {
  await using server = await ProcessServer.start(KEPT_SECRET);
  const { token, note } = await printToken(server.path, "new");
  const { sub, exp, iat } = decodeJwt(token);
  const userId = sub ?? "";
  assert.ok(note.includes(userId), "the user ID is on stderr");
  assert.equal((exp ?? 0) - (iat ?? 0), 30 * 86_400, "good for 30 days");
  await using member = await Member.join(server.url, { userId, token });
  await member.send(member.address, [1]);
  assert.deepEqual(await member.received(1), [1]);
  assert.equal(await statusOf(server.url, `/${crypto.randomUUID()}/1`, token), 403);
  const other = decodeJwt((await printToken(server.path, "new")).token).sub;
  assert.notEqual(other, userId);
});

Deno.test("token with a user ID and --device is good for that device alone, for as long as --ttl says", async () => {
  await using server = await ProcessServer.start(KEPT_SECRET);
  const userId = crypto.randomUUID();
  const args = [userId.toUpperCase(), "--device", "7", "--ttl", "90m"];
  const { token, note } = await printToken(server.path, ...args);
  const { sub, exp = 0, iat = 0 } = decodeJwt(token);
  assert.deepEqual([sub, exp - iat], [userId, 90 * 60]);
  assert.match(note, /device 7\b.*90m/);
  assert.equal(await statusOf(server.url, `/${userId}/7`, token), 101);
  assert.equal(await statusOf(server.url, `/${userId}/8`, token), 403);
});

Deno.test("a connection ends with 4401 when its token has expired, and the token opens none any more", async () => {
  await using server = await ProcessServer.start(KEPT_SECRET);
  const userId = crypto.randomUUID();
  // Long enough that it is still good when the command has printed it.
  const { token } = await printToken(server.path, userId, "--ttl", "3s");
  await using member = await Member.connect(server.url, { userId, token });
  assert.equal(await member.closeCode(), 4401);
  assert.equal(await statusOf(server.url, `/${userId}/1`, token), 401);
});

Deno.test("a token that was printed before the first start of the server is good for it", async () => {
  await using folder = await temporaryFolder();
  const path = `${folder.path}/new/messaging.kv`;
  const userId = crypto.randomUUID();
  const { token } = await printToken(path, userId);
  await using server = await ProcessServer.start({ ...KEPT_SECRET, KV_PATH: path });
  assert.equal(await statusOf(server.url, `/${userId}/1`, token), 101);
});

Deno.test("tokens of AUTH_SECRET are good where it is set, and only there", async () => {
  const userId = crypto.randomUUID();
  await using server = await ProcessServer.start();
  const own = await runProgram(["token", userId], { KV_PATH: ":memory:" });
  assert.equal(own.code, 0, own.stderr);
  assert.equal(await statusOf(server.url, `/${userId}/1`, own.stdout.trim()), 101);
  const { token } = await printToken(server.path, userId); // with the secret of the database, which is not asked
  assert.equal(await statusOf(server.url, `/${userId}/1`, token), 401);
});

Deno.test("what the token command can't do is told on stderr in a line, with exit code 1 and no token", async () => {
  await using folder = await temporaryFolder();
  const KV_PATH = `${folder.path}/messaging.kv`;
  const userId = crypto.randomUUID();
  const uuidV1 = "c232ab00-9414-11ec-b3c8-9f6bdeced846";
  for (
    const [args, expected, settings] of [
      [[], /missing required argument 'user'/],
      [["bob"], /"bob" is no user ID/],
      [[uuidV1], /is no user ID/],
      [[userId, "new"], /too many arguments/],
      [[userId, "--device", "4294967296"], /--device: found 4294967296, allowed: 0 to 4294967295/],
      [[userId, "--device", "-1"], /--device: found -1/],
      [[userId, "--ttl", "soon"], /--ttl: found soon, allowed: a duration/],
      [[userId, "--ttl", "0s"], /--ttl: found 0s/],
      [[userId, "--ttl", "4000d"], /--ttl: found 4000d/],
      [["new"], /AUTH_MODE=none/, { AUTH_MODE: "none" }],
      [["new"], /AUTH_MODE=jwks takes no tokens of this server/, {
        AUTH_MODE: "jwks",
        AUTH_JWKS_URL: "https://accounts.example/keys",
        AUTH_ISSUER: "accounts",
        AUTH_AUDIENCE: "messages",
      }],
      [["new"], /:memory:.*AUTH_SECRET/, { KV_PATH: ":memory:" }],
      [["new"], /AUTH_SECRET: found 3 bytes/, { AUTH_SECRET: "abc" }],
      [["new"], /\/proc\/messaging\/kv/, { KV_PATH: "/proc/messaging/kv" }],
    ] as const satisfies [string[], RegExp, Record<string, string>?][]
  ) {
    const ended = await runProgram(["token", ...args], { ...KEPT_SECRET, KV_PATH, ...settings });
    assert.deepEqual([ended.code, ended.stdout], [1, ""], args.join(" "));
    assert.match(ended.stderr, expected);
    assert.doesNotMatch(ended.stderr, /^\s+at /m, "a stack");
  }
});
