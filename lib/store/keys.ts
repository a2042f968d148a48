/**
 * Every key of the database. The schema, with what each value holds, is in `README.md` beside this file.
 * @module
 */
import type { Address } from "../address.ts";

/** Which version of the schema the database has. */
export const schemaKey: Deno.KvKey = ["schema"];

/** Up to when ids are reserved, KvU64 of milliseconds. */
export const clockKey: Deno.KvKey = ["clock"];

/** The secret that signs tokens, if none is set. */
export const secretKey: Deno.KvKey = ["secret"];

/** The prefix of all device records. */
export const devicePrefix: Deno.KvKey = ["device"];

/** The record of one device. */
export const deviceKey = ({ userId, deviceId }: Address): Deno.KvKey => ["device", userId, deviceId];

/** The list of all devices of a user. */
export const deviceListKey = (userId: string): Deno.KvKey => ["devices", userId];

/** The prefix of the one-time prekeys of one installation. */
export const preKeyPrefix = (
  a: Address,
  epoch: string,
): Deno.KvKey => ["prekey", a.userId, a.deviceId, epoch];

/** One one-time prekey: the n-th that was uploaded. */
export const preKeyKey = (a: Address, epoch: string, n: number): Deno.KvKey => [...preKeyPrefix(a, epoch), n];

/** How many one-time prekeys an installation has, KvU64. */
export const poolKey = (a: Address, epoch: string): Deno.KvKey => ["pool", a.userId, a.deviceId, epoch];

/** The bundle that a claim was answered with, for one device. */
export const claimKey = (requester: Address, claimId: Uint8Array, target: Address): Deno.KvKey => [
  "claim",
  requester.userId,
  requester.deviceId,
  claimId,
  target.userId,
  target.deviceId,
];

/** The prefix of the prekeys of one installation that were handed out. */
export const usedPrefix = (a: Address, epoch: string): Deno.KvKey => ["used", a.userId, a.deviceId, epoch];

/** A prekey that was handed out, by its digest in hexadecimal. */
export const usedKey = (a: Address, epoch: string, digest: string): Deno.KvKey => [
  ...usedPrefix(a, epoch),
  digest,
];

/** The prefix of the mailbox of one installation. */
export const inboxPrefix = (a: Address, epoch: string): Deno.KvKey => ["inbox", a.userId, a.deviceId, epoch];

/** One message in a mailbox. */
export const inboxKey = (a: Address, epoch: string, id: Uint8Array): Deno.KvKey => [
  "inbox",
  a.userId,
  a.deviceId,
  epoch,
  id,
];

/** Which message of a mailbox is counted as one that its client does not deal with: the first row, before every id. */
export const attemptsKey = (a: Address, epoch: string): Deno.KvKey => [
  ...inboxPrefix(a, epoch),
  new Uint8Array(),
];

/** The prefix of what was moved behind a mailbox: it comes after every id. */
export const asidePrefix = (a: Address, epoch: string): Deno.KvKey => [...inboxPrefix(a, epoch), "aside"];

/** One message that was moved behind; see `set_aside.ts` for why its id is there backwards. */
export const asideKey = (a: Address, epoch: string, id: Uint8Array): Deno.KvKey => [
  ...asidePrefix(a, epoch),
  id.toReversed(),
];

/** The prefix of the counts of one mailbox. */
export const waitingPrefix = (
  a: Address,
  epoch: string,
): Deno.KvKey => ["waiting", a.userId, a.deviceId, epoch];

/** How much waits in a mailbox that expires in one stretch of time; see `waiting.ts`. */
export const waitingKey = (a: Address, epoch: string, bucket: number): Deno.KvKey => [
  "waiting",
  a.userId,
  a.deviceId,
  epoch,
  bucket,
];

/** How many messages the mailbox lost, and nobody was told of yet; see `waiting.ts`. */
export const lostKey = (a: Address, epoch: string): Deno.KvKey => ["lost", a.userId, a.deviceId, epoch];

/** The prefix of all accepted sends. */
export const acceptedPrefix: Deno.KvKey = ["accepted"];

/** A send that was accepted in one stretch of time; see `accepted.ts`. */
export const acceptedKey = (bucket: number, send: Uint8Array): Deno.KvKey => ["accepted", bucket, send];

/** The prefix of the rows of one sender's sends to one recipient, accepted in one stretch of time. */
export const acceptedPairPrefix = (
  bucket: number,
  pair: Uint8Array,
): Deno.KvKey => ["accepted", bucket, pair];

/** A row of such sends. */
export const acceptedRowKey = (bucket: number, pair: Uint8Array, id: Uint8Array): Deno.KvKey => [
  ...acceptedPairPrefix(bucket, pair),
  id,
];

/** Rung when something may wait for the address. */
export const wakeKey = (a: Address): Deno.KvKey => ["wake", a.userId, a.deviceId];

/** Rung when the one-time prekeys of the address run low. */
export const lowKey = (a: Address): Deno.KvKey => ["low", a.userId, a.deviceId];

/** Which connection has the address. */
export const sessionKey = (a: Address): Deno.KvKey => ["session", a.userId, a.deviceId];

/** What one lane of one writer committed last; see `lane_token.ts`. */
export const laneKey = (writer: string, lane: number): Deno.KvKey => ["lane", writer, lane];

/** The prefix of all that waits to be deleted. */
export const trashPrefix: Deno.KvKey = ["trash"];

/** An installation whose keys and messages wait to be deleted. */
export const trashKey = (a: Address, epoch: string): Deno.KvKey => ["trash", a.userId, a.deviceId, epoch];
