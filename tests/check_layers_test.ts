/**
 * Tests of the check of layers: each rule finds what it is there for, and the project as it is passes.
 * @module
 */
import assert from "node:assert/strict";
import { checkLayers } from "../scripts/check_layers.ts";

/** What is wrong with these imports, all files being reached. */
function problemsOf(imports: Readonly<Record<string, readonly string[]>>): string[] {
  const graph = new Map(Object.entries(imports));
  for (const path of Object.values(imports).flat()) if (!graph.has(path)) graph.set(path, []);
  return checkLayers(graph, [...graph.keys()]);
}

const FORBIDDEN: readonly (readonly [from: string, to: string, words: RegExp])[] = [
  ["lib/session/a.ts", "lib/store/b.ts", /session may import .*service.*Take it from service/],
  ["lib/service/a.ts", "lib/protocol/b.ts", /service may import .*store.*lib\/domain\.ts/],
  ["lib/service/a.ts", "lib/session/b.ts", /service may import/],
  ["lib/store/a.ts", "lib/service/b.ts", /store may import/],
  ["lib/protocol/a.ts", "lib/identity/b.ts", /protocol may import/],
  ["lib/identity/a.ts", "lib/store/b.ts", /identity may import/],
  ["lib/client/a.ts", "lib/errors.ts", /client may import client, protocol\..*browsers/],
  ["lib/client/a.ts", "lib/session/b.ts", /client may import/],
  ["lib/server/a.ts", "lib/client/b.ts", /server may import/],
  ["lib/config.ts", "lib/store/b.ts", /leaves may import leaves/],
  ["lib/config.ts", "lib/mod.ts", /leaves may import leaves/],
  ["lib/server/a.ts", "lib/mod.ts", /server may import/],
  ["lib/queue/a.ts", "lib/errors.ts", /"queue" is a layer without a rule/],
];

for (const [from, to, words] of FORBIDDEN) {
  Deno.test(`checkLayers() forbids ${from} to import ${to}`, () => {
    const problems = problemsOf({ [from]: [to] });
    assert.equal(problems.length, 1, problems.join("\n"));
    assert.match(problems[0] ?? "", words);
    assert.ok(problems[0]?.startsWith(from));
  });
}

Deno.test("checkLayers() allows what lies below, one's own layer, and leaves", () => {
  const imports = {
    "main.ts": ["lib/mod.ts", "lib/store/a.ts", "lib/client/a.ts"],
    "lib/mod.ts": ["lib/server/a.ts", "lib/config.ts"],
    "lib/server/a.ts": [
      "lib/session/a.ts",
      "lib/service/a.ts",
      "lib/store/a.ts",
      "lib/identity/a.ts",
      "lib/protocol/a.ts",
    ],
    "lib/session/a.ts": ["lib/session/b.ts", "lib/service/a.ts", "lib/protocol/a.ts", "lib/identity/a.ts"],
    "lib/service/a.ts": ["lib/store/a.ts", "lib/identity/a.ts", "lib/errors.ts"],
    "lib/store/a.ts": ["lib/identity/a.ts", "lib/errors.ts"],
    "lib/protocol/a.ts": ["lib/errors.ts"],
    "lib/client/a.ts": ["lib/client/b.ts", "lib/protocol/a.ts"],
    "lib/config.ts": ["lib/errors.ts"],
  };
  assert.deepEqual(problemsOf(imports), []);
});

Deno.test("checkLayers() finds imports that go round, and names the whole circle", () => {
  const [problem, ...others] = problemsOf({
    "lib/a.ts": ["lib/b.ts", "lib/d.ts"],
    "lib/b.ts": ["lib/c.ts"],
    "lib/c.ts": ["lib/a.ts", "lib/d.ts"],
  });
  assert.match(problem ?? "", /^lib\/a\.ts → lib\/b\.ts → lib\/c\.ts → lib\/a\.ts: imports go round/);
  assert.deepEqual(others, [], "two ways to one file are no circle");
});

Deno.test("checkLayers() finds a file that nothing reaches", () => {
  const problems = checkLayers(new Map([["main.ts", ["lib/a.ts"]], ["lib/a.ts", []]]), [
    "lib/a.ts",
    "lib/b.ts",
  ]);
  assert.equal(problems.length, 1);
  assert.match(problems[0] ?? "", /^lib\/b\.ts: nothing reaches it from main\.ts/);
});

Deno.test("check_layers.ts reads the imports of the project, and passes it", async () => {
  const script = new URL("../scripts/check_layers.ts", import.meta.url).pathname;
  const args = ["run", "--quiet", "--allow-read", "--allow-run", script];
  const { code, stderr } = await new Deno.Command(Deno.execPath(), { args }).output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
});
