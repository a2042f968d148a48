/** The log: its two formats, and what must never be in it. */
import assert from "node:assert/strict";
import { stripVTControlCharacters } from "node:util";
import { Connection } from "../../lib/client/mod.ts";
import { encodeEnvelope, TYPE } from "../../lib/protocol/mod.ts";
import { eventually } from "../support/eventually.ts";
import { handshake } from "../support/handshake.ts";
import { ProcessServer } from "../support/process_server.ts";
import { signTestToken, TEST_ENVIRONMENT } from "../support/server.ts";
import { encodeFrame, OPCODE } from "../support/websocket_frames.ts";
import { converse } from "./member.ts";

/** What is secret, each told apart. */
const MARKS = {
  ciphertext: "marked-ciphertext-QZ1",
  identityKey: "marked-identity-key-QZ2",
  signedPreKey: "marked-signed-prekey-QZ3",
  preKey: "marked-prekey-QZ4",
  broken: "marked-broken-frame-QZ5",
  description: "marked-description-QZ6",
  metricsToken: "marked-metrics-token-QZ7",
} as const;

const bytes = (text: string) => new TextEncoder().encode(text);

/** A secret as it could be written by accident: as text, in hexadecimal, in base64, as a list of numbers. */
function spellings(secret: string): string[] {
  const raw = bytes(secret);
  // In base64 the first characters depend on what comes before: whole groups from each of three starts.
  const groups = [0, 1, 2].map((start) => {
    const whole = raw.subarray(start, start + Math.floor((raw.length - start) / 3) * 3);
    return whole.toBase64().slice(0, 16);
  });
  return [secret, raw.toHex(), ...groups, raw.join(","), raw.join(", ")];
}

/** Everything a client can do wrong or right, with secrets in every place. Gives the tokens that were used. */
async function useSecrets(server: ProcessServer): Promise<string[]> {
  const [alice, bob] = [crypto.randomUUID(), crypto.randomUUID()];
  const tokens = [await signTestToken(alice), await signTestToken(bob, 1)];
  const keys = {
    registrationId: 1,
    identityKey: bytes(MARKS.identityKey),
    signedPreKey: bytes(MARKS.signedPreKey),
    preKeys: [bytes(MARKS.preKey)],
  };
  const at = { url: server.url, deviceId: 1 };
  let isRefused = true;
  let closeCode = 0;
  const a = await Connection.connect({ ...at, userId: alice, token: tokens[0] ?? "" });
  const b = await Connection.connect({
    ...at,
    userId: bob,
    token: tokens[1] ?? "",
    onMessage: () => {
      if (isRefused) throw new Error("not this time");
    },
    onClose: (code) => closeCode = code,
  });
  await b.register(keys);
  await a.requestPreKeys(bob);
  await a.send({ userId: bob, deviceId: 1 }, bytes(MARKS.ciphertext));
  await assert.rejects(a.send({ userId: crypto.randomUUID(), deviceId: 1 }, bytes(MARKS.ciphertext)));
  await assert.rejects(a.send({ userId: bob, deviceId: 1 }, new Uint8Array(100_000).fill(65)));
  await assert.rejects(b.register({ ...keys, preKeys: [new Uint8Array()] }));
  await b.register({ ...keys, registrationId: 2 });
  isRefused = false;
  // A takeover, then frames that are wrong in one way or the other.
  const headers = { authorization: `Bearer ${tokens[1]}` };
  for (
    const frame of [
      encodeFrame(OPCODE.binary, encodeEnvelope(1, 1, TYPE.register, bytes(MARKS.broken))),
      encodeFrame(OPCODE.binary, encodeEnvelope(1, 0x8000_0001, TYPE.error, bytes(`x${MARKS.description}`))),
      encodeFrame(OPCODE.binary, bytes(MARKS.broken)),
      encodeFrame(OPCODE.text, bytes(MARKS.broken)),
      bytes(MARKS.broken),
    ]
  ) {
    const { upgraded } = await handshake(server.url, `/${bob}/1`, { headers });
    await upgraded?.conn.write(frame);
    upgraded?.conn.close();
  }
  await eventually("the takeover", () => closeCode === 4409);
  // Tokens that are refused: for another user, forged, expired, in the subprotocol.
  const forged = `${tokens[0]?.slice(0, -8)}AAAAAAAA`;
  const expired = await signTestToken(alice, 1, 1_000, Date.now() - 60_000);
  for (const token of [tokens[1] ?? "", forged, expired]) {
    const refused = await handshake(server.url, `/${alice}/1`, {
      headers: { "sec-websocket-protocol": `bearer.${token}` },
    });
    assert.ok(refused.status === 401 || refused.status === 403);
  }
  const metrics = { headers: { authorization: `Bearer ${MARKS.metricsToken}` } };
  await (await fetch(`${server.httpUrl}/metrics`, metrics)).body?.cancel();
  await a.close();
  return [...tokens, forged, expired];
}

Deno.test("at LOG_LEVEL=debug nothing in the log holds a payload, a token, a key or a secret", async () => {
  await using server = await ProcessServer.start({ LOG_LEVEL: "debug", METRICS_TOKEN: MARKS.metricsToken });
  const tokens = await useSecrets(server);
  await converse(server.url);
  assert.equal((await server.stop()).code, 0);
  const log = server.log.toLowerCase();
  assert.ok(log.includes("listening") && log.includes("stopping"), "there is a log");
  const secrets = [...Object.values(MARKS), TEST_ENVIRONMENT["AUTH_SECRET"] ?? ""].flatMap(spellings);
  // Each part of a token tells something; the first one is the same for all.
  secrets.push(...tokens.flatMap((token) => token.split(".").slice(1)));
  for (const secret of secrets) {
    assert.ok(secret.length >= 16, `too short to be told apart: ${secret}`);
    assert.ok(!log.includes(secret.toLowerCase()), `in the log: ${secret}`);
  }
});

Deno.test("with LOG_FORMAT=json every line is JSON with a time, a level and a message", async () => {
  await using server = await ProcessServer.start({
    LOG_FORMAT: "json",
    LOG_LEVEL: "debug",
    AUTH_MODE: "none",
  });
  await converse(server.url);
  await server.stop();
  const lines = server.log.trimEnd().split("\n").map((line) => JSON.parse(line));
  assert.ok(lines.length >= 3); // listening, the warning of AUTH_MODE=none, stopping
  for (const line of lines) {
    assert.match(line.level, /^(DEBUG|INFO|WARN|ERROR)$/);
    assert.ok(Math.abs(Date.parse(line["@timestamp"]) - Date.now()) < 60_000);
    assert.ok(line.message.length > 0 && line.logger.startsWith("messaging."));
  }
});

Deno.test("with LOG_FORMAT=pretty lines are for people", async () => {
  await using server = await ProcessServer.start({ LOG_FORMAT: "pretty" });
  await server.stop();
  const lines = stripVTControlCharacters(server.log).trimEnd().split("\n");
  assert.match(lines[0] ?? "", /^\d\d:\d\d:\d\d\S* INF server: listening on "ws:/);
  assert.match(lines[1] ?? "", /INF server: .*SIGTERM.* stopping$/);
  assert.equal(lines.length, 2);
});
