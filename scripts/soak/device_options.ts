/** What a device of the load is, and how it may differ from a good one. */
import type { Version } from "../../lib/protocol/mod.ts";
import type { Claims } from "./key_ring.ts";
import type { Lane } from "./lane.ts";
import type { Tally } from "./tally.ts";

/** How a device treats what it is sent: as it should, or without reading, or without acknowledging. */
export type Manner = "good" | "reads nothing" | "acknowledges nothing";

/** What a device is and does. */
export interface DeviceOptions {
  /** Counts devices. */
  readonly index: number;
  readonly userId: string;
  readonly partnerId: string;
  readonly version: Version;
  readonly token: string;
  readonly outgoing: Lane;
  readonly incoming: Lane;
  readonly tally: Tally;
  readonly claims: Claims;
  /** Users whose prekeys are claimed now and then; none: no claims, and every message is acknowledged at once. */
  readonly targets: readonly string[];
  /** How many sends are under way at once; 0: it sends when told to. */
  readonly inFlight: number;
  /** Resolves with the address of the server when there is one. */
  url(): Promise<string>;
  /** Whether another message may be sent. */
  mayGoOn(): boolean;
}
