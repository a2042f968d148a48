/** Requests for an upgrade, over bare TCP: each gets what is due by the table of protocol §1, and nothing stops the server. */
import assert from "node:assert/strict";
import { Random } from "../process/random.ts";
import { ProcessServer } from "../support/process_server.ts";
import { HealthyPair } from "./healthy_pair.ts";
import { makeUserId } from "./mutation.ts";
import { Counts, type OpenTarget, type Target } from "./target.ts";
import { type HostileRequest, makeRequest } from "./upgrade_requests.ts";
import { FUZZED_SETTINGS, Vitals } from "./vitals.ts";

const REQUESTS_A_ROUND = 200;
const AT_ONCE = 8;

/** How long an answer may take: long, since the machine may be busy. */
const ANSWER_MS = 30_000;

/** What came back: `null` if the connection just ended. */
type Answer = { readonly status: number; readonly head: string; readonly body: string } | null;

const bytesOf = (text: string) => Uint8Array.from(text, (character) => character.charCodeAt(0));
const latin1 = new TextDecoder("latin1");

/** Reads one answer: its head, and the body that its Content-Length tells, but for an answer to HEAD. */
async function readAnswer(conn: Deno.TcpConn, hasBody: boolean): Promise<Answer> {
  let text = "";
  const piece = new Uint8Array(16_384);
  for (;;) {
    const end = text.indexOf("\r\n\r\n");
    if (end >= 0) {
      const head = text.slice(0, end);
      const status = Number(/^HTTP\/1\.[01] ([0-9]{3})/.exec(head)?.[1]);
      const length = status === 101 || !hasBody
        ? 0
        : Number(/^content-length: ([0-9]+)$/im.exec(head)?.[1] ?? 0);
      if (text.length >= end + 4 + length) {
        return { status, head, body: text.slice(end + 4, end + 4 + length) };
      }
    }
    const count = await conn.read(piece).catch(() => null); // reset: it hung up before it read everything
    if (count === null) return null;
    text += latin1.decode(piece.subarray(0, count));
  }
}

async function writeAll(conn: Deno.TcpConn, bytes: Uint8Array): Promise<void> {
  for (let sent = 0; sent < bytes.length;) sent += await conn.write(bytes.subarray(sent));
}

/** Fails unless the answer is what is due. */
function judge({ due, subprotocol, token }: HostileRequest, answer: Answer): void {
  if (answer === null) return assert.ok(typeof due === "string", `no answer in place of ${due}`);
  const { status, head, body } = answer;
  assert.ok(Number.isInteger(status), "no answer of HTTP");
  if (typeof due === "number") assert.equal(status, due, `the status: ${body}`);
  else if (due === "refused") assert.ok(status >= 400 && status < 500, `${status} in place of a refusal`);
  else assert.ok(status < 500, `${status}: ${body}`);
  if (status === 101 && due === 101) {
    const echoed = /^sec-websocket-protocol: (.*)$/im.exec(head)?.[1] ?? null;
    assert.equal(echoed, subprotocol, "the subprotocol");
    assert.match(head, /^sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=$/im);
  }
  if (token.length > 20) {
    assert.ok(!`${head}${body}`.includes(token.slice(-20)), "the answer repeats the token");
  }
  if (/^content-type: application\/json/im.test(head) && body !== "") {
    const { error, message } = JSON.parse(body);
    assert.ok(typeof error === "string" && typeof message === "string", "error and message");
    assert.equal(body.indexOf("\n"), body.length - 1, "one line");
  }
}

class Upgrades implements OpenTarget {
  readonly #counts = new Counts();

  constructor(
    private readonly server: ProcessServer,
    private readonly pair: HealthyPair,
    private readonly vitals: Vitals,
  ) {}

  async run(seed: number): Promise<void> {
    const random = new Random(seed);
    const users = Array.from({ length: 40 }, () => makeUserId(random));
    const conversing = this.pair.converse();
    const requests = Array.from({ length: REQUESTS_A_ROUND }, () => makeRequest(random, users));
    const work = Array.from({ length: AT_ONCE }, async (_, i) => {
      const noise = new Random(seed + i);
      for (let at = i; at < requests.length; at += AT_ONCE) {
        const request = requests[at];
        if (request !== undefined) await this.#one(noise, request);
      }
    });
    try {
      await this.vitals.during(Promise.race([conversing, Promise.all(work)]));
    } finally {
      this.pair.stop();
      await conversing;
    }
    const tokens = requests.map(({ token }) => token).filter((token) => token.length > 40);
    const logged = tokens.find((token) => this.server.log.includes(token.slice(-40)));
    assert.equal(logged, undefined, "a token is in the log");
  }

  describe(): string {
    return `${this.#counts}; healthy: ${this.pair.exchanged} each way; ${this.vitals.describe()}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.pair.close();
    await this.server[Symbol.asyncDispose]();
  }

  async #one(random: Random, request: HostileRequest): Promise<void> {
    const { hostname, port } = new URL(this.server.url);
    const conn = await Deno.connect({ hostname, port: Number(port) });
    let isLate = false;
    const timer = setTimeout(() => {
      isLate = true;
      conn.close();
    }, ANSWER_MS);
    try {
      // A server that has seen enough hangs up while it is still sent the rest.
      await writeAll(conn, bytesOf(request.text)).catch(() => {});
      // What was cut short would be waited for; an upgrade needs the other direction too.
      if (request.due === "any") await conn.closeWrite().catch(() => {});
      const answer = await readAnswer(conn, !request.text.startsWith("HEAD "));
      assert.ok(!isLate, `no answer within ${ANSWER_MS} ms`);
      judge(request, answer);
      this.#counts.add(answer?.status ?? "hung up");
      if (answer?.status === 101 && random.chance(0.3)) {
        await writeAll(conn, random.bytes(1 + random.integer(200))).catch(() => {});
      }
    } catch (error) {
      const shown = JSON.stringify(request.text.slice(0, 3_000));
      throw new Error(`${request.what}, due ${request.due}: ${error}\n${shown}`);
    } finally {
      clearTimeout(timer);
      if (!isLate) conn.close();
    }
  }
}

/** The requests for an upgrade. */
export const upgrades: Target = {
  name: "upgrades",
  open: async () => {
    const server = await ProcessServer.start({ LOG_FORMAT: "json", ...FUZZED_SETTINGS });
    const pair = new HealthyPair();
    await pair.open(server.url);
    return new Upgrades(server, pair, new Vitals(server));
  },
};
