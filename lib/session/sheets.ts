/**
 * Room for bytes that are soon done with, cut from larger pieces: to make a small array costs the engine some ten to
 * thirty times what it costs to cut one off.
 * @module
 */
import type { Allocate } from "../protocol/mod.ts";

const SHEET_BYTES = 32 * 1_024;

/** Makes room; none of a sheet can be given free while something that was cut from it is kept. */
export function createSheets(): Allocate {
  let sheet = new Uint8Array(0);
  let used = 0;
  return (bytes) => {
    if (bytes > SHEET_BYTES / 8) return new Uint8Array(bytes);
    if (used + bytes > sheet.length) {
      sheet = new Uint8Array(SHEET_BYTES);
      used = 0;
    }
    return sheet.subarray(used, used += bytes);
  };
}
