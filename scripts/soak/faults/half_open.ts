/**
 * Connections that begin a request and never end it, and some that say nothing at all: a slow-header attack.
 * @module
 */
import { forEachOf } from "../../bench/peers.ts";
import { wait } from "../../bench/process_figures.ts";
import { atMost, figure, type Findings } from "../../bench/report.ts";
import { besideHealthy } from "../healthy.ts";
import type { FaultScenario } from "../scenario.ts";
import { tryOnce } from "../try_once.ts";
import { Victim } from "../victim.ts";

const AT_A_TIME = 100;

/** How many ask for something, and expect an answer, while the others are half open. */
const PROBES = 20;

const BEGINNING = new TextEncoder().encode(
  "GET /x HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nX-Slow: ",
);

/** One connection that never gets anywhere. */
class HalfOpen {
  isEnded = false;

  private constructor(private readonly conn: Deno.TcpConn) {
    void this.#watch();
  }

  static async open(url: URL, begins: boolean): Promise<HalfOpen> {
    const conn = await Deno.connect({ hostname: url.hostname, port: Number(url.port) });
    if (begins) await conn.write(BEGINNING);
    return new HalfOpen(conn);
  }

  close(): void {
    try {
      this.conn.close();
    } catch {
      // the server was quicker
    }
  }

  async #watch(): Promise<void> {
    const count = await this.conn.read(new Uint8Array(1_024)).catch(() => null);
    this.isEnded = count === null;
  }
}

/** Half-open connections. */
export const halfOpen: FaultScenario = {
  title: "connections that never finish their request",
  async run(soak): Promise<Findings> {
    const { connections, ms } = soak.settings.halfOpen;
    await using victim = await Victim.start();
    const url = new URL((await victim.url).replace("ws:", "http:"));
    let ended = 0;
    let failed = 0;
    let memory = 0;
    let slowest = 0;
    const { figures, notes } = await besideHealthy(soak, victim, async () => {
      const all: HalfOpen[] = [];
      const numbers = Array.from({ length: connections }, (_, n) => n);
      await forEachOf(numbers, AT_A_TIME, async (n) => void all.push(await HalfOpen.open(url, n % 4 !== 3)));
      soak.progress(`${all.length} are half open`);
      for (let n = 0; n < PROBES; n++) {
        const tookMs = await tryOnce(url, 5_000);
        if (tookMs === null) failed++;
        else slowest = Math.max(slowest, tookMs);
        await wait(ms / PROBES);
      }
      memory = await victim.residentMib();
      ended = all.filter(({ isEnded }) => isEnded).length;
      for (const connection of all) connection.close();
    });
    return {
      figures: [
        figure("half-open connections", "", [connections]),
        figure("of them, closed by the server meanwhile", "", [ended]),
        figure("requests of others that failed", "", [failed], atMost(0)),
        figure("requests of others, the slowest", "ms", [slowest]),
        figure("memory with them", "MiB", [memory]),
        ...figures,
      ],
      notes: [`held for ${ms} ms; a quarter of them says nothing at all`, ...notes],
    };
  },
};
