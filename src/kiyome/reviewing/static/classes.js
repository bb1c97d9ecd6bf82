/**
 * A class by typing: matches at the start of names first, then at the start of words, then anywhere.
 */
import { matching } from "./matching.js";
import { html, useEffect, useMemo, useRef, useState } from "./vendor/preact-htm.js";
import { classesInOrder, probabilityText } from "./format.js";

/** @import { Changed, Session } from "./types.js" */

const SHOWN = 50;

/**
 * A list that typed text narrows; arrows move in it, Enter chooses.
 * @param {{session: Session, onChosen: () => void}} props
 */
export function ClassSearch({ session, onChosen }) {
  const list = useRef();
  const input = useRef();
  const [typed, setTyped] = useState("");
  const [index, setIndex] = useState(0);
  const inGrid = session.store.get().address.view === "grid";
  const ordered = useMemo(() => classesInOrder(inGrid ? null : session.current(), session.review.classes), []);
  const found = useMemo(() => matching(ordered, typed), [typed]);
  const shown = found.slice(0, SHOWN);
  const at = Math.min(index, shown.length - 1);

  useEffect(() => input.current.focus(), []);
  useEffect(() => list.current.children[at]?.scrollIntoView({ block: "nearest" }), [at, typed]);

  /** @param {string} name */
  const choose = (name) => { onChosen(); session.act("class", name); };
  /** @param {KeyboardEvent} event */
  const press = (event) => {
    /** @type {Object<string, number>} */
    const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8 };
    if (event.key in moves) setIndex(Math.max(0, Math.min(shown.length - 1, at + moves[event.key])));
    else if (event.key === "Enter" && shown[at]) choose(shown[at][0]);
    else return;
    event.preventDefault();
  };
  return html`<div class="search">
    <input type="text" role="combobox" aria-label="Class" aria-expanded="true" aria-controls="found" aria-autocomplete="list"
      aria-activedescendant=${at >= 0 ? `found-${at}` : null} placeholder="Type a class" autocomplete="off" autocapitalize="off" spellcheck=${false}
      ref=${input} value=${typed} onInput=${(/** @type {Changed} */ event) => { setTyped(event.target.value); setIndex(0); }} onKeyDown=${press} />
    <ul role="listbox" id="found" aria-label="Classes" ref=${list}>${shown.map(([name, share], k) => html`
      <li key=${name} id=${`found-${k}`} role="option" aria-selected=${String(k === at)} onClick=${() => choose(name)}>
        <bdi>${name}</bdi><span class="share">${share === null ? "" : probabilityText(share)}</span></li>`)}</ul>
    <p class="soft" role="status">${found.length ? (found.length > SHOWN ? `${SHOWN} of ${found.length}: type more` : "") : "No class has this name."}</p>
  </div>`;
}
