/**
 * How much is measured for how long: a full run takes under eight minutes, a quick one under fifty seconds.
 * @module
 */

/** The sizes and times of all scenarios. */
export interface Settings {
  /** Each compared with its baseline, in turn. */
  readonly rounds: number;
  readonly ciphertextBytes: number;
  /** B1, B2. */
  readonly pairs: { readonly warmUpMs: number; readonly measureMs: number };
  /** B3, B9. */
  readonly steady: {
    readonly messagesPerSecond: number;
    readonly pairs: number;
    readonly warmUpMs: number;
    readonly measureMs: number;
  };
  /** B4. */
  readonly idle: { readonly connections: number; readonly rounds: number; readonly settleMs: number };
  /** B5. */
  readonly takes: { readonly takes: number; readonly requesters: number; readonly rounds: number };
  /** B6. */
  readonly backlog: { readonly messages: number; readonly pairsMs: number };
  /** B7: messages that wait for others, and old sends. */
  readonly growth: {
    readonly stored: readonly number[];
    readonly oldSends: number;
    readonly measureMs: number;
    readonly probeMs: number;
  };
  /** B8. */
  readonly churn: { readonly devices: number; readonly rounds: number; readonly settleMs: number };
  /** B9. */
  readonly slow: { readonly messages: number; readonly measureMs: number };
  /** B10. */
  readonly flood: { readonly bytesMax: number };
}

/** A full run. */
export const FULL: Settings = {
  rounds: 3,
  ciphertextBytes: 300,
  pairs: { warmUpMs: 800, measureMs: 2_400 },
  steady: { messagesPerSecond: 500, pairs: 50, warmUpMs: 800, measureMs: 3_500 },
  idle: { connections: 10_000, rounds: 3, settleMs: 800 },
  takes: { takes: 1_000, requesters: 50, rounds: 3 },
  backlog: { messages: 10_000, pairsMs: 2_000 },
  growth: { stored: [0, 10_000, 100_000], oldSends: 500_000, measureMs: 1_500, probeMs: 1_500 },
  churn: { devices: 1_000, rounds: 20, settleMs: 1_500 },
  slow: { messages: 10_000, measureMs: 4_000 },
  flood: { bytesMax: 1_000_000_000 },
};

/** Short enough to be run between two changes; its figures are hints. */
export const QUICK: Settings = {
  rounds: 1,
  ciphertextBytes: 300,
  pairs: { warmUpMs: 300, measureMs: 800 },
  steady: { messagesPerSecond: 500, pairs: 50, warmUpMs: 300, measureMs: 1_200 },
  idle: { connections: 2_000, rounds: 1, settleMs: 200 },
  takes: { takes: 400, requesters: 50, rounds: 1 },
  backlog: { messages: 10_000, pairsMs: 600 },
  growth: { stored: [0, 10_000], oldSends: 60_000, measureMs: 700, probeMs: 700 },
  churn: { devices: 200, rounds: 6, settleMs: 200 },
  slow: { messages: 1_500, measureMs: 1_200 },
  flood: { bytesMax: 200_000_000 },
};
