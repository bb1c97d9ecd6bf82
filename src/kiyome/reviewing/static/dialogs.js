/**
 * Dialogs. The browser's own dialog element keeps the focus inside, and returns it.
 */
import { ClassSearch } from "./classes.js";
import { CLASS_KEYS, GRID_KEYS, KEYS } from "./keys.js";
import { remedyOf } from "./errors.js";
import { use } from "./store.js";
import { html, useEffect, useLayoutEffect, useRef, useState } from "./vendor/preact-htm.js";
import { count, decisionText, rows as rowsText } from "./format.js";

/** @import { Changed, DialogName, Session } from "./types.js" */

const BODIES = { help: Help, name: Name, classes: Classes, conflict: Conflict, stopped: Stopped, gap: Gap };
const TITLES = {
  help: "Keys and help", name: "Who is reviewing?", classes: "Choose a class",
  conflict: "There is a newer decision", stopped: "A decision was not saved", gap: "Skip this photo?",
};

/** @param {{session: Session}} props */
export function Dialogs({ session }) {
  const dialog = use(session.store, (state) => state.dialog);
  return dialog ? html`<${Dialog} key=${dialog} session=${session} name=${dialog} />` : null;
}

/** @param {{session: Session, name: DialogName}} props */
function Dialog({ session, name }) {
  const dialog = useRef();
  const Body = BODIES[name];
  const close = () => session.open(null);
  useLayoutEffect(() => {
    const node = dialog.current;
    node.showModal();
    return () => node.close();
  }, []);
  const closable = name !== "name" || session.store.get().me;
  /** @param {Event} event */
  const cancel = (event) => { event.preventDefault(); if (closable) close(); };
  /** @param {MouseEvent} event */
  const press = (event) => { if (event.target === dialog.current && closable) close(); };
  return html`<dialog ref=${dialog} class=${name} aria-labelledby="dialog-title" onCancel=${cancel} onMouseDown=${press}>
    <div class="inside"><h2 id="dialog-title">${TITLES[name]}</h2><${Body} session=${session} close=${close} /></div>
  </dialog>`;
}

/** @param {{session: Session, close: () => void}} props */
function Help({ session, close }) {
  const singleKeys = use(session.store, (state) => state.singleKeys);
  /** @param {import("./keys.js").Key[]} keys */
  const lines = (keys) => keys.filter(([, , read]) => read).map(([action, , read, text]) => html`<div key=${action}><dt><kbd>${read}</kbd></dt><dd>${text}</dd></div>`);
  return html`
    <dl class="keys">${lines(KEYS)}<div><dt><kbd>1</kbd> to <kbd>9</kbd>, <kbd>A</kbd> …</dt><dd>Choose the class with this key in the list (requests: ${CLASS_KEYS.slice(9).join(" ").toUpperCase()})</dd></div></dl>
    <h3>In the grid</h3><dl class="keys">${lines(GRID_KEYS)}</dl>
    <p class="soft">Ctrl + Z and Ctrl + Shift + Z also undo and redo. The wheel, two fingers or a double click enlarge the photo. You can share every address: it contains the view, the filters and the photo.</p>
    <label class="switch"><input type="checkbox" checked=${singleKeys} onChange=${(/** @type {Changed} */ event) => session.setSingleKeys(event.target.checked)} /> Decide with single keys</label>
    <p class="buttons"><button class="strong" onClick=${close}>Close</button></p>`;
}

