/**
 * What the modules hand to each other. Nothing runs here: these are the words of the server's answers.
 *
 * @typedef {"keep" | "relabel" | "drop" | "unsure"} Verdict
 * @typedef {{verdict: Verdict | null, label: string | null, version: number}} Mine
 * @typedef {{reviewer: string, verdict: Verdict | null, label: string | null}} Other
 * @typedef {{row: number, id: string, given: string | null, suggested: string | null, chance: number | null,
 *   flagged: boolean | null, likely: [string, number][] | null, mine: Mine | null, others: Other[] | null,
 *   disputed: boolean | null}} Row   one photo as the queue tells it; null where a blind review withholds
 * @typedef {{neighbors?: {row: number, given: string | null, similarity: number}[],
 *   duplicates?: {row: number, given: string | null}[],
 *   history?: {reviewer: string, verdict: Verdict | null, label: string | null, kind: string, at: string}[]}} More
 * @typedef {Row & More} Details
 * @typedef {{title: string, run: string, key: string, rows: number, classes: string[], blind: boolean,
 *   audit: unknown, has_neighbors: boolean, has_duplicates: boolean, orders: string[],
 *   reviewer_suggested: string | null, reviewers: string[], warnings: string[], csrf: string}} Review
 * @typedef {{row: number, verdict: Verdict | null, label: string | null}} Act   what a person wants of one row
 * @typedef {Act & {version: number}} Decided
 * @typedef {{id: string, kind: "decide" | "undo" | "redo", body: Object<string, any>, of: string | null}} Letter
 *   one message to the server, kept until it is answered; `of` names the decision that it undoes or redoes
 */
export {};
