/**
 * Fails on what the formatter and the linter don't see: `deno run --allow-read scripts/check_style.ts`.
 *
 * It goes by lines and indentation, which `deno fmt` keeps, rather than by a parser: short, and exact enough.
 * @module
 */

const FILE_LINES_MAX = 250;
const FUNCTION_LINES_MAX = 70;

/** Names that say nothing about what is in a file. */
const EMPTY_NAMES = /util|helper|manager|misc/i;

/** What begins a function: the keyword, an arrow before a block, or a method. */
const FUNCTION = /\bfunction\b|=> \{$/;
const METHOD =
  /^(?:(?:static|async|private|protected|public|override|get|set|\*) ?)*(?!(?:if|for|while|switch|catch|return|super)\b)[#\w$]+(?:<.*>)?\(/;

/** Comments, strings, templates, and regular expressions where one can begin. */
const COMMENT_OR_TEXT =
  /\/\*[\s\S]*?\*\/|\/\/.*|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`(?:[^`\\]|\\[\s\S])*`|(?<=[=(,:!&|?]\s*)\/(?:[^/\\\n[]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\//g;

/** The code without comments and, where `texts` says so, without the contents of strings; lines stay where they are. */
function strip(code: string, texts: boolean): string {
  return code.replaceAll(COMMENT_OR_TEXT, (found) => {
    if (!/^\/[/*]/.test(found) && !texts) return found;
    return found.replaceAll(/[^\n]/g, " ");
  });
}

const indentOf = (line: string) => line.length - line.trimStart().length;

/** The functions of a file: where each begins, counted from 1, and how many lines it has. */
export function functionsOf(code: string): { line: number; lines: number }[] {
  const lines = strip(code, true).split("\n").map((line) => line.trimEnd());
  return lines.flatMap((line, start) => {
    if (!FUNCTION.test(line) && !METHOD.test(line.trim())) return [];
    if (!/[{(\[=>]$/.test(line)) return [];
    // It goes on to the first line of the same indentation that closes it; `}> {` closes the head of one only.
    const rest = lines.slice(start + 1);
    const length = rest.findIndex((next) =>
      indentOf(next) === indentOf(line) && /^[})\]]/.test(next.trim()) && !/[{(]$/.test(next)
    );
    if (!rest[length]?.trim().startsWith("}")) return []; // a call, or the type of a method
    return [{ line: start + 1, lines: length + 2 }];
  });
}

/** What is wrong with a file. */
export function checkFile(path: string, code: string): string[] {
  const problems: string[] = [];
  const lines = code.trimEnd().split("\n").length;
  if (lines > FILE_LINES_MAX) problems.push(`${lines} lines, at most ${FILE_LINES_MAX}: split it by concept`);
  for (const { line, lines } of functionsOf(code)) {
    if (lines <= FUNCTION_LINES_MAX) continue;
    problems.push(`${line}: a function of ${lines} lines, at most ${FUNCTION_LINES_MAX}: name its parts`);
  }
  if (!code.startsWith("/**")) problems.push("does not open with /** and a sentence on what it holds");
  const name = path.split("/").at(-1) ?? path;
  if (EMPTY_NAMES.test(name)) problems.push("the name says nothing: name the concept that is in it");
  strip(code, false).split("\n").forEach((line, i) => {
    if (/\b(?:from|import)\b\s*\(?\s*["'](?:jsr:|https?:)/.test(line)) {
      problems.push(`${i + 1}: imports from the network; take a package from npm, pinned in deno.json`);
    }
  });
  strip(code, true).split("\n").forEach((line, i) => {
    if (path.startsWith("lib/") && /(?:[:<,|&]|\bas)\s*any\b/.test(line)) {
      problems.push(`${i + 1}: any; say which type it is, or unknown`);
    }
  });
  return problems.map((problem) => `${path}: ${problem}`);
}

/** What is wrong with the imports of `deno.json`. */
export function checkImports(imports: Readonly<Record<string, string>>): string[] {
  return Object.entries(imports).filter(([, target]) => !/^npm:(@[^/]+\/)?[^@/]+@[0-9]/.test(target))
    .map(([name, target]) =>
      `deno.json: ${name} is ${target}; only npm: with an exact version, no jsr: or URL`
    );
}

/** Every TypeScript file under a folder, by its path from the project's folder. */
async function listFiles(root: URL, folder: string): Promise<string[]> {
  const files: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(new URL(folder, root))) {
    if (isDirectory) files.push(...await listFiles(root, `${folder}${name}/`));
    else if (name.endsWith(".ts")) files.push(`${folder}${name}`);
  }
  return files.sort();
}

if (import.meta.main) {
  const root = new URL("../", import.meta.url);
  const { imports }: { imports: Record<string, string> } = JSON.parse(
    await Deno.readTextFile(new URL("deno.json", root)),
  );
  const problems = checkImports(imports);
  for (const path of ["main.ts", ...await listFiles(root, "lib/"), ...await listFiles(root, "scripts/")]) {
    problems.push(...checkFile(path, await Deno.readTextFile(new URL(path, root))));
  }
  for (const problem of problems) console.error(problem);
  if (problems.length > 0) Deno.exit(1);
}
