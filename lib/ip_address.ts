/**
 * Addresses of the network: parsed, compared with blocks, and gathered into what one subscriber has.
 *
 * Every address is a number of 128 bits, an IPv4 address its form mapped into IPv6: so both are compared alike.
 * @module
 */

/** An address as a number; see the module. */
export type IpAddress = bigint;

/** All addresses that begin with the same bits. */
export interface IpBlock {
  readonly base: IpAddress;
  /** How many of the 128 bits are the same. */
  readonly bits: number;
}

const BITS = 128;
const BITS_V4 = 32;
const MAPPED = 0xffffn;

/** What an IPv6 subscriber has, at least: whoever is limited by a single address of it takes the next. */
const SUBSCRIBER_BITS_V6 = 64;

function parseV4(text: string): bigint | null {
  const parts = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text)?.slice(1);
  if (parts === undefined || parts.some((part) => Number(part) > 255 || /^0\d/.test(part))) return null;
  return parts.reduce((sum, part) => (sum << 8n) | BigInt(part), 0n);
}

/** The groups of one side of `::`; `null` if one of them is malformed. */
function groupsOf(side: string): bigint[] | null {
  if (side === "") return [];
  const groups: bigint[] = [];
  const parts = side.split(":");
  for (const [i, part] of parts.entries()) {
    const v4 = i === parts.length - 1 && part.includes(".") ? parseV4(part) : null;
    if (v4 !== null) groups.push(v4 >> 16n, v4 & 0xffffn);
    else if (/^[0-9a-f]{1,4}$/i.test(part)) groups.push(BigInt(`0x${part}`));
    else return null;
  }
  return groups;
}

/**
 * Reads an address: IPv4 in decimal, IPv6 in any of its forms, with or without a zone.
 *
 * @returns `null` if the text is none.
 */
export function parseIpAddress(text: string): IpAddress | null {
  const v4 = parseV4(text);
  if (v4 !== null) return (MAPPED << 32n) | v4;
  const [address = "", zone, ...rest] = text.split("%");
  if (!address.includes(":") || zone === "" || rest.length > 0) return null;
  const [left = "", right, ...more] = address.split("::");
  if (more.length > 0 || (right !== undefined && left.includes("."))) return null;
  const [head, tail] = [groupsOf(left), groupsOf(right ?? "")];
  if (head === null || tail === null) return null;
  const missing = 8 - head.length - tail.length;
  if (right === undefined ? missing !== 0 : missing < 1) return null;
  return [...head, ...Array<bigint>(missing).fill(0n), ...tail].reduce((sum, group) => (sum << 16n) | group);
}

/** Whether an address is one of IPv4. */
function isV4(address: IpAddress): boolean {
  return address >> 32n === MAPPED;
}

/**
 * Reads an address, or a block such as `10.0.0.0/8`.
 *
 * @returns `null` if the text is neither, if the block holds every address, or if bits behind its prefix are set: then
 * something else was meant.
 */
export function parseIpBlock(text: string): IpBlock | null {
  const [written = "", prefix, ...more] = text.split("/");
  const base = parseIpAddress(written);
  if (base === null || more.length > 0) return null;
  if (prefix === undefined) return { base, bits: BITS };
  const before = isV4(base) && !written.includes(":") ? BITS - BITS_V4 : 0;
  if (!/^[1-9]\d{0,2}$/.test(prefix) || Number(prefix) > BITS - before) return null;
  const bits = before + Number(prefix);
  return BigInt.asUintN(BITS - bits, base) === 0n ? { base, bits } : null;
}

/** Whether an address is in a block. */
export function isInBlock(address: IpAddress, { base, bits }: IpBlock): boolean {
  const rest = BigInt(BITS - bits);
  return address >> rest === base >> rest;
}

const LOOPBACK: readonly IpBlock[] = ["127.0.0.0/8", "::1"].flatMap((text) => parseIpBlock(text) ?? []);

/** Whether an address is this machine. */
export function isLoopbackAddress(address: IpAddress): boolean {
  return LOOPBACK.some((block) => isInBlock(address, block));
}

/** One string for all addresses of a subscriber: an IPv4 address, or the /64 of an IPv6 address. */
export function subscriberOf(address: IpAddress): string {
  return isV4(address) ? address.toString(16) : `${(address >> BigInt(SUBSCRIBER_BITS_V6)).toString(16)}/64`;
}
