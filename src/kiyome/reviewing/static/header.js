/**
 * The top line: views, progress, whether all is saved, the menu.
 */
import { exportAddress } from "./api.js";
import { FILTERS, narrowing, writeAddress } from "./address.js";
import { Icon } from "./icons.js";
import { OutlookPanel } from "./outlook.js";
import { use } from "./store.js";
import { html } from "./vendor/preact-htm.js";
import { count, duration } from "./format.js";

/** @import { Address, Drawn, Session } from "./types.js" */

const VIEWS = [["one", "One"], ["grid", "Grid"], ["map", "Map"], ["people", "People"]];
const FORMATS = [
  ["csv", "Decisions, CSV"], ["parquet", "Decisions, Parquet"], ["corrected", "Corrected labels, CSV"],
  ["label_studio", "Label Studio"], ["cvat", "CVAT"], ["fiftyone", "FiftyOne"],
];

/** @param {{session: Session}} props */
export function Header({ session }) {
  return html`<header class="top">
    <a class="skip" href="#view">To the photo</a>
    <h1 title=${session.review.run}><bdi>${session.review.title}</bdi></h1>
    <${Views} session=${session} />
    <${Progress} session=${session} />
    <${OutlookButton} session=${session} />
    <${Saved} session=${session} />
    <${FilterButton} session=${session} />
    <${Menu} session=${session} />
  </header>`;
}

/**
 * A link that the page handles itself, and that can be opened in another tab.
 * @param {{session: Session, to: Address, children: Drawn, onGo: () => void}} props
 */
export function Link({ session, to, children, onGo, ...rest }) {
  const address = use(session.store, (state) => state.address);
  /** @param {MouseEvent} event */
  const follow = (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    onGo?.();
    session.setAddress(to);
  };
  const { row, ...target } = { ...address, ...to };
  const sameList = !FILTERS.some((name) => name in to);
  return html`<a href=${writeAddress(sameList ? { ...target, row } : target)} onClick=${follow} ...${rest}>${children}</a>`;
}

/** @param {{session: Session}} props */
function Views({ session }) {
  const view = use(session.store, ({ address }) => address.view);
  return html`<nav aria-label="Views">${VIEWS.map(([name, label]) => html`
    <${Link} key=${name} session=${session} to=${{ view: name }} aria-current=${view === name ? "page" : null}>
      <${Icon} name=${name} /><span>${label}</span><//>`)}</nav>`;
}

/** @param {{session: Session}} props */
function Progress({ session }) {
  const progress = use(session.store, (state) => state.progress);
  if (!progress) return html`<div class="progress"></div>`;
  const { mine, rows, flagged, flagged_decided: checked, seconds_left: left } = progress;
  const text = flagged ? `${count(checked ?? 0)} of ${count(flagged)} flagged` : `${count(mine)} of ${count(rows)}`;
  const share = flagged ? (checked ?? 0) / flagged : mine / Math.max(1, rows);
  const rest = duration(left);
  return html`<div class="progress" title=${`${count(mine)} decided by you; ${count(progress.decided)} of ${count(rows)} rows by anyone`}>
    <div class="bar" role="progressbar" aria-label="Checked" aria-valuemin="0" aria-valuemax="100" aria-valuenow=${Math.round(100 * share)} aria-valuetext=${text}>
      <div style=${{ width: `${100 * share}%` }}></div></div>
    <span>${text}${rest && html`<span class="left">, ${rest} left</span>`}</span>
  </div>`;
}

/** What is left in the whole table; nothing in a blind review. @param {{session: Session}} props */
function OutlookButton({ session }) {
  const outlook = use(session.store, (state) => state.outlook);
  return outlook && html`<button class="plain" id="outlook-button" popovertarget="outlook">${outlook.looks_to_stop ? "Left" : "You may stop"}</button>
    <div id="outlook" popover="auto" role="dialog" aria-label="The whole table"><${OutlookPanel} outlook=${outlook} /></div>`;
}

/** Whether all is saved; a button where requests are pending. @param {{session: Session}} props */
function Saved({ session }) {
  const [unsent, waiting, stopped] = use(session.store, (state) => [state.unsent, state.waiting, state.stopped]);
  if (stopped) {
    return html`<button class="saved stopped" onClick=${() => session.open(stopped.error.status === 409 ? "conflict" : "stopped")}>${count(unsent)} not saved: details</button>`;
  }
  if (unsent && waiting) {
    return html`<button class="saved waiting" title="The server does not answer; your decisions are stored on this computer and sent when it does." onClick=${() => session.resendPending()}>
      No answer: ${count(unsent)} stored here</button>`;
  }
  return html`<span class=${unsent ? "saved busy" : "saved"} id="saved">${unsent ? html`<span class="dot"></span>Saving ${count(unsent)}` : html`<${Icon} name="check" /><span class="word">Saved</span>`}</span>`;
}

/** @param {{session: Session}} props */
function FilterButton({ session }) {
  const [address, open] = use(session.store, (state) => [state.address, state.filtersOpen]);
  const number = narrowing(address).length;
  return html`<button class="plain" id="filter-button" aria-expanded=${String(Boolean(open))} aria-controls="filters" onClick=${() => session.set({ filtersOpen: !open })}>
    <${Icon} name="filter" /><span class="word">Filter</span>${number > 0 && html`<b class="badge">${number}</b>`}</button>`;
}

/** @param {{session: Session}} props */
function Menu({ session }) {
  const [me, theme] = use(session.store, (state) => [state.me, state.theme]);
  const close = () => document.getElementById("menu")?.hidePopover();
  /** @param {() => void} act */
  const then = (act) => () => { close(); act(); };
  return html`
    <button class="plain name" popovertarget="menu" aria-label=${`Menu of ${me || "nobody"}`}><bdi>${me || "Who?"}</bdi><${Icon} name="more" /></button>
    <div id="menu" popover="auto" role="dialog" aria-label="Menu">
      <button class="item" onClick=${then(() => session.open("name"))}>Reviewing as <b><bdi>${me || "nobody"}</bdi></b></button>
      <fieldset class="themes"><legend>Colors</legend>${["system", "light", "dark"].map((name) => html`
        <button key=${name} aria-pressed=${String(theme === name)} onClick=${() => session.setTheme(name)}>${name}</button>`)}</fieldset>
      ${!session.review.blind && html`<p class="heading">Export</p>`}
      ${!session.review.blind && FORMATS.map(([format, label]) => html`<a key=${format} class="item" href=${exportAddress(format)} download onClick=${close}>${label}</a>`)}
      <button class="item" onClick=${then(() => session.open("help"))}>Keys and help <kbd>?</kbd></button>
      ${session.review.warnings.map((text) => html`<p class="warning" key=${text}>${text}</p>`)}
    </div>`;
}
