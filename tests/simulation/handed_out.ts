/** One-time prekeys: which went into which pools, and who got them. */
import type { PreKeyBundle } from "../../lib/domain.ts";
import type { Connection } from "./connection.ts";
import type { Installations } from "./installations.ts";
import type { Scheduler } from "./scheduler.ts";
import type { Verdict, WallHistory } from "./verdict.ts";

/** How long a claim gets the same answer. */
const CLAIM_MS = 600_000;

interface Claimed {
  readonly preKey: string | null;
  readonly identityKey: string;
  readonly epoch: string | null;
  readonly at: number;
  readonly wall: number;
}

/** Watches over them. */
export class HandedOut {
  /** The installations in whose pools a prekey was, by device and prekey. */
  readonly #pools = new Map<string, Set<string>>();
  /** Who got it. */
  readonly #takers = new Map<string, Set<string>>();
  readonly #claims = new Map<string, Claimed>();
  #number = 0;

  constructor(
    private readonly scheduler: Scheduler,
    private readonly verdict: Verdict,
    private readonly walls: WallHistory,
    private readonly installations: Installations,
  ) {}

  /** How many were handed out. */
  get count(): number {
    return this.#takers.size;
  }

  /** A prekey went into the pool of an installation. */
  pooled(device: string, epoch: string, preKey: Uint8Array): void {
    const name = `${device}/${preKey.toHex()}`;
    const pools = this.#pools.get(name) ?? new Set();
    this.#pools.set(name, pools);
    // Whoever uploads it again after it was handed out would have it handed out twice.
    if (pools.has(epoch) && this.#takers.has(name)) {
      this.verdict.broke(`a prekey of ${device} that is used was stored`);
    }
    pools.add(epoch);
  }

  /**
   * A server answers with a bundle.
   *
   * @param claimId of the request, if it has one; else each answer is for somebody else.
   */
  answered(connection: Connection, bundle: PreKeyBundle, claimId: Uint8Array | undefined): void {
    const device = `${bundle.userId}/${bundle.deviceId}`;
    const requester = `${connection.address.userId}/${connection.address.deviceId}`;
    const taker = claimId === undefined ? `${++this.#number}` : `${requester} ${claimId.toHex()}`;
    if (claimId !== undefined) this.#judgeClaim(`${taker} ${device}`, bundle, device, connection);
    if (bundle.preKey === null) return;
    const name = `${device}/${bundle.preKey.toHex()}`;
    const takers = this.#takers.get(name) ?? new Set();
    this.#takers.set(name, takers.add(taker));
    const pools = this.#pools.get(name)?.size ?? 0;
    if (pools === 0) this.verdict.broke(`a prekey of ${device} was handed out that nobody uploaded`);
    else if (takers.size > pools) this.verdict.broke(`a prekey of ${device} was handed out twice`);
  }

  /** The same claim gets the same keys, for ten minutes by whichever clock, as long as the installation is the same. */
  #judgeClaim(name: string, bundle: PreKeyBundle, device: string, { process }: Connection): void {
    const claimed: Claimed = {
      preKey: bundle.preKey?.toHex() ?? null,
      identityKey: bundle.identityKey.toHex(),
      epoch: this.installations.current(device)?.epoch ?? null,
      at: this.scheduler.elapsed,
      wall: process.clock.now(),
    };
    const before = this.#claims.get(name);
    if (before === undefined) return void this.#claims.set(name, claimed);
    const { latest } = this.walls.extremes(before.at);
    const isSame = before.epoch === claimed.epoch && before.identityKey === claimed.identityKey;
    if (!isSame || latest - before.wall >= CLAIM_MS - 60_000) return void this.#claims.set(name, claimed);
    if (before.preKey !== claimed.preKey) {
      this.verdict.broke(`a repeated claim on ${device} got another prekey`);
    }
  }
}
