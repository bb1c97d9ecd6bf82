/**
 * Every state of the page is an address, and every address a state. Pure: no window in here.
 */

/** @import { Address } from "./types.js" */

export const VIEWS = ["one", "grid", "map", "people"];
export const FILTERS = [
  "order", "given", "likely", "flagged", "state", "verdict", "reviewer", "min_chance", "max_chance", "search",
];
/** @type {Address} */
const PLAIN = { view: "one", state: "open", reading: "likely" };
const KNOWN = ["view", ...FILTERS, "row", "reading"];

/**
 * The state that an address names; what it leaves out has its plain value.
 * @param {string} search  as in `location.search`
 * @returns {Address}
 */
export function readAddress(search) {
  const asked = new URLSearchParams(search);
  const state = { ...PLAIN };
  for (const name of KNOWN) {
    const value = asked.get(name);
    if (value) state[name] = value;
  }
  if (!VIEWS.includes(state.view)) state.view = PLAIN.view;
  if (!/^\d{1,12}$/.test(state.row ?? "")) delete state.row;
  return state;
}

/**
 * The shortest address of a state.
 * @param {Address} state
 */
export function writeAddress(state) {
  const said = new URLSearchParams();
  for (const name of KNOWN) if (state[name] && state[name] !== PLAIN[name]) said.set(name, state[name]);
  const text = said.toString();
  return text ? `/?${text}` : "/";
}

/** The part of a state that the server's queue understands, as parameters of a request. @param {Address} state */
export function filtersOf(state) {
  return Object.fromEntries(FILTERS.filter((name) => state[name]).map((name) => [name, state[name]]));
}

/** Filters that narrow or reorder the plain list, for the chips that name them. @param {Address} state */
export function narrowing(state) {
  return FILTERS.filter((name) => state[name] && state[name] !== PLAIN[name]);
}

/**
 * The state without one filter, or without any: what its cross does.
 * @param {Address} state
 * @param {string[]} names
 */
export function without(state, names) {
  const rest = { ...state };
  for (const name of names) {
    delete rest[name];
    if (PLAIN[name]) rest[name] = PLAIN[name];
  }
  return rest;
}
