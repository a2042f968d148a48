/**
 * Claims: what a request for prekeys was answered with, so that the same request gets the same answer for ten minutes.
 * @module
 */
import * as v from "valibot";
import type { Address } from "../address.ts";
import type { Database } from "./database.ts";
import { claimKey } from "./keys.ts";
import { bytesField, decodeRecord, encodeRecord } from "./records.ts";
import type { Mutation } from "./writer.ts";

/** How long a claim gets the same answer. */
const CLAIM_MS = 600_000;

/** How much longer the database keeps it: the expiry in the value is what counts. */
const SLACK_MS = 60_000;

/** What one device gives for a bundle. */
export interface TakenBundle {
  readonly registrationId: number;
  readonly identityKey: Uint8Array;
  readonly signedPreKey: Uint8Array;
  /** `null` if none was left. */
  readonly preKey: Uint8Array | null;
}

/** Who claims. */
export interface ClaimOf {
  readonly requester: Address;
  /** 16 bytes, the requester's own. */
  readonly claimId: Uint8Array;
}

const claimFields = v.object({
  until: v.number(),
  epoch: v.string(),
  registrationId: v.number(),
  identityKey: bytesField,
  signedPreKey: bytesField,
  preKey: v.nullable(bytesField),
});

/** What is known of a claim on one device. */
export interface Claimed {
  /** `null` if it is new, too old, or of an installation that is gone. */
  readonly bundle: TakenBundle | null;
  /** The version that this rests on. */
  readonly versionstamp: string | null;
}

/** Reads what a claim got from one installation of a device. */
export async function readClaim(
  database: Database,
  claim: ClaimOf,
  target: Address,
  currentEpoch: string | undefined,
): Promise<Claimed> {
  const key = claimKey(claim.requester, claim.claimId, target);
  const entry = await database.get(key);
  if (entry === null) return { bundle: null, versionstamp: null };
  const { until, epoch, ...bundle } = decodeRecord(claimFields, key, entry.value);
  const counts = epoch === currentEpoch && until > database.clock.now();
  return { bundle: counts ? bundle : null, versionstamp: entry.versionstamp };
}

/** What remembers a claim; it belongs into the commit that takes the key, with a check that it is new. */
export function claimMutation(
  { requester, claimId }: ClaimOf,
  target: Address,
  epoch: string,
  bundle: TakenBundle,
  now: number,
): Mutation {
  const change = encodeRecord({ until: now + CLAIM_MS, epoch, ...bundle });
  return { key: claimKey(requester, claimId, target), change, expireInMs: CLAIM_MS + SLACK_MS };
}
