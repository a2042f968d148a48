/**
 * The order of Deno KV's keys: by part, first by type (bytes, strings, numbers, booleans), then by value.
 *
 * A key becomes a string with one character a byte, whose own order is that of the keys.
 */

const TYPE = { bytes: "\x01", text: "\x02", number: "\x21", false: "\x26", true: "\x27" } as const;

/** A zero ends a part of any length, so that a part that is the beginning of another comes first. */
const END = "\x00";
const ZERO_WITHIN = "\x00\xff";

/** Text that is the same in UTF-8, and has no zero: most keys. */
const PLAIN = /^[ -~]*$/;

const charactersOfText = (text: string): string =>
  PLAIN.test(text) ? text : characters(new TextEncoder().encode(text));

const characters = (bytes: Uint8Array): string => {
  let text = "";
  for (const byte of bytes) text += byte === 0 ? ZERO_WITHIN : String.fromCharCode(byte);
  return text;
};

const view = new DataView(new ArrayBuffer(8));

function orderOfNumber(value: number): string {
  view.setFloat64(0, value);
  const bits = view.getBigUint64(0);
  // A positive one gets its sign set, a negative one is turned over: then bytes compare as the numbers do.
  view.setBigUint64(0, bits >> 63n === 0n ? bits | (1n << 63n) : BigInt.asUintN(64, ~bits));
  let text = "";
  for (let i = 0; i < 8; i++) text += String.fromCharCode(view.getUint8(i));
  return text;
}

/** The key as a string that sorts as the key does. */
export function orderOf(key: Deno.KvKey): string {
  let text = "";
  for (const part of key) {
    if (part instanceof Uint8Array) text += TYPE.bytes + characters(part) + END;
    else if (typeof part === "string") text += TYPE.text + charactersOfText(part) + END;
    else if (typeof part === "number") text += TYPE.number + orderOfNumber(part);
    else if (typeof part === "boolean") text += part ? TYPE.true : TYPE.false;
    else throw new TypeError(`a ${typeof part} in a key is not modelled`);
  }
  return text;
}

/** Where the entries of a selector begin, and before what they end. */
export function rangeOf(selector: Deno.KvListSelector): { readonly start: string; readonly end: string } {
  const { prefix, start, end } = selector as { prefix?: Deno.KvKey; start?: Deno.KvKey; end?: Deno.KvKey };
  if (prefix === undefined) return { start: orderOf(start ?? []), end: orderOf(end ?? []) };
  const first = orderOf(prefix);
  return {
    // The prefix itself is no entry below it.
    start: start === undefined ? first + "\x00" : orderOf(start),
    end: end === undefined ? first + "\xff" : orderOf(end),
  };
}
