/**
 * Every state of the page has an address, and every address is a state. Pure: no window here.
 */

/** @import { Address } from "./types.js" */

export const VIEWS = ["one", "grid", "map", "people"];
export const FILTERS = [
  "order", "split", "given", "likely", "flagged", "none", "state", "verdict", "reviewer", "min_chance", "max_chance", "search",
];
/** @type {Address} */
const DEFAULTS = { view: "one", state: "open", reading: "likely" };
const KNOWN = ["view", ...FILTERS, "row", "reading"];

/**
 * The state of an address; what is not in it has its default.
 * @param {string} search  as in `location.search`
 * @returns {Address}
 */
export function readAddress(search) {
  const query = new URLSearchParams(search);
  const state = { ...DEFAULTS };
  for (const name of KNOWN) {
    const value = query.get(name);
    if (value) state[name] = value;
  }
  if (!VIEWS.includes(state.view)) state.view = DEFAULTS.view;
  if (!/^\d{1,12}$/.test(state.row ?? "")) delete state.row;
  return state;
}

/**
 * The shortest address of a state.
 * @param {Address} state
 */
export function writeAddress(state) {
  const query = new URLSearchParams();
  for (const name of KNOWN) if (state[name] && state[name] !== DEFAULTS[name]) query.set(name, state[name]);
  const text = query.toString();
  return text ? `/?${text}` : "/";
}

/** The filters of the server's queue in a state, as parameters of a request. @param {Address} state */
export function filtersOf(state) {
  return Object.fromEntries(FILTERS.filter((name) => state[name]).map((name) => [name, state[name]]));
}

/** Names of filters that are not at their default, for the chips. @param {Address} state */
export function narrowing(state) {
  return FILTERS.filter((name) => state[name] && state[name] !== DEFAULTS[name]);
}

/**
 * The state without these filters.
 * @param {Address} state
 * @param {string[]} names
 */
export function without(state, names) {
  const rest = { ...state };
  for (const name of names) {
    delete rest[name];
    if (DEFAULTS[name]) rest[name] = DEFAULTS[name];
  }
  return rest;
}
