/** Any interleaving of what devices and senders may do keeps the invariants of `lib/README.md`, compared with a model. */
import fc from "../support/fast_check.ts";
import { AdvancingClock } from "../support/advancing_clock.ts";
import { startServer, type TestServer } from "../support/server.ts";
import { withTwoServers } from "../support/shared_kv.ts";
import { Model, Real } from "./model.ts";
import * as commands from "./model_commands.ts";

/** How long each test tries. One run takes about a quarter of a second. */
const LIMIT_MS = 4_500;

const device = fc.constantFrom(1, 2);
const sender = fc.constantFrom(0, 1, 2);
const sender2 = fc.constantFrom(0, 1);
const life = fc.record({
  ttlSeconds: fc.constantFrom(0, 0, 95),
  transient: fc.constantFrom(false, false, true),
});
const version = fc.constantFrom<1 | 2>(2, 2, 1);
const server = fc.constantFrom(0, 1);
const DAY_MS = 86_400_000;

const anything = [
  fc.tuple(device, version, server).map((args) => commands.connect(...args)),
  fc.tuple(device, version, server).map((args) => commands.connect(...args)),
  fc.tuple(device, fc.boolean()).map((args) => commands.disconnect(...args)),
  fc.tuple(device, fc.constantFrom(true, false, false), fc.nat(4), fc.boolean())
    .map((args) => commands.register(...args)),
  fc.tuple(device, fc.constantFrom(true, false, false), fc.nat(4), fc.boolean())
    .map((args) => commands.register(...args)),
  fc.tuple(device, device).map((args) => commands.unregister(...args)),
  fc.tuple(sender, device, life).map((args) => commands.send(...args)),
  fc.tuple(sender, device, life).map((args) => commands.send(...args)),
  fc.tuple(sender2, life).map((args) => commands.sendToAll(...args)),
  fc.tuple(sender2, life).map((args) => commands.sendToAll(...args)),
  fc.tuple(sender2, fc.boolean()).map((args) => commands.sendToWrongList(...args)),
  fc.constant(commands.repeat()),
  fc.tuple(device, fc.nat(3)).map((args) => commands.acknowledge(...args)),
  fc.tuple(device, fc.nat(3)).map((args) => commands.acknowledge(...args)),
  sender.map((index) => commands.claim(index)),
  fc.constantFrom(1_000, 11_000, 100_000, 1_800_000, DAY_MS / 4 + 7_000, DAY_MS, 31 * DAY_MS)
    .map((ms) => commands.letTimePass(ms)),
];

/** Devices that are there and registered, as most runs need them. */
const beginning = [
  commands.connect(1, 2, 0),
  commands.register(1, true, 3, false),
  commands.connect(2, 2, 1),
  commands.register(2, true, 3, false),
];

async function tryAnything(servers: readonly TestServer[], clock: AdvancingClock): Promise<void> {
  const property = fc.asyncProperty(
    fc.commands(anything, { size: "medium", maxCommands: 60 }),
    async (steps) => {
      await using real = await Real.open(servers, clock);
      const model = new Model();
      await fc.asyncModelRun(() => ({ model, real }), beginning);
      await fc.asyncModelRun(() => ({ model, real }), steps);
      // Whatever should not have come, has by the time of an answer that was asked for later.
      for (const peer of real.connections.values()) await peer.bundles(crypto.randomUUID()).catch(() => {});
      await real.check(model);
    },
  );
  const seed = Deno.env.get("MODEL_SEED");
  await fc.assert(property, {
    numRuns: 10_000,
    interruptAfterTimeLimit: Number(Deno.env.get("MODEL_MS") ?? LIMIT_MS),
    ...(seed === undefined ? {} : { seed: Number(seed) }),
  });
}

const SETTINGS = { KV_PATH: ":memory:", DEVICE_UNSEEN: "3650d" };

Deno.test("whatever devices and senders do, everyone gets what they should, at one server", async () => {
  const clock = new AdvancingClock();
  await using server = await startServer(SETTINGS, { clock });
  await tryAnything([server], clock);
});

Deno.test("whatever devices and senders do, everyone gets what they should, at two servers", async () => {
  const clock = new AdvancingClock();
  await withTwoServers((a, b) => tryAnything([a, b], clock), { settings: SETTINGS, clock });
});
