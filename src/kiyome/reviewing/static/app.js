/**
 * The frame: header, one of four views, notices, dialogs.
 */
import { Dialogs } from "./dialogs.js";
import { Filters } from "./filters.js";
import { Grid } from "./grid.js";
import { Header } from "./header.js";
import { MapView } from "./map.js";
import { One } from "./one.js";
import { People } from "./people.js";
import { remedyOf } from "./errors.js";
import { use } from "./store.js";
import { html, useEffect, useRef } from "./vendor/preact-htm.js";

/** @import { Drawn, Session } from "./types.js" */

/** @type {Object<string, (props: {session: Session}) => Drawn | null>} */
const VIEWS = { one: One, grid: Grid, map: MapView, people: People };

/** @param {{session: Session}} props */
export function App({ session }) {
  const view = use(session.store, ({ address }) => address.view);
  const View = VIEWS[view];
  return html`
    <${Header} session=${session} />
    <${Filters} session=${session} />
    <${Frame} key=${view} view=${view}><${View} session=${session} /><//>
    <${Notice} session=${session} />
    <${Announcement} session=${session} />
    <${Dialogs} session=${session} />`;
}

/**
 * The view's region takes the focus when it comes, so that the next Tab goes on from there.
 * @param {{view: string, children: Drawn}} props
 */
function Frame({ view, children }) {
  const region = useRef();
  const focused = useRef(false);
  useEffect(() => {
    if (document.activeElement === document.body || !focused.current) region.current.focus({ preventScroll: true });
    focused.current = true;
  }, [view]);
  return html`<main id="view" class=${`view view-${view}`} tabindex="-1" ref=${region} aria-label=${NAMES[view]}>${children}</main>`;
}

/** @type {Object<string, string>} */
const NAMES = { one: "One photo", grid: "Grid of photos", map: "Map of labels", people: "People" };

/** Text for screen readers after each action. @param {{session: Session}} props */
function Announcement({ session }) {
  const announcement = use(session.store, (state) => state.announcement);
  return html`<p class="unseen" role="status" aria-live="polite" id="announcement">${announcement}</p>`;
}

/** @param {{session: Session}} props */
function Notice({ session }) {
  const [notice, error] = use(session.store, (state) => [state.notice, state.error]);
  const shown = error ? { text: `${error.message} ${remedyOf(error)}`, button: { label: "Try again", act: () => session.openList({ at: session.store.get().address.row }) } } : notice;
  return html`<div class="notices" role="status" aria-live="polite">
    ${shown && html`<div class="notice">
      <p>${shown.text}</p>
      ${shown.button && html`<button class="plain" onClick=${() => { session.set({ notice: null, error: null }); shown.button?.act(); }}>${shown.button.label}</button>`}
    </div>`}
  </div>`;
}
