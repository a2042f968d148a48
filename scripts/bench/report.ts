/**
 * What a run found: figures with their rounds and targets, as a table for people or one object for programs.
 * @module
 */
import type { Processors } from "./process_figures.ts";
import { median } from "./statistics.ts";

/** What a figure ought to be. */
export interface Goal {
  readonly is: "≥" | "≤";
  readonly value: number;
}

/** One figure of a scenario. */
export interface Figure {
  readonly name: string;
  readonly unit: string;
  /** The median of the rounds. */
  readonly value: number;
  readonly rounds: readonly number[];
  readonly goal?: Goal;
}

/** What a scenario found. */
export interface Findings {
  readonly figures: readonly Figure[];
  /** What one must know to read them. */
  readonly notes: readonly string[];
}

/** A scenario that was carried out. */
export interface Result extends Findings {
  readonly scenario: string;
  readonly title: string;
  readonly seconds: number;
  /** Why there are no figures. */
  readonly failure?: string;
}

/** Makes a figure of its rounds. */
export function figure(name: string, unit: string, rounds: readonly number[], goal?: Goal): Figure {
  return { name, unit, value: median(rounds), rounds, ...(goal === undefined ? {} : { goal }) };
}

/** At least. */
export const atLeast = (value: number): Goal => ({ is: "≥", value });

/** At most. */
export const atMost = (value: number): Goal => ({ is: "≤", value });

/** Whether a figure is what it ought to be; `null` if it need not be anything. */
export function isMet({ value, goal }: Figure): boolean | null {
  if (goal === undefined) return null;
  return goal.is === "≥" ? value >= goal.value : value <= goal.value;
}

/** Says how busy the load was: near 1 it, and not the target, is what was measured. */
export function loadNote(what: string, measured: readonly Processors[]): string {
  const target = median(measured.map(({ target }) => target));
  const load = median(measured.map(({ load }) => load));
  const warning = load > 0.9 ? "  THE LOAD IS THE BOTTLENECK: the ratio says little" : "";
  return `${what}: ${target.toFixed(2)} processors busy, the load ${load.toFixed(2)} of its one${warning}`;
}

function format(value: number): string {
  if (!Number.isFinite(value)) return "–";
  if (Math.abs(value) >= 1_000) return Math.round(value).toLocaleString("en");
  return value.toFixed(Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2);
}

/** One line of the table. */
export function formatFigure(figure: Figure): string {
  const { name, unit, value, rounds, goal } = figure;
  const met = isMet(figure);
  const target = goal === undefined ? "" : `${goal.is} ${format(goal.value)}`;
  const mark = met === null ? "" : met ? "met" : "MISSED";
  const all = rounds.length > 1 ? `   (${rounds.map(format).join("  ")})` : "";
  return `  ${name.padEnd(58)} ${format(value).padStart(9)} ${unit.padEnd(11)} ${target.padEnd(8)} ${
    mark.padEnd(6)
  }${all}`.trimEnd();
}

/** The table for people. */
export function formatTable(results: readonly Result[], head: readonly string[]): string {
  const lines = [...head, ""];
  for (const { scenario, title, figures, notes, seconds, failure } of results) {
    lines.push(`${scenario}  ${title}  [${seconds.toFixed(0)} s]`);
    if (failure !== undefined) lines.push(`  FAILED: ${failure}`);
    for (const row of figures) lines.push(formatFigure(row));
    for (const note of notes) lines.push(`      ${note}`);
    lines.push("");
  }
  const missed = results.flatMap(({ scenario, figures }) =>
    figures.filter((row) => isMet(row) === false).map(({ name }) => `${scenario} ${name}`)
  );
  const failed = results.filter(({ failure }) => failure !== undefined).map(({ scenario }) => scenario);
  if (failed.length > 0) lines.push(`Failed: ${failed.join(", ")}.`);
  if (missed.length > 0) lines.push(`Missed:`, ...missed.map((name) => `  ${name}`));
  if (failed.length + missed.length === 0) lines.push("All targets are met.");
  return lines.join("\n");
}
