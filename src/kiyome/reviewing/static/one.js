/**
 * One large photo, its labels and details beside it, and the buttons to decide.
 */
import { narrowing } from "./address.js";
import { CLASS_KEYS } from "./keys.js";
import { Details } from "./details.js";
import { Icon } from "./icons.js";
import { Photo, PhotoTools } from "./photo.js";
import { use } from "./store.js";
import { html } from "./vendor/preact-htm.js";
import { classesInOrder, count, decisionText, isUnlabeled, probabilityText, showsNone } from "./format.js";

/** @import { Drawn, Row, Session, Choice } from "./types.js" */

const MANY_CLASSES = 24;
const SHOWN_OF_MANY = 9;

/** @param {{session: Session}} props */
export function One({ session }) {
  const [row, total] = use(session.store, (state) => [session.current(), state.total]);
  if (total === 0 && !row) return html`<${Empty} session=${session} />`;
  return html`<div class="one">
    <div class="photo-side">
      <${Photo} session=${session} row=${row} />
      <${PhotoTools} session=${session} />
    </div>
    <section class="known" aria-label="Labels and decisions">
      <${Position} session=${session} />
      ${row && html`
        <${Labels} session=${session} row=${row} />
        <${Actions} session=${session} row=${row} />
        <${Classes} session=${session} row=${row} />
        <${Details} session=${session} row=${row.row} />`}
    </section>
  </div>`;
}

/** No rows: the reason, and what to do. @param {{session: Session}} props */
export function Empty({ session }) {
  const { address } = session.store.get();
  const all = address.state === "open" && !narrowing(address).some((name) => name !== "order");
  return html`<div class="empty">
    <p class="large">${all ? "Every row is decided." : "No row matches these filters."}</p>
    <p>${all ? "Show all rows, or the disputed ones." : "Remove a filter, or show all rows."}</p>
    <p class="buttons">
      <button class="plain" onClick=${() => session.setAddress({ state: "all", split: "", given: "", likely: "", flagged: "", none: "", verdict: "", reviewer: "", min_chance: "", max_chance: "", search: "" })}>All rows</button>
      <button class="plain" onClick=${() => session.setAddress({ state: "disputed" })}>Disputed rows</button>
    </p></div>`;
}

/** @param {{session: Session}} props */
function Position({ session }) {
  const [position, total, solo] = use(session.store, (state) => [state.position, state.total, state.solo]);
  return html`<div class="position">
    <button onClick=${() => session.step(-1)} disabled=${!solo && position === 0} aria-label="Previous photo" title="Previous photo (←)"><${Icon} name="left" /></button>
    <span class="number" id="position">${total === null ? "…" : solo ? "not in the list" : `${count(position + 1)} of ${count(total)}`}</span>
    <button onClick=${() => session.step(1)} aria-label="Next photo" title="Next photo (→)"><${Icon} name="right" /></button>
    <button onClick=${session.undo} aria-label="Undo" title="Undo (Z)"><${Icon} name="undo" /></button>
    <button onClick=${session.redo} aria-label="Redo" title="Redo (Y)"><${Icon} name="redo" /></button>
  </div>`;
}

/** @param {{session: Session, row: Row}} props */
function Labels({ session, row }) {
  const unsent = use(session.store, ({ unsent }) => unsent > 0 && session.pending(row.row));
  const text = decisionText(row.mine);
  return html`<div class="labels">
    ${row.split && html`<p class="split">Row of <b>${row.split}</b></p>`}
    ${row.drawn && html`<p class="split">Drawn at random, to measure what is left</p>`}
    ${session.review.blind ? html`<p class="blind">Blind: ${isUnlabeled(row) ? "no label was given, and the prediction is hidden" : "the given label and the prediction are hidden"}.</p>` : html`
      <dl>
        <div class="given"><dt>Given ${row.flagged && html`<span class="flag">flagged</span>`}${row.disputed && html`<span class="flag">disputed</span>`}</dt><dd><bdi>${row.given}</bdi></dd></div>
        ${row.suggested && row.suggested !== row.given && html`
          <div class="likely"><dt>Likely</dt><dd><bdi>${row.suggested}</bdi></dd></div>`}
      </dl>
      ${typeof row.probability === "number" && html`<p class="chance"><b>${probabilityText(row.probability)}</b> probability that the label is wrong</p>`}
      ${showsNone(row) && html`<p class="chance"><b>${probabilityText(row.probability_none ?? 0)}</b> probability that it shows none of the classes</p>`}`}
    <p class="decision" aria-live="off">${text ? html`<span class=${`verdict ${row.mine?.verdict}`}><bdi>${text}</bdi></span> ${unsent ? "saving" : "saved"}` : html`<span class="soft">Not decided by you</span>`}</p>
    ${row.others?.length ? html`<p class="others">${row.others.map((other) => html`<span key=${other.reviewer}><bdi>${other.reviewer}</bdi>: <bdi>${decisionText(other) ?? "open"}</bdi></span>`)}</p>` : null}
  </div>`;
}

