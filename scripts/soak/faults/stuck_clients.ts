/**
 * Clients that are stuck, and to which messages go all the time: one reads nothing, one acknowledges nothing, one sends
 * one byte a second. Nothing of theirs may be lost, and nobody else may wait for them.
 * @module
 */
import { benchToken } from "../../bench/processes.ts";
import { wait } from "../../bench/process_figures.ts";
import { atMost, figure, type Findings } from "../../bench/report.ts";
import { besideHealthy } from "../healthy.ts";
import { Load } from "../load.ts";
import type { FaultScenario } from "../scenario.ts";
import { Victim } from "../victim.ts";

/** Connections that send one byte a second. */
const TRICKLES = 20;

/** A binary message of 1,000 bytes, masked with zeros. */
const FRAME = new Uint8Array(1_008).fill(1, 8);
FRAME.set([0x82, 0xfe, 0x03, 0xe8, 0, 0, 0, 0]);

/** A request, or after an upgrade a frame, byte by byte. */
class Trickle {
  isEnded = false;

  private constructor(private readonly conn: Deno.TcpConn, bytes: Uint8Array) {
    void this.#send(bytes);
    void this.#read();
  }

  static async start(url: URL, isUpgraded: boolean): Promise<Trickle> {
    const userId = crypto.randomUUID();
    const conn = await Deno.connect({ hostname: url.hostname, port: Number(url.port) });
    const lines = [
      `GET /${userId}/1 HTTP/1.1`,
      `Host: ${url.host}`,
      "Upgrade: websocket",
      "Connection: Upgrade",
      "Sec-WebSocket-Version: 13",
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
      "Sec-WebSocket-Protocol: messaging.v2",
      `Authorization: Bearer ${await benchToken(userId)}`,
    ];
    const request = new TextEncoder().encode(`${lines.join("\r\n")}\r\n\r\n`);
    if (isUpgraded) await conn.write(request);
    return new Trickle(conn, isUpgraded ? FRAME : request);
  }

  end(): void {
    this.isEnded = true;
    try {
      this.conn.close();
    } catch {
      // the server was quicker
    }
  }

  async #send(bytes: Uint8Array): Promise<void> {
    for (let n = 0; n < bytes.length && !this.isEnded; n++) {
      await this.conn.write(bytes.subarray(n, n + 1)).catch(() => this.isEnded = true);
      await wait(1_000);
    }
  }

  async #read(): Promise<void> {
    const piece = new Uint8Array(1_024);
    try {
      while (await this.conn.read(piece) !== null);
    } catch {
      // cut
    }
    this.isEnded = true;
  }
}

/** Stuck clients. */
export const stuckClients: FaultScenario = {
  title: "clients that read nothing, acknowledge nothing, send a byte a second",
  async run(soak): Promise<Findings> {
    const { ms, messages } = soak.settings.stuck;
    await using victim = await Victim.start();
    const url = new URL((await victim.url).replace("ws:", "http:"));
    // Of each pair one is stuck, and the other writes to it.
    await using stuck = await Load.start(victim, { pairs: 4, versions: [[1, 1], [2, 2]] });
    let trickling = 0;
    const { figures, notes } = await besideHealthy(soak, victim, async () => {
      for (const [index, device] of stuck.devices.entries()) {
        if (index % 2 === 1) device.behave(index < 4 ? "reads nothing" : "acknowledges nothing");
      }
      const starting = Array.from({ length: TRICKLES }, (_, n) => Trickle.start(url, n % 2 === 0));
      const trickles = await Promise.all(starting);
      stuck.pace(2 * messages / (ms / 1_000)); // half of them are due at those who are stuck, and not sent
      await wait(ms);
      trickling = trickles.filter(({ isEnded }) => !isEnded).length;
      for (const trickle of trickles) trickle.end();
    });
    // They come to their senses: everything is there, in order.
    for (const device of stuck.devices) device.behave("good");
    await stuck.settle();
    const theirs = await stuck.end();
    return {
      figures: [
        figure("messages to and from the stuck clients, accepted", "", [theirs.accepted]),
        figure("of them, delivered in the end", "", [theirs.delivered]),
        figure("faults at the stuck clients", "", [theirs.faultCount], atMost(0)),
        figure("of the clients that send a byte a second, still there", `of ${TRICKLES}`, [trickling]),
        ...figures,
      ],
      notes: [
        `stuck for ${ms} ms; errors told to those who write to them: ${
          [...theirs.errors].join("; ") || "none"
        }`,
        ...notes,
        ...theirs.cases,
      ],
    };
  },
};
