/**
 * Decisions: shown at once, sent in order, corrected by the server's answers.
 *
 * decide ── shown ── pending requests ── server ── shown as written
 *                                           └── 409: a person chooses between both decisions
 */
import * as api from "./api.js";
import { makePendingRequests, newKey } from "./pending.js";
import { decisionText, isUnlabeled, rows as rowsText, showsNone } from "./format.js";

/**
 * @import { Act, Button, RowDecision, PendingRequest, List, Mine, Review, Row, State, StateStore, Stopped, Choice } from "./types.js"
 */

const MOST_AT_ONCE = 5000;
const LONGEST_LOOK = 3600000;

/**
 * @typedef {{key: string, before: {row: number, mine: Mine | null}[], after: RowDecision[]}} Batch   the decisions of one undo
 * @typedef {{review: Review, store: StateStore, list: List, current: () => Row | undefined, shownAt: () => number,
 *   move: (index: number, options?: {quiet?: boolean}) => void, showAlone: (row: number) => void,
 *   announce: (text: string) => void, notify: (text: string, button?: Button) => void, rowText: () => string,
 *   endOfList: () => void, selectedRows: () => Row[], progressSoon: () => void}} PageParts   functions of the session
 */

/** @param {PageParts} page */
export function makeDecisions(page) {
  const { review, store, list } = page;
  const { get, set } = store;
  const pendingRequests = makePendingRequests({
    storage: localStorage, prefix: `kiyome-unsent:${review.key}:`,
    deliver, onAnswer: answered, onChange: pendingChanged,
  });
  /** @type {Batch[]} */
  let done = [];
  /** @type {Batch[]} */
  let undone = [];

  /** @param {number} row */
  const pending = (row) =>
    pendingRequests.requests.some(({ kind, body }) => kind === "decide" && body.entries?.some((entry) => entry.row === row));

  /** Show decisions now, and send them. @param {Act[]} acts */
  function decide(acts) {
    for (let start = 0; start < acts.length; start += MOST_AT_ONCE) write(acts.slice(start, start + MOST_AT_ONCE));
  }

  /** @param {Act[]} acts */
  function write(acts) {
    const { me, address, position } = get();
    const key = newKey();
    const entries = acts.map(({ row, verdict, label }) => ({ row, version: versionOf(row), verdict, label }));
    const before = acts.map(({ row }) => ({ row, mine: list.get(row)?.mine ?? null }));
    done.push({ key, before, after: entries });
    undone = [];
    showDecisions(entries.map((entry) => ({ ...entry, version: entry.version + 1 })));
    const milliseconds = address.view === "one" ? Math.min(LONGEST_LOOK, Math.round(performance.now() - page.shownAt())) : null;
    const seen = { order: address.order ?? review.orders[0], view: address.view, blind: review.blind, position };
    pendingRequests.add("decide", { key, reviewer: me, entries, milliseconds, seen });
  }

  /** @param {number} row */
  const versionOf = (row) => list.get(row)?.mine?.version ?? 0;

  /** @param {RowDecision[]} decided */
  function showDecisions(decided) {
    list.update(decided.map(({ row, verdict, label, version }) => [row, { mine: { verdict, label, version } }]));
    const { solo } = get();
    if (solo) set({ solo: list.get(solo.row) });
  }

  /** Decide the current photo and go to the next one. @param {Act} act */
  function decideCurrent(act) {
    decide([act]);
    const text = decisionText(act) ?? "";
    if (get().solo) page.announce(text);
    else if (get().position >= list.total - 1) { page.announce(text); page.endOfList(); }
    else { page.move(get().position + 1, { quiet: true }); page.announce(`${text}. ${page.rowText()}`); }
  }

  /** The reason why a row cannot be decided so, or null. @param {Row | undefined} row @param {Choice} choice */
  function reasonAgainst(row, choice) {
    if (!row) return "The photo has not loaded yet.";
    if (review.blind && choice === "keep") return `${isUnlabeled(row) ? "No label was given" : "The given label is hidden"}: choose the class that you see.`;
    if (choice === "accept" && !row.suggested) return review.blind
      ? "A blind review suggests no class: choose the class that you see." : "There is no suggestion for this photo.";
    return null;
  }

  /**
   * The decision of a key or button about a row; the given class means keep. What is likely may be none.
   * @param {Row} row
   * @param {Choice} choice
   * @param {string | null} label
   * @returns {Act}
   */
  function decisionOf(row, choice, label) {
    if (choice === "accept" && showsNone(row)) return { row: row.row, verdict: "none_of_these", label: null };
    if (choice !== "accept" && choice !== "class") return { row: row.row, verdict: choice, label: null };
    const chosen = choice === "accept" ? row.suggested : label;
    const kept = chosen === row.given && !review.blind;
    return { row: row.row, verdict: kept ? "keep" : "relabel", label: kept ? null : chosen };
  }

  /**
   * Decide the current photo or, in the grid, all selected ones.
   * @param {Choice} choice
   * @param {string | null} [label]
   */
  function act(choice, label = null) {
    const inGrid = get().address.view === "grid";
    const many = inGrid ? page.selectedRows() : [];
    const targets = many.length ? many : [page.current()];
    const reason = targets.map((row) => reasonAgainst(row, choice)).find(Boolean);
    if (reason) return page.notify(reason);
    const acts = targets.flatMap((row) => (row ? decisionOf(row, choice, label) : []));
    if (!inGrid) return decideCurrent(acts[0]);
    decide(acts);
    set({ selected: new Set() });
    page.notify(`${rowsText(acts.length)}: ${bulkText(choice, label)}.`, { label: "Undo", act: undo });
  }

  /** @param {Choice} choice @param {string | null} label */
  const bulkText = (choice, label) =>
    choice === "accept" ? "likely class accepted" : decisionText({ verdict: choice === "class" ? "relabel" : choice, label });

  function undo() {
    const batch = done.pop();
    if (batch) {
      undone.push(batch);
      showDecisions(batch.before.map(({ row, mine }) => ({
        row, verdict: mine?.verdict ?? null, label: mine?.label ?? null, version: versionOf(row) + 1 })));
      goBackTo(batch.before, "Undone");
    }
    pendingRequests.add("undo", { key: newKey(), reviewer: get().me }, batch?.key ?? null);
  }

  function redo() {
    const batch = undone.pop();
    if (batch) {
      done.push(batch);
      showDecisions(batch.after.map((entry) => ({ ...entry, version: versionOf(entry.row) + 1 })));
      goBackTo(batch.after, "Redone");
    }
    pendingRequests.add("redo", { key: newKey(), reviewer: get().me }, batch?.key ?? null);
  }

  /** @param {{row: number}[]} entries @param {string} text */
  function goBackTo(entries, text) {
    const row = entries[0].row;
    if (get().address.view === "one" || entries.length === 1) {
      const index = list.indexOf(row);
      if (index >= 0) page.move(index, { quiet: true });
      else if (get().address.view === "one") page.showAlone(row);
    }
    if (get().address.view === "grid") page.notify(`${text}: ${rowsText(entries.length)}.`);
    else page.announce(`${text}. ${page.rowText()}`);
  }

  // ---- answers of the server

  /** @param {PendingRequest} request */
  async function deliver(request) {
    try {
      return await api.deliver(request);
    } catch (/** @type {any} */ error) {
      if (error.status !== 403) throw error;
      await api.readReview(); // a restarted server has a new token
      return await api.deliver(request);
    }
  }

  /** @param {PendingRequest} request @param {{decisions: RowDecision[], note?: string} | null} answer */
  function answered(request, answer) {
    if (!answer) return page.notify(request.kind === "undo" ? "There is nothing to undo." : "There is nothing to redo.");
    const known = answer.decisions.filter(({ row }) => list.get(row));
    showDecisions(known.filter(({ row }) => !pending(row) && !awaitingUndo()));
    if (request.kind !== "decide" && !request.of) {
      goBackTo(answer.decisions, request.kind === "undo" ? "Undone" : "Redone");
    }
    if (answer.note) page.notify(answer.note);
    page.progressSoon();
  }

  const awaitingUndo = () => pendingRequests.requests.some(({ kind }) => kind !== "decide");

  function pendingChanged() {
    const unsent = pendingRequests.requests.reduce((sum, { body }) => sum + (body.entries?.length ?? 1), 0);
    const { stopped, waiting } = pendingRequests;
    /** @type {Partial<State>} */
    const asks = stopped && !get().stopped ? { dialog: stopped.error.status === 409 ? "conflict" : "stopped" } : {};
    set({ unsent, waiting, stopped, ...asks });
  }

  /** After a conflict: keep the current decisions. */
  function keepCurrent() {
    const { request, error } = /** @type {Stopped} */ (pendingRequests.stopped);
    set({ dialog: null, stopped: null });
    removeFromHistory(pendingRequests.discard(request));
    const known = new Set((error.body.current ?? []).map(({ row }) => row));
    showDecisions(error.body.current ?? []);
    refresh((request.body.entries ?? []).map(({ row }) => row).filter((row) => !known.has(row)));
    page.notify("The current decisions stay.");
  }

  /** After a conflict: write mine after the current decisions. */
  function overwrite() {
    const { request, error } = /** @type {Stopped} */ (pendingRequests.stopped);
    set({ dialog: null, stopped: null });
    if (request.kind !== "decide") return pendingRequests.resume();
    const versions = new Map((error.body.current ?? []).map(({ row, version }) => [row, version]));
    const entries = (request.body.entries ?? []).map((entry) => ({ ...entry, version: versions.get(entry.row) ?? entry.version }));
    const other = pendingRequests.rewrite(request, entries);
    for (const batch of [...done, ...undone]) if (batch.key === request.body.key) batch.key = other.body.key;
    showDecisions(entries.map((entry) => ({ ...entry, version: entry.version + 1 })));
  }

  /** After an error that no repetition solves: discard the request and show what the server has. */
  function discard() {
    const { request } = /** @type {Stopped} */ (pendingRequests.stopped);
    set({ dialog: null, stopped: null });
    const discarded = pendingRequests.discard(request);
    removeFromHistory(discarded);
    refresh(discarded.flatMap(({ body }) => (body.entries ?? []).map(({ row }) => row)));
  }

  /** @param {PendingRequest[]} requests */
  function removeFromHistory(requests) {
    const keys = new Set(requests.map(({ body }) => body.key));
    done = done.filter(({ key }) => !keys.has(key));
    undone = undone.filter(({ key }) => !keys.has(key));
  }

  /** @param {number[]} rows */
  function refresh(rows) {
    for (const row of rows.slice(0, 50)) api.readRow(row, get().me).then((details) => list.update([[row, details]]), () => {});
  }

  /** Details of a row, with newer decisions of other people. @param {number} row */
  async function details(row) {
    const details = await api.readRow(row, get().me);
    const { mine, ...rest } = details;
    list.update([[row, pending(row) || awaitingUndo() ? rest : details]]);
    return details;
  }

  function clearHistory() {
    done = [];
    undone = [];
  }

  function start() {
    pendingChanged();
    pendingRequests.send();
  }

  return { act, decide, undo, redo, details, pending, keepCurrent, overwrite, discard, clearHistory, start, resendPending: () => pendingRequests.resume() };
}
