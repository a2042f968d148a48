/**
 * The base binary of a compiled program: which one, for which platforms, and what to do where it can't be had.
 * @module
 */

/** The version of Deno whose base binary is taken: a program must not differ from what the tests ran on. */
export const BASE_VERSION = "2.9.6";

/** The platforms, as Deno names them. */
export const TARGETS = [
  "x86_64-unknown-linux-gnu",
  "aarch64-unknown-linux-gnu",
  "x86_64-apple-darwin",
  "aarch64-apple-darwin",
] as const;

/** Where a program goes. */
export function outputOf(folder: string, target: string): string {
  return `${folder}/messaging-server-${target}`;
}

/** Why a compilation failed, and what to do, if it was for want of the base binary; `null` for anything else. */
export function explainMissingBase(stderr: string, target: string): string | null {
  if (!/Setting up base binary|denort/i.test(stderr)) return null;
  const url = /https:\/\/[^\s)]+\/denort-[^\s)]+\.zip/.exec(stderr)?.[0] ??
    `https://dl.deno.land/release/v${BASE_VERSION}/denort-${target}.zip`;
  return `the base binary for ${target} is not here, and could not be downloaded.\n` +
    `  Get ${url} on a machine that reaches it, unzip it, and say where it is:\n` +
    `  DENORT_BIN=/path/to/denort deno task compile --target ${target}`;
}