/** A mouse press does not move the focus, so that the keys keep working. @param {Event} event */
const keepFocus = (event) => event.preventDefault();

/** @param {{session: Session, row: Row}} props */
function Actions({ session, row }) {
  const { blind } = session.review;
  const verdict = row.mine?.verdict;
  /** @param {Choice} choice @param {string} key @param {string | Drawn} label @param {boolean} pressed */
  const button = (choice, key, label, pressed) => html`
    <button class=${`act ${choice}`} onMouseDown=${keepFocus} onClick=${() => session.act(choice)} aria-pressed=${String(Boolean(pressed))} aria-keyshortcuts=${key}>
      <span>${label}</span><kbd aria-hidden="true">${key}</kbd></button>`;
  const none = !blind && showsNone(row);
  const changes = none || (row.suggested && row.suggested !== row.given);
  /** @param {string} key */
  const noneButton = (key) => button("none_of_these", key, "None of these", verdict === "none_of_these");
  return html`<div class="actions" role="group" aria-label="Decide">
    ${none && noneButton("Enter")}
    ${!blind && changes && !none && button("accept", "Enter", html`Accept <bdi>${row.suggested}</bdi>`, verdict === "relabel" && row.mine?.label === row.suggested)}
    ${!blind && button("keep", changes ? "K" : "Enter", html`Keep <bdi>${row.given}</bdi>`, verdict === "keep")}
    ${!none && noneButton("N")}
    ${button("both", "B", "Both", verdict === "both")}
    ${button("drop", "X", "Drop", verdict === "drop")}
    ${button("unsure", "U", "Unsure", verdict === "unsure")}
    <button class="act find" onMouseDown=${keepFocus} onClick=${() => session.open("classes")}><span>Find class</span><kbd aria-hidden="true">/</kbd></button>
  </div>`;
}

/**
 * Classes with their keys: likely ones first, or all in the order of the table in a blind review.
 * @param {{session: Session, row: Row}} props
 */
function Classes({ session, row }) {
  const { classes, blind } = session.review;
  const ordered = classesInOrder(row, classes);
  const shown = ordered.length > MANY_CLASSES ? ordered.slice(0, SHOWN_OF_MANY) : ordered;
  const chosen = row.mine?.verdict === "relabel" ? row.mine.label : row.mine?.verdict === "keep" ? row.given : null;
  return html`<div class="classes">
    <h2>${blind ? "Classes" : "Classes, likely ones first"}</h2>
    <ol>${shown.map(([name, share], index) => html`<li key=${name}>
      <button onMouseDown=${keepFocus} onClick=${() => session.act("class", name)} aria-pressed=${String(chosen === name)}>
        <kbd aria-hidden="true">${CLASS_KEYS[index]?.toUpperCase() ?? ""}</kbd><span class="class"><bdi>${name}</bdi>${!blind && name === row.given ? html`<i>given</i>` : ""}</span>
        <span class="share">${share === null ? "" : probabilityText(share)}</span>
        ${share !== null && html`<span class="bar" aria-hidden="true"><span style=${{ width: `${100 * share}%` }}></span></span>`}
      </button></li>`)}</ol>
    ${shown.length < ordered.length && html`<button class="plain more" onClick=${() => session.open("classes")}>All ${count(ordered.length)} classes <kbd>/</kbd></button>`}
  </div>`;
}
