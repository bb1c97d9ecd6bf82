/**
 * Handlers of actions; `performAction` returns whether the key was used.
 */
import { classesInOrder } from "./format.js";
import { toggleFullScreen } from "./photo.js";

/** @import { Session } from "./types.js" */

const STEP = 1.5;

/** @typedef {{action: string, index: number, extend: boolean, view: string, position: number, columns: number}} ActionCall */
/** @typedef {Object<string, (session: Session, call: ActionCall) => void>} Handlers   by the names of actions */

/** @type {Handlers} */
const ALWAYS = {
  undo: (session) => session.undo(),
  redo: (session) => session.redo(),
  help: (session) => session.open("help"),
  grid: (session, { view }) => session.setAddress({ view: view === "grid" ? "one" : "grid" }),
  map: (session, { view }) => session.setAddress({ view: view === "map" ? "one" : "map" }),
};

/** @type {Handlers} */
const WITH_ROWS = {
  accept: (session) => session.act("accept"),
  keep: (session) => session.act("keep"),
  both: (session) => session.act("both"),
  none: (session) => session.act("none_of_these"),
  drop: (session) => session.act("drop"),
  unsure: (session) => session.act("unsure"),
  search: (session) => session.open("classes"),
};

/** @type {Handlers} */
const IN_ONE = {
  next: (session) => session.step(1),
  previous: (session) => session.step(-1),
  first: (session) => session.move(0),
  last: (session) => session.move(session.list.total - 1),
  zoomIn: (session) => session.zoomBy(STEP),
  zoomOut: (session) => session.zoomBy(1 / STEP),
  zoomFit: (session) => session.set({ zoom: 1, pan: [0, 0] }),
  fullScreen: () => toggleFullScreen(),
  class: (session, { index }) => {
    const choice = classesInOrder(session.current(), session.review.classes)[index];
    if (choice) session.act("class", choice[0]);
  },
};

/** @type {Handlers} */
const IN_GRID = {
  next: (session, { extend }) => walk(session, 1, extend),
  previous: (session, { extend }) => walk(session, -1, extend),
  down: (session, { extend, columns }) => walk(session, columns, extend),
  up: (session, { extend, columns }) => walk(session, -columns, extend),
  first: (session, { extend, position }) => walk(session, -position, extend),
  last: (session, { extend, position }) => walk(session, session.list.total - 1 - position, extend),
  select: (session) => {
    const row = session.current();
    if (row) session.toggle(row.row);
  },
  selectAll: (session) => session.selectAll(),
  selectNone: (session) => session.select([]),
  open: (session) => session.setAddress({ view: "one" }),
};

/** @param {Session} session @param {number} by @param {boolean | undefined} extend */
function walk(session, by, extend) {
  const { position, anchor } = session.store.get();
  session.move(position + by, { quiet: !extend });
  if (!extend) return session.set({ anchor: null });
  const from = anchor ?? position;
  session.set({ anchor: from });
  session.select(session.list.between(from, session.store.get().position));
}

/** @param {Session} session @param {import("./keys.js").Pressed} call */
export function performAction(session, call) {
  const { address, position, columns, dialog } = session.store.get();
  if (dialog) return false;
  const { view } = address;
  /** @type {Handlers} */
  const known = { ...ALWAYS, ...(view === "one" ? { ...WITH_ROWS, ...IN_ONE } : view === "grid" ? { ...WITH_ROWS, ...IN_GRID } : {}) };
  const perform = known[call.action];
  if (!perform) return false;
  perform(session, { index: -1, extend: false, ...call, view, position, columns });
  return true;
}
