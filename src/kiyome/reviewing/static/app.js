/**
 * The frame: header, one of four views, what is said, what asks.
 */
import { Dialogs } from "./dialogs.js";
import { Filters } from "./filters.js";
import { Grid } from "./grid.js";
import { Header } from "./header.js";
import { MapView } from "./map.js";
import { One } from "./one.js";
import { People } from "./people.js";
import { remedyOf } from "./trouble.js";
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
    <${Said} session=${session} />
    <${Dialogs} session=${session} />`;
}

/**
 * The view's region takes the focus when it comes, so that the next Tab goes on from there.
 * @param {{view: string, children: Drawn}} props
 */
function Frame({ view, children }) {
  const region = useRef();
  const drawn = useRef(false);
  useEffect(() => {
    if (document.activeElement === document.body || !drawn.current) region.current.focus({ preventScroll: true });
    drawn.current = true;
  }, [view]);
  return html`<main id="view" class=${`view view-${view}`} tabindex="-1" ref=${region} aria-label=${NAMES[view]}>${children}</main>`;
}

/** @type {Object<string, string>} */
const NAMES = { one: "One photo", grid: "Grid of photos", map: "Map of labels", people: "People" };

/** What screen readers are told after each act. @param {{session: Session}} props */
function Said({ session }) {
  const said = use(session.store, (state) => state.said);
  return html`<p class="unseen" role="status" aria-live="polite" id="said">${said}</p>`;
}

/** @param {{session: Session}} props */
function Notice({ session }) {
  const [notice, trouble] = use(session.store, (state) => [state.notice, state.trouble]);
  const shown = trouble ? { text: `${trouble.message} ${remedyOf(trouble)}`, button: { label: "Ask again", act: () => session.openList() } } : notice;
  return html`<div class="notices" role="status" aria-live="polite">
    ${shown && html`<div class="notice">
      <p>${shown.text}</p>
      ${shown.button && html`<button class="plain" onClick=${() => { session.set({ notice: null, trouble: null }); shown.button?.act(); }}>${shown.button.label}</button>`}
    </div>`}
  </div>`;
}
