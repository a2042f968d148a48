/** One account floods a server: what it gets out of it is bounded, and what the others send arrives meanwhile. */
import assert from "node:assert/strict";
import { numbersFrom } from "../support/device.ts";
import { eventually } from "../support/eventually.ts";
import { ProcessServer } from "../support/process_server.ts";
import { signTestToken } from "../support/server.ts";
import { Member } from "./member.ts";

/** Every limit as it is without settings. */
const DEFAULTS = Object.fromEntries(
  [
    "RATE_SENDS",
    "RATE_PAIR",
    "RATE_PREKEYS",
    "RATE_CLAIMS",
    "RATE_REQUESTS",
    "RATE_REFUSALS",
    "RATE_CONNECTIONS",
    "RATE_REMOTE_CONNECTIONS",
    "RATE_USER_CONNECTIONS",
    "RATE_TAKEOVERS",
    "USER_CONNECTIONS_MAX",
  ].map((name) => [name, undefined]),
);

const REFUSALS = { burst: 2_000, perSecond: 100 } as const;
const CONNECTIONS = { burst: 40, perSecond: 1 } as const;

/** How many connections the attacker keeps at once: one refusal of each may come when patience is over already. */
const ATTACKING = 8;

/** A slow machine may need a while until the flood has got anywhere. */
const DEADLINE_MS = 60_000;

const ATTACKER = new URL("../../scripts/floods/attacker.ts", import.meta.url).pathname;

/** Starts an attacker, killed with its scope. */
async function attack(
  kind: string,
  url: string,
  victim: Member,
  accomplice: Member,
): Promise<AsyncDisposable> {
  const user = crypto.randomUUID();
  const { userId } = accomplice.address;
  const tokens = [await signTestToken(user), await signTestToken(userId)];
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--quiet",
      "--allow-net",
      ATTACKER,
      kind,
      url,
      victim.address.userId,
      userId,
      user,
      ...tokens,
    ],
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  return {
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await child.status;
    },
  };
}

/** The counters of a server by name and labels. */
async function countersOf(server: ProcessServer): Promise<(name: string) => number> {
  const text = await (await fetch(`${server.httpUrl}/metrics`)).text();
  return (name) =>
    Number(text.split("\n").find((line) => line.startsWith(`messaging_${name} `))?.split(" ")[1] ?? 0);
}

/** The kinds of flood, and the error that each runs into. */
const KINDS: Readonly<Record<string, string | null>> = {
  "sends-gathered": "rate_limited",
  broken: "unmarshal",
  acks: null,
};

for (const [kind, error] of Object.entries(KINDS)) {
  Deno.test(`a flood of ${kind} is thrown out, kept out, and what others send arrives`, async () => {
    await using server = await ProcessServer.start(DEFAULTS);
    await using alice = await Member.join(server.url);
    await using bob = await Member.join(server.url);
    const startedAt = performance.now();
    await using _attacker = await attack(kind, server.url, alice, bob);
    let sent = 0;
    await eventually("the flood is thrown out, and refused at the door", async () => {
      await alice.send(bob.address, [sent++]);
      const count = await countersOf(server);
      return count('upgrades_refused_total{status="429"}') > 20;
    }, DEADLINE_MS);
    const more = numbersFrom(sent, 50);
    await alice.send(bob.address, more);
    await eventually("what the others sent", () => bob.inbox.at(-1) === more.at(-1), DEADLINE_MS);
    assert.deepEqual(bob.inbox.filter((n) => n < 1_000), numbersFrom(0, sent + 50));
    const count = await countersOf(server);
    const seconds = (performance.now() - startedAt) / 1_000;
    const opened = count("connections_opened_total");
    assert.ok(opened <= 2 + CONNECTIONS.burst + CONNECTIONS.perSecond * seconds, `${opened} connections`);
    if (error === null) return;
    const refused = count(`errors_total{name="${error}"}`);
    const allowed = REFUSALS.burst + REFUSALS.perSecond * seconds + opened + ATTACKING;
    assert.ok(refused <= allowed, `${refused} of ${allowed}`);
  });
}

for (const engine of ["deno", "ws"]) {
  Deno.test(`a flood of pings is thrown out, and nothing that was accepted is lost: WS_ENGINE=${engine}`, async () => {
    await using server = await ProcessServer.start({ ...DEFAULTS, RATE_PAIR: "off", WS_ENGINE: engine });
    await using alice = await Member.join(server.url);
    await using bob = await Member.join(server.url);
    const accepted: number[] = [];
    let next = 0;
    const send = async () => {
      const n = next++;
      await alice.send(bob.address, [n]);
      accepted.push(n);
    };
    await using _attacker = await attack("pings", server.url, alice, bob);
    await eventually("the flood is refused at the door", async () => {
      // Storage may starve: then it is answered late, and with an error.
      await send().catch(() => {});
      const count = await countersOf(server);
      return count('upgrades_refused_total{status="429"}') > 20;
    }, DEADLINE_MS);
    await eventually("storage answers again", () => send().then(() => true, () => false), DEADLINE_MS);
    await Promise.all(Array.from({ length: 50 }, send));
    const missing = () => accepted.filter((n) => !bob.inbox.includes(n));
    await eventually("what was accepted", () => missing().length === 0, DEADLINE_MS);
    assert.deepEqual(bob.inbox, bob.inbox.toSorted((a, b) => a - b));
  });
}
