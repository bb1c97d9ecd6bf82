/**
 * Decisions: shown at once, sent in order, corrected by what the server says.
 *
 * decide ── shown ── outbox ── server ── what it wrote is shown
 *                                └── 409: what stands and what I said, for a person to choose
 */
import * as api from "./api.js";
import { makeOutbox, newKey } from "./outbox.js";
import { decisionWords, rows as rowsWords } from "./words.js";

/**
 * @import { Act, Button, Decided, Letter, List, Mine, Review, Row, State, StateStore, Stopped, Word } from "./types.js"
 */

const MOST_AT_ONCE = 5000;
const LONGEST_LOOK = 3600000;

/**
 * @typedef {{key: string, before: {row: number, mine: Mine | null}[], after: Decided[]}} Batch   what one undo takes back
 * @typedef {{review: Review, store: StateStore, list: List, current: () => Row | undefined, shownAt: () => number,
 *   move: (place: number, options?: {quiet?: boolean}) => void, showAlone: (row: number) => void,
 *   say: (words: string) => void, notify: (text: string, button?: Button) => void, rowWords: () => string,
 *   endOfList: () => void, selectedRows: () => Row[], progressSoon: () => void}} Hands   what the session lends
 */

/** @param {Hands} page */
export function makeDeciding(page) {
  const { review, store, list } = page;
  const { get, set } = store;
  const outbox = makeOutbox({
    storage: localStorage, prefix: `kiyome-unsent:${review.key}:`,
    deliver, onAnswer: answered, onChange: outboxChanged,
  });
  /** @type {Batch[]} */
  let done = [];
  /** @type {Batch[]} */
  let undone = [];

  /** @param {number} row */
  const pending = (row) =>
    outbox.letters.some(({ kind, body }) => kind === "decide" && body.entries?.some((entry) => entry.row === row));

  /** Decide, at once on the page and soon on the server. @param {Act[]} acts */
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
    showDecided(entries.map((entry) => ({ ...entry, version: entry.version + 1 })));
    const milliseconds = address.view === "one" ? Math.min(LONGEST_LOOK, Math.round(performance.now() - page.shownAt())) : null;
    const seen = { order: address.order ?? review.orders[0], view: address.view, blind: review.blind, position };
    outbox.add("decide", { key, reviewer: me, entries, milliseconds, seen });
  }

  /** @param {number} row */
  const versionOf = (row) => list.get(row)?.mine?.version ?? 0;

  /** @param {Decided[]} decided */
  function showDecided(decided) {
    list.update(decided.map(({ row, verdict, label, version }) => [row, { mine: { verdict, label, version } }]));
    const { solo } = get();
    if (solo) set({ solo: list.get(solo.row) });
  }

  /** Decide the photo in sight and go on. @param {Act} act */
  function decideHere(act) {
    decide([act]);
    const words = decisionWords(act) ?? "";
    if (get().solo) page.say(words);
    else if (get().position >= list.total - 1) { page.say(words); page.endOfList(); }
    else { page.move(get().position + 1, { quiet: true }); page.say(`${words}. ${page.rowWords()}`); }
  }

  /** Why a decision cannot be made of this row, or null. @param {Row | undefined} row @param {Word} verdict */
  function refusalOf(row, verdict) {
    if (!row) return "The photo is not here yet.";
    if (review.blind && verdict === "keep") return "The given label is hidden here: choose the class that you see.";
    if (verdict === "accept" && !row.suggested) return review.blind
      ? "Nothing is suggested in a blind review: choose the class that you see." : "Nothing is suggested for this photo.";
    return null;
  }

  /**
   * What a word means for a row; to choose the given class is to keep it.
   * @param {Row} row
   * @param {Word} word
   * @param {string | null} label
   * @returns {Act}
   */
  function meant(row, word, label) {
    if (word !== "accept" && word !== "class") return { row: row.row, verdict: word, label: null };
    const chosen = word === "accept" ? row.suggested : label;
    const kept = chosen === row.given && !review.blind;
    return { row: row.row, verdict: kept ? "keep" : "relabel", label: kept ? null : chosen };
  }

  /**
   * One word for the photo in sight or, in the grid, for all selected.
   * @param {Word} word
   * @param {string | null} [label]
   */
  function act(word, label = null) {
    const inGrid = get().address.view === "grid";
    const many = inGrid ? page.selectedRows() : [];
    const targets = many.length ? many : [page.current()];
    const refusal = targets.map((row) => refusalOf(row, word)).find(Boolean);
    if (refusal) return page.notify(refusal);
    const acts = targets.flatMap((row) => (row ? meant(row, word, label) : []));
    if (!inGrid) return decideHere(acts[0]);
    decide(acts);
    set({ selected: new Set() });
    page.notify(`${rowsWords(acts.length)}: ${bulkWords(word, label)}.`, { label: "Undo", act: undo });
  }

  /** @param {Word} word @param {string | null} label */
  const bulkWords = (word, label) =>
    word === "accept" ? "the likely class taken" : decisionWords({ verdict: word === "class" ? "relabel" : word, label });

  function undo() {
    const batch = done.pop();
    if (batch) {
      undone.push(batch);
      showDecided(batch.before.map(({ row, mine }) => ({
        row, verdict: mine?.verdict ?? null, label: mine?.label ?? null, version: versionOf(row) + 1 })));
      returnTo(batch.before, "Undone");
    }
    outbox.add("undo", { key: newKey(), reviewer: get().me }, batch?.key ?? null);
  }

  function redo() {
    const batch = undone.pop();
    if (batch) {
      done.push(batch);
      showDecided(batch.after.map((entry) => ({ ...entry, version: versionOf(entry.row) + 1 })));
      returnTo(batch.after, "Done again");
    }
    outbox.add("redo", { key: newKey(), reviewer: get().me }, batch?.key ?? null);
  }

  /** @param {{row: number}[]} entries @param {string} words */
  function returnTo(entries, words) {
    const row = entries[0].row;
    if (get().address.view === "one" || entries.length === 1) {
      const place = list.placeOf(row);
      if (place >= 0) page.move(place, { quiet: true });
      else if (get().address.view === "one") page.showAlone(row);
    }
    if (get().address.view === "grid") page.notify(`${words}: ${rowsWords(entries.length)}.`);
    else page.say(`${words}. ${page.rowWords()}`);
  }

  // ---- what the server says

  /** @param {Letter} letter */
  async function deliver(letter) {
    try {
      return await api.deliver(letter);
    } catch (/** @type {any} */ error) {
      if (error.status !== 403) throw error;
      await api.readReview(); // a restarted server has another token
      return await api.deliver(letter);
    }
  }

  /** @param {Letter} letter @param {{decided: Decided[], note?: string} | null} answer */
  function answered(letter, answer) {
    if (!answer) return page.notify(letter.kind === "undo" ? "There is nothing to undo." : "There is nothing to redo.");
    const known = answer.decided.filter(({ row }) => list.get(row));
    showDecided(known.filter(({ row }) => !pending(row) && !awaitingUndo()));
    if (letter.kind !== "decide" && !letter.of) {
      returnTo(answer.decided, letter.kind === "undo" ? "Undone" : "Done again");
    }
    if (answer.note) page.notify(answer.note);
    page.progressSoon();
  }

  const awaitingUndo = () => outbox.letters.some(({ kind }) => kind !== "decide");

  function outboxChanged() {
    const unsent = outbox.letters.reduce((sum, { body }) => sum + (body.entries?.length ?? 1), 0);
    const { stopped, waiting } = outbox;
    /** @type {Partial<State>} */
    const asks = stopped && !get().stopped ? { dialog: stopped.error.status === 409 ? "conflict" : "stopped" } : {};
    set({ unsent, waiting, stopped, ...asks });
  }

  /** After a conflict: what stands stays. */
  function takeTheirs() {
    const { letter, error } = /** @type {Stopped} */ (outbox.stopped);
    set({ dialog: null, stopped: null });
    forgetDone(outbox.giveUp(letter));
    const told = new Set((error.body.current ?? []).map(({ row }) => row));
    showDecided(error.body.current ?? []);
    refresh((letter.body.entries ?? []).map(({ row }) => row).filter((row) => !told.has(row)));
    page.notify("What stood before stays.");
  }

  /** After a conflict: write mine on top of what stands. */
  function writeMine() {
    const { letter, error } = /** @type {Stopped} */ (outbox.stopped);
    set({ dialog: null, stopped: null });
    if (letter.kind !== "decide") return outbox.again();
    const versions = new Map((error.body.current ?? []).map(({ row, version }) => [row, version]));
    const entries = (letter.body.entries ?? []).map((entry) => ({ ...entry, version: versions.get(entry.row) ?? entry.version }));
    const other = outbox.rewrite(letter, entries);
    for (const batch of [...done, ...undone]) if (batch.key === letter.body.key) batch.key = other.body.key;
    showDecided(entries.map((entry) => ({ ...entry, version: entry.version + 1 })));
  }

  /** After a refusal that no repeat mends: give the letter up and show what the server has. */
  function giveUp() {
    const { letter } = /** @type {Stopped} */ (outbox.stopped);
    set({ dialog: null, stopped: null });
    const gone = outbox.giveUp(letter);
    forgetDone(gone);
    refresh(gone.flatMap(({ body }) => (body.entries ?? []).map(({ row }) => row)));
  }

  /** @param {Letter[]} letters */
  function forgetDone(letters) {
    const keys = new Set(letters.map(({ body }) => body.key));
    done = done.filter(({ key }) => !keys.has(key));
    undone = undone.filter(({ key }) => !keys.has(key));
  }

  /** @param {number[]} rows */
  function refresh(rows) {
    for (const row of rows.slice(0, 50)) api.readRow(row, get().me).then((told) => list.update([[row, told]]), () => {});
  }

  /** Details of a row; what others did meanwhile comes with them. @param {number} row */
  async function details(row) {
    const told = await api.readRow(row, get().me);
    const { mine, ...rest } = told;
    list.update([[row, pending(row) || awaitingUndo() ? rest : told]]);
    return told;
  }

  function forgetAll() {
    done = [];
    undone = [];
  }

  function start() {
    outboxChanged();
    outbox.send();
  }

  return { act, decide, undo, redo, details, pending, takeTheirs, writeMine, giveUp, forgetAll, start, sendAgain: () => outbox.again() };
}
