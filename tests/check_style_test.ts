/**
 * Tests of the check of style: each rule finds what it is there for, and counts right.
 * @module
 */
import assert from "node:assert/strict";
import { checkFile, checkImports, functionsOf } from "../scripts/check_style.ts";

const HEAD = "/** A file. */\n";
const lines = (count: number, line: string) => Array.from({ length: count }, () => line).join("\n");

/** Each kind of function, with its body left out: its head, and how it is closed. */
const FUNCTIONS: Readonly<Record<string, readonly [head: string, end: string]>> = {
  "a function": ["function f() {", "}"],
  "an exported async function": ["export async function f(a: number): Promise<void> {", "}"],
  "a generator": ["function* f() {", "}"],
  "an arrow function": ["const f = (a: number) => {", "};"],
  "a callback": ['Deno.test("name", async () => {', "});"],
  "a head of several lines": ["export function f(\n  a: number,\n): void {", "}"],
  "a head that returns an object type": ["function f(): Promise<{\n  a: number;\n}> {", "}"],
  "a method": ["  async f(a: number): Promise<void> {", "  }"],
  "a private method": ["  #f(): void {", "  }"],
  "a generic method": ["  f<T, U>(a: T): U {", "  }"],
  "a constructor": ["  constructor(private readonly a: number) {", "  }"],
  "a getter": ["  get f(): number {", "  }"],
};

for (const [what, [head, end]] of Object.entries(FUNCTIONS)) {
  Deno.test(`functionsOf() counts the lines of ${what}`, () => {
    const body = lines(5, "      if (a) {\n        // }\n        f(`}`);\n      } else {\n      }");
    const found = functionsOf(`${HEAD}\n${head}\n${body}\n${end}\nconst rest = 1;\n`);
    assert.deepEqual(found[0], { line: 3, lines: head.split("\n").length + 25 + 1 });
  });
}

Deno.test("functionsOf() takes calls, loops and types for no functions", () => {
  const code = `${HEAD}
for (const a of b) {
}
call(
  a,
);
const table = {
  a: 1,
};
interface A {
  f(
    a: number,
  ): void;
}
`;
  assert.deepEqual(functionsOf(code), []);
});

const CLEAN = `${HEAD}import * as v from "valibot";\nexport const many = "any: any";\n`;

const BAD: readonly (readonly [what: string, path: string, code: string, problem: RegExp])[] = [
  ["more than 250 lines", "lib/a.ts", HEAD + lines(250, "a();"), /251 lines, at most 250/],
  [
    "a function of more than 70 lines",
    "lib/a.ts",
    `${HEAD}function f() {\n${lines(69, "  a();")}\n}\n`,
    /2: a function of 71 lines/,
  ],
  ["no sentence at its head", "lib/a.ts", 'import "b";\n', /open with/],
  ["a name that says nothing", "lib/store/kv_helpers.ts", CLEAN, /the name says nothing/],
  ["another one", "scripts/Util.ts", CLEAN, /the name says nothing/],
  ["an import of jsr", "main.ts", `${HEAD}import { a } from "jsr:@std/a";\n`, /2: imports from the network/],
  ["an import of a URL", "lib/a.ts", `${HEAD}export * from "https://deno.land/x/a.ts";\n`, /2: imports from/],
  ["a late import of a URL", "lib/a.ts", `${HEAD}await import("http://a/b.ts");\n`, /2: imports from/],
  ["any as a type", "lib/a.ts", `${HEAD}let a: any;\n`, /2: any;/],
  ["any as an argument of a type", "lib/a.ts", `${HEAD}let a: Map<string, any>;\n`, /2: any;/],
  ["a cast to any", "lib/a.ts", `${HEAD}f(a as any);\n`, /2: any;/],
];

for (const [what, path, code, problem] of BAD) {
  Deno.test(`checkFile() finds ${what}`, () => {
    const problems = checkFile(path, code);
    assert.equal(problems.length, 1, problems.join("\n"));
    assert.match(problems[0] ?? "", problem);
    assert.ok(problems[0]?.startsWith(`${path}: `));
  });
}

Deno.test("checkFile() passes what keeps the rules, up to the last line", () => {
  assert.deepEqual(checkFile("lib/a.ts", CLEAN), []);
  assert.deepEqual(checkFile("lib/a.ts", HEAD + lines(249, "a();") + "\n"), []);
  assert.deepEqual(checkFile("lib/a.ts", `${HEAD}function f() {\n${lines(68, "  a();")}\n}\n`), []);
  const comment =
    `${HEAD}// import from "jsr:x", any: any\nconst company: Many = f(many, /"/, anyone);\nlet b: number;\n`;
  assert.deepEqual(checkFile("lib/a.ts", comment), []);
});

Deno.test("checkImports() takes packages of npm with an exact version, and nothing else", () => {
  assert.deepEqual(checkImports({ a: "npm:a@1.2.3", "@b/c": "npm:@b/c@0.1.0-beta.1" }), []);
  const bad = {
    a: "jsr:@std/a@1",
    b: "https://deno.land/x/b.ts",
    c: "npm:c",
    d: "npm:d@^1.2.3",
    e: "npm:@e/f",
  };
  assert.equal(checkImports(bad).length, 5);
});
