/** What a run found, for people: the counts and the healthy clients of each fault in one line each, then its own figures. */
import { type Figure, formatFigure, isMet, type Result } from "../bench/report.ts";
import { FAULTS } from "./tally.ts";

const SHORT: Readonly<Record<string, string>> = {
  sent: "sent",
  accepted: "accepted",
  delivered: "delivered",
  ...Object.fromEntries(Object.keys(FAULTS).map((name) => [name, name])),
};

function format(value: number | undefined): string {
  if (value === undefined || !Number.isFinite(value)) return "–";
  return value < 10 && value % 1 !== 0 ? value.toFixed(1) : Math.round(value).toLocaleString("en");
}

/** A table with aligned columns, in Markdown. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const widths = head.map((name, i) => Math.max(name.length, ...rows.map((row) => (row[i] ?? "").length)));
  const line = (row: readonly string[]) => {
    const cells = row.map((cell, i) => i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0));
    return `| ${cells.join(" | ")} |`;
  };
  return [line(head), `| ${widths.map((width) => "-".repeat(width)).join(" | ")} |`, ...rows.map(line)];
}

const valueOf = (figures: readonly Figure[], name: string) =>
  figures.find((figure) => figure.name === name)?.value;

function countTable(results: readonly Result[]): string[] {
  const rows = results.map(({ scenario, figures }) => [
    scenario,
    ...Object.keys(SHORT).map((name) => format(valueOf(figures, name))),
  ]);
  return table(["", ...Object.values(SHORT)], rows);
}

/** The columns of the healthy clients: milliseconds and mebibytes. */
const BESIDE = [
  ["p50 before", "p50 during", "p50 after"],
  ["p99 before", "p99 during", "p99 after", "longest"],
  ["MiB before", "MiB after", "MiB most"],
].flat();

function besideTable(results: readonly Result[]): string[] {
  const rows = results.map(({ scenario, figures, seconds }) => [
    scenario,
    ...BESIDE.map((name) => format(valueOf(figures, name))),
    format(seconds),
  ]);
  return table(["", ...BESIDE, "seconds"], rows);
}

/** The whole report. */
export function formatReport(results: readonly Result[], head: readonly string[]): string {
  const shown = new Set([...Object.keys(SHORT), ...BESIDE]);
  const lines = [...head, "", ...countTable(results), "", ...besideTable(results), ""];
  for (const { scenario, title, figures, notes, failure } of results) {
    lines.push(`${scenario}: ${title}`);
    if (failure !== undefined) lines.push(`  FAILED: ${failure}`);
    lines.push(...figures.filter(({ name }) => !shown.has(name)).map(formatFigure));
    lines.push(...notes.map((note) => `      ${note}`), "");
  }
  const missed = results.flatMap(({ scenario, figures }) =>
    figures.filter((row) => isMet(row) === false).map(({ name, value }) => `  ${scenario}: ${name}: ${value}`)
  );
  const failed = results.filter(({ failure }) => failure !== undefined).map(({ scenario }) =>
    `  ${scenario} failed`
  );
  const wrong = [...failed, ...missed];
  lines.push(...wrong.length === 0 ? ["All is as it should be."] : ["Not as it should be:", ...wrong]);
  return lines.join("\n");
}
