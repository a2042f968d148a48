/** How much of each fault a run brings: in full, and in short for the gate. */

import type { InFlight } from "./load.ts";

/** The sizes of a run. */
export interface SoakSettings {
  readonly kills: {
    readonly pairs: number;
    /** How many sends each device has under way, by its version: each of version 2 is repeated after a kill. */
    readonly inFlight: InFlight;
    /** The run ends when so many were sent … */
    readonly messages: number;
    /** … or when it has taken so long. */
    readonly seconds: number;
    /** The longest that a server lives. */
    readonly aliveMs: number;
  };
  /** The healthy clients beside the other faults. */
  readonly healthy: { readonly pairs: number; readonly messagesPerSecond: number; readonly beforeMs: number };
  readonly disk: { readonly mebibytes: number; readonly fullMs: number };
  readonly hang: { readonly ms: number };
  readonly stopped: { readonly serverMs: number; readonly clientMs: number; readonly idlePing: string };
  readonly stampede: { readonly clients: number };
  readonly stuck: { readonly ms: number; readonly messages: number };
  readonly halfOpen: { readonly connections: number; readonly ms: number };
  readonly files: { readonly spare: number; readonly ms: number };
}

/** What `deno task soak` runs. */
export const FULL: SoakSettings = {
  kills: { pairs: 50, inFlight: { 1: 16, 2: 8 }, messages: 1_000_000, seconds: 3_600, aliveMs: 20_000 },
  healthy: { pairs: 10, messagesPerSecond: 100, beforeMs: 5_000 },
  disk: { mebibytes: 12, fullMs: 5_000 },
  hang: { ms: 10_000 },
  stopped: { serverMs: 30_000, clientMs: 30_000, idlePing: "30s" },
  stampede: { clients: 2_000 },
  stuck: { ms: 30_000, messages: 6_000 },
  halfOpen: { connections: 10_000, ms: 30_000 },
  files: { spare: 20, ms: 5_000 },
};

/** What the gate runs. */
export const SHORT: SoakSettings = {
  kills: { pairs: 20, inFlight: { 1: 12, 2: 4 }, messages: 1_000_000, seconds: 12, aliveMs: 1_500 },
  healthy: { pairs: 4, messagesPerSecond: 40, beforeMs: 1_000 },
  disk: { mebibytes: 6, fullMs: 1_000 },
  hang: { ms: 10_000 },
  stopped: { serverMs: 5_000, clientMs: 4_500, idlePing: "3s" },
  stampede: { clients: 500 },
  stuck: { ms: 4_000, messages: 1_000 },
  halfOpen: { connections: 1_000, ms: 2_000 },
  files: { spare: 20, ms: 1_500 },
};