/** @param {{session: Session, close: () => void}} props */
function Name({ session, close }) {
  const [name, setName] = useState(session.store.get().me);
  const input = useRef();
  useEffect(() => { input.current.focus(); input.current.select(); }, []);
  const others = session.review.reviewers.filter((each) => each !== name);
  const fits = /^\P{C}{1,64}$/u.test(name.trim());
  /** @param {SubmitEvent} event */
  const submit = (event) => { event.preventDefault(); if (fits) session.rename(name.trim().normalize("NFC")); };
  return html`<form onSubmit=${submit}>
    <p>Your decisions are stored under this name, apart from those of other people.</p>
    <label>Name <input ref=${input} type="text" maxlength="64" value=${name} autocomplete="nickname" onInput=${(/** @type {Changed} */ event) => setName(event.target.value)} /></label>
    ${others.length > 0 && html`<p class="names">${others.slice(0, 12).map((each) => html`<button type="button" class="plain" key=${each} onClick=${() => session.rename(each)}><bdi>${each}</bdi></button>`)}</p>`}
    <p class="buttons"><button class="strong" type="submit" disabled=${!fits}>Review under this name</button>
      ${session.store.get().me && html`<button type="button" class="plain" onClick=${close}>Cancel</button>`}</p></form>`;
}

/** @param {{session: Session, close: () => void}} props */
function Classes({ session, close }) {
  const number = session.store.get().address.view === "grid" ? session.selectedRows().length : 0;
  return html`${number > 0 && html`<p class="soft">For ${rowsText(number)}.</p>`}<${ClassSearch} session=${session} onChosen=${close} />`;
}

/**
 * A conflict between two pages of one person: the current decisions, mine, and the choice.
 * @param {{session: Session}} props
 */
function Conflict({ session }) {
  const stopped = use(session.store, (state) => state.stopped);
  if (!stopped) return null;
  const current = stopped.error.body.current ?? [];
  const mine = new Map((stopped.request.body.entries ?? []).map((entry) => [entry.row, entry]));
  return html`
    <p>${rowsText(current.length || mine.size)} changed under your name in another window or on another device. Nothing is overwritten unless you choose to.</p>
    ${current.length > 0 && html`<table class="list"><thead><tr><th scope="col">Photo</th><th scope="col">Current</th><th scope="col">Yours</th></tr></thead>
      <tbody>${current.slice(0, 8).map((each) => html`<tr key=${each.row}><th scope="row"><bdi>${session.list.get(each.row)?.id ?? `row ${each.row}`}</bdi></th>
        <td><bdi>${decisionText(each) ?? "open"}</bdi></td><td><bdi>${decisionText(mine.get(each.row)) ?? stopped.request.kind}</bdi></td></tr>`)}</tbody></table>`}
    ${current.length > 8 && html`<p class="soft">and ${count(current.length - 8)} more</p>`}
    <p class="buttons"><button class="strong" onClick=${session.keepCurrent}>Keep the current one</button><button class="plain" onClick=${session.overwrite}>${stopped.request.kind === "decide" ? "Use mine" : "Try again"}</button></p>`;
}

/** @param {{session: Session, close: () => void}} props */
function Stopped({ session, close }) {
  const [stopped, unsent] = use(session.store, (state) => [state.stopped, state.unsent]);
  if (!stopped) return null;
  const { error } = stopped;
  const again = [401, 403, 410].includes(error.status);
  return html`
    <p>${error.message}</p>
    <p><b>${remedyOf(error)}</b></p>
    <p class="soft">${rowsText(unsent)} on this computer, not sent yet.</p>
    <p class="buttons">
      <button class="strong" onClick=${() => { session.open(null); session.resendPending(); }}>Send again</button>
      ${again ? html`<button class="plain" onClick=${() => location.reload()}>Reload the page</button>` : html`<button class="plain" onClick=${session.discard}>Discard this one</button>`}
      <button class="plain" onClick=${close}>Later</button></p>`;
}

/** @param {{session: Session, close: () => void}} props */
function Gap({ session, close }) {
  return html`
    <p>This is an audit of a random sample, and only answers without a gap count. After a skipped photo, later answers do not count until it has one. If you cannot tell, choose Unsure.</p>
    <p class="buttons"><button class="strong" onClick=${close}>Stay</button><button class="plain" onClick=${session.confirmGap}>Skip</button></p>`;
}
