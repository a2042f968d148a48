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

/** The prefix of the prekeys of one installation that were handed out. */
export const usedPrefix = (a: Address, epoch: string): Deno.KvKey => ["used", a.userId, a.deviceId, epoch];

/** A prekey that was handed out, by its digest. */
export const usedKey = (a: Address, epoch: string, digest: Uint8Array): Deno.KvKey => [
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

/** Rung when something may wait for the address. */
export const wakeKey = (a: Address): Deno.KvKey => ["wake", a.userId, a.deviceId];

/** Rung when the one-time prekeys of the address run low. */
export const lowKey = (a: Address): Deno.KvKey => ["low", a.userId, a.deviceId];

/** Which connection has the address. */
export const sessionKey = (a: Address): Deno.KvKey => ["session", a.userId, a.deviceId];

/** The prefix of all that waits to be deleted. */
export const trashPrefix: Deno.KvKey = ["trash"];

/** An installation whose keys and messages wait to be deleted. */
export const trashKey = (a: Address, epoch: string): Deno.KvKey => ["trash", a.userId, a.deviceId, epoch];
