/**
 * Counts of what waits in a mailbox: messages and bytes in one KvU64, so that one `sum` counts both.
 *
 * They are kept by stretches of six hours of expiry. What is in a stretch that is over has expired: if it is still
 * counted, nobody got it. So expiry needs no looking, and is never silent.
 * @module
 */
import type { Address } from "../address.ts";
import { lostKey, waitingKey } from "./keys.ts";

/** A change of a count, written in the same commit as what it counts. */
export interface Tally {
  readonly key: Deno.KvKey;
  /** The key as a string: what is counted under the same name is added up. */
  readonly name: string;
  readonly messages: number;
  readonly bytes: number;
}

/** Nothing is counted. */
export const NO_TALLIES: readonly Tally[] = [];

/** What waits. */
export interface Amount {
  readonly messages: number;
  readonly bytes: number;
}

/** The length of a stretch. */
const BUCKET_MS = 6 * 3_600_000;

/** Bits of the bytes; the messages are above them. */
const BYTES_BITS = 40;

/** The stretch in which a moment lies. */
export function bucketOf(expiresAt: number): number {
  return Math.floor(expiresAt / BUCKET_MS);
}

/** When a stretch begins. */
export function bucketStart(bucket: number): number {
  return bucket * BUCKET_MS;
}

/** When the stretch of a moment is over. */
export function bucketEnd(expiresAt: number): number {
  return bucketStart(bucketOf(expiresAt) + 1);
}

/** Makes what `sum` adds; negative amounts wrap round, which is what subtracts them. */
export function packTally(messages: number, bytes: number): bigint {
  return BigInt.asUintN(64, (BigInt(messages) << BigInt(BYTES_BITS)) + BigInt(bytes));
}

/** Reads a count. One that a crash left below zero is zero. */
export function unpackTally(value: unknown): Amount {
  if (!(value instanceof Deno.KvU64)) return { messages: 0, bytes: 0 };
  const signed = BigInt.asIntN(64, value.value);
  const bytes = BigInt.asIntN(BYTES_BITS, signed);
  return {
    messages: Math.max(0, Number((signed - bytes) >> BigInt(BYTES_BITS))),
    bytes: Math.max(0, Number(bytes)),
  };
}

/** A change of what waits in a stretch. */
export function waitingTally(
  address: Address,
  epoch: string,
  bucket: number,
  messages: number,
  bytes: number,
): Tally {
  const name = `${address.userId}/${address.deviceId}/${epoch}/${bucket}`;
  return { key: waitingKey(address, epoch, bucket), name, messages, bytes };
}

/** A change of what was lost. */
export function lostTally(address: Address, epoch: string, messages: number): Tally {
  const name = `${address.userId}/${address.deviceId}/${epoch}/lost`;
  return { key: lostKey(address, epoch), name, messages, bytes: 0 };
}
