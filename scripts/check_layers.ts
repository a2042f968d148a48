/**
 * Fails if a file imports what its layer may not, if imports go round in a circle, or if nothing reaches a file of
 * `lib/`: `deno run --allow-read --allow-run scripts/check_layers.ts`. Imports of types count like all others.
 * @module
 */

/** Which files of the project each file imports, by their paths from the project's folder. */
export type Graph = ReadonlyMap<string, readonly string[]>;

/** What must reach every file of `lib/`. */
const ROOTS = ["main.ts", "lib/mod.ts", "lib/client/mod.ts"];

/** Which other layers a layer may import. */
const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  server: ["session", "service", "store", "identity", "protocol", "leaves"],
  session: ["service", "protocol", "identity", "leaves"],
  service: ["store", "identity", "leaves"],
  store: ["identity", "leaves"],
  protocol: ["leaves"],
  identity: ["leaves"],
  client: ["protocol"],
  leaves: [],
};

/** Why some edges, which one might well want, are forbidden. */
const REASONS: Readonly<Record<string, string>> = {
  "session>store": "Take it from service, which says what a session may do with storage.",
  "service>protocol": "Use cases speak the values of lib/domain.ts, so that the wire can have two versions.",
  "client>leaves": "Clients run in browsers: take it from protocol, or write it in lib/client/.",
};

/** The layer that a file belongs to; `null` for those that may import anything. */
function layerOf(path: string): string | null {
  if (path === "main.ts" || path === "lib/mod.ts" || !path.startsWith("lib/")) return null;
  const [, layer, file] = path.split("/");
  return file === undefined ? "leaves" : layer ?? null;
}

/** Edges that no layer's rule allows. */
function forbiddenEdges(graph: Graph): string[] {
  const problems: string[] = [];
  for (const [from, imports] of graph) {
    const layer = layerOf(from);
    if (layer === null) continue;
    const allowed = ALLOWED[layer];
    if (allowed === undefined) {
      problems.push(`${from}: "${layer}" is a layer without a rule. Add one to ${import.meta.filename}.`);
      continue;
    }
    for (const to of imports) {
      const target = layerOf(to);
      if (target === layer || (target !== null && allowed.includes(target))) continue;
      const reason = REASONS[`${layer}>${target}`] ?? "Move the code, or hand over what it needs as a value.";
      const rule = `${layer} may import ${[layer, ...allowed].join(", ")}`;
      problems.push(`${from} imports ${to}: ${rule}. ${reason}`);
    }
  }
  return problems;
}

/** Circles: one for each import that leads back to a file on the way to it. */
function circles(graph: Graph): string[] {
  const problems: string[] = [];
  const done = new Set<string>();
  const way: string[] = [];
  const visit = (path: string): void => {
    if (way.includes(path)) {
      const circle = [...way.slice(way.indexOf(path)), path].join(" → ");
      problems.push(`${circle}: imports go round. Move what both need into a file of its own.`);
    } else if (!done.has(path)) {
      way.push(path);
      for (const to of graph.get(path) ?? []) visit(to);
      way.pop();
      done.add(path);
    }
  };
  for (const path of graph.keys()) visit(path);
  return problems;
}

/**
 * Tells all that is wrong.
 *
 * @param graph what the roots reach.
 * @param files every file of `lib/`.
 */
export function checkLayers(graph: Graph, files: readonly string[]): string[] {
  const unused = files.filter((path) => !graph.has(path))
    .map((path) => `${path}: nothing reaches it from ${ROOTS.join(", ")}. Import it or delete it.`);
  return [...forbiddenEdges(graph), ...circles(graph), ...unused];
}

/** The part of the answer of `deno info --json` that is of use here. */
interface Info {
  readonly modules: readonly {
    readonly specifier: string;
    readonly error?: string;
    readonly dependencies?: readonly { readonly code?: Target; readonly type?: Target }[];
  }[];
}

interface Target {
  readonly specifier?: string;
}

/** Reads what the roots reach. */
async function readGraph(root: URL): Promise<Graph> {
  const graph = new Map<string, string[]>();
  const local = (specifier: string | undefined) =>
    specifier?.startsWith(root.href) === true ? [specifier.slice(root.href.length)] : [];
  for (const path of ROOTS) {
    const command = new Deno.Command(Deno.execPath(), { args: ["info", "--json", path], cwd: root });
    const { success, stdout, stderr } = await command.output();
    if (!success) throw new Error(`deno info ${path}: ${new TextDecoder().decode(stderr)}`);
    const { modules }: Info = JSON.parse(new TextDecoder().decode(stdout));
    for (const { specifier, error, dependencies = [] } of modules) {
      if (error !== undefined) throw new Error(`${specifier}: ${error}`);
      const targets = dependencies.flatMap(({ code, type }) => [code?.specifier, type?.specifier]);
      for (const file of local(specifier)) graph.set(file, [...new Set(targets.flatMap(local))]);
    }
  }
  return graph;
}

/** Every TypeScript file under a folder, by its path from the project's folder. */
async function listFiles(root: URL, folder: string): Promise<string[]> {
  const files: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(new URL(folder, root))) {
    if (isDirectory) files.push(...await listFiles(root, `${folder}${name}/`));
    else if (name.endsWith(".ts")) files.push(`${folder}${name}`);
  }
  return files;
}

if (import.meta.main) {
  const root = new URL("../", import.meta.url);
  const problems = checkLayers(await readGraph(root), await listFiles(root, "lib/"));
  for (const problem of problems) console.error(problem);
  if (problems.length > 0) Deno.exit(1);
}
