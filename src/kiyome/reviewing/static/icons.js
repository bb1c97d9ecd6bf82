/**
 * Small drawings in one line weight; hidden from screen readers, which read the button's name.
 */
import { html } from "./vendor/preact-htm.js";

/** @type {Object<string, string>} */
const PATHS = {
  one: "M3 4h14v12H3z",
  grid: "M3 3h6v6H3zM11 3h6v6h-6zM3 11h6v6H3zM11 11h6v6h-6z",
  map: "M3 3h14v14H3zM3 7.7h14M3 12.3h14M7.7 3v14M12.3 3v14",
  people: "M7 9.5a2.6 2.6 0 1 0 0-5.2 2.6 2.6 0 0 0 0 5.2zM2.5 16c.4-3 2-4.5 4.5-4.5s4.1 1.5 4.5 4.5M13.5 9.5a2.2 2.2 0 1 0-.6-4.3M14 11.6c2 .1 3.2 1.5 3.5 4.4",
  filter: "M3 5h14M6 10h8M8.5 15h3",
  more: "M4.5 10h.01M10 10h.01M15.5 10h.01",
  left: "M12.5 4 6.5 10l6 6", right: "M7.5 4l6 6-6 6",
  undo: "M7 4 3.5 7.5 7 11M4 7.5h8a4.5 4.5 0 0 1 0 9H8",
  redo: "M13 4l3.5 3.5L13 11M16 7.5H8a4.5 4.5 0 0 0 0 9h4",
  plus: "M10 4v12M4 10h12", minus: "M4 10h12",
  full: "M3 8V3h5M12 3h5v5M17 12v5h-5M8 17H3v-5",
  sun: "M10 6.5a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7zM10 2v1.5M10 16.5V18M2 10h1.5M16.5 10H18M4.3 4.3l1.1 1.1M14.6 14.6l1.1 1.1M4.3 15.7l1.1-1.1M14.6 5.4l1.1-1.1",
  search: "M9 3.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11zM13 13l4 4",
  close: "M5 5l10 10M15 5 5 15", check: "M4 10.5 8 14.5 16 6", open: "M8 4H4v12h12v-4M11 4h5v5M16 4l-7 7",
};

/** @param {{name: string}} props */
export const Icon = ({ name }) =>
  html`<svg class="icon" viewBox="0 0 20 20" aria-hidden="true" focusable="false"><path d=${PATHS[name]} /></svg>`;
