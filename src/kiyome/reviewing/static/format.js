/**
 * Numbers and decisions as text.
 */

/** @import { Classes, Decision, Row } from "./types.js" */

/** A proportion in percent; 0 and 100 only where it is exactly that. @param {number | null | undefined} share */
export function percent(share) {
  if (share === null || share === undefined) return "";
  if (share > 0 && share < 0.01) return "under 1 %";
  if (share < 1 && share > 0.99) return "over 99 %";
  return `${Math.round(100 * share)} %`;
}

/** A probability of a model in percent, never 0 or 100. @param {number} share */
export function probabilityText(share) {
  if (share > 0.995) return "over 99 %";
  return share < 0.005 ? "under 1 %" : percent(share);
}

// Created once: a formatter per number would be the slowest part of a row.
const numbers = new Intl.NumberFormat("en-US");
/** @param {number} number */
export const count = (number) => numbers.format(number);

/** "1 row", "12 rows" @param {number} number */
export const rows = (number) => `${count(number)} ${number === 1 ? "row" : "rows"}`;

/** Whether a photo probably shows none of the classes. @param {Row} row */
export const showsNone = (row) => (row.probability_none ?? 0) > 0.5;

/** Whether a photo has no given label. @param {Row} row */
export const isUnlabeled = (row) => row.split === "unlabeled";

/** A decision as text; null where there is none. @param {Decision | null | undefined} decision */
export function decisionText(decision) {
  if (!decision?.verdict) return null;
  return { keep: "kept", relabel: `now ${decision.label}`, both: "two classes", none_of_these: "none of these", drop: "dropped", unsure: "unsure" }[decision.verdict];
}

/** The remaining time, roughly. @param {number | null | undefined} seconds */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 90) return "about a minute";
  if (seconds < 5400) return `about ${Math.round(seconds / 60)} minutes`;
  if (seconds < 129600) return `about ${Math.round(seconds / 3600)} hours`;
  return `about ${Math.round(seconds / 86400)} days`;
}

/**
 * The classes of a row in the order of their keys: likely ones first, then the rest in the order of the table.
 * @param {Row | null | undefined} row
 * @param {string[]} classes
 * @returns {Classes}
 */
export function classesInOrder(row, classes) {
  const likely = row?.likely ?? [];
  const first = new Set(likely.map(([name]) => name));
  return [...likely, ...classes.filter((name) => !first.has(name)).map((name) => /** @type {[string, null]} */ ([name, null]))];
}
