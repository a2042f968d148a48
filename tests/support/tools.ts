/**
 * Programs that some tests need beside Deno: `.ci/tools` puts them into a folder that is kept.
 *
 * Where one is missing, its tests are reported as ignored, with the reason in their names.
 */

/** The folder, and what is in it. */
const FOLDER = Deno.env.get("MESSAGING_TOOLS") ?? `${Deno.env.get("HOME")}/.cache/messaging-server`;

function isThere(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

/** The program inside the npm package of a Deno, which is named after the platform. */
function inPackage(folder: string): string | null {
  try {
    const platforms = [...Deno.readDirSync(`${folder}/node_modules/@deno`)];
    return platforms.map(({ name }) => `${folder}/node_modules/@deno/${name}/deno`).find(isThere) ?? null;
  } catch {
    return null;
  }
}

/** The KV Connect server, or `null`. The version is that of `.ci/tools`. */
export const DENOKV: string | null = [`${FOLDER}/denokv-0.14.0/bin/denokv`].find(isThere) ?? null;

/** The Deno that Deno Deploy runs, or `null`. */
export const DENO_2_5: string | null = inPackage(`${FOLDER}/deno-2.5.6`);

/** A test that needs a program; ignored where it is missing. */
export function testWith(
  program: string | null,
  what: string,
  name: string,
  test: (program: string) => Promise<void>,
): void {
  Deno.test({
    name: program === null ? `${name} [ignored: no ${what} here, see .ci/tools]` : name,
    ignore: program === null,
    fn: () => test(program ?? ""),
  });
}
