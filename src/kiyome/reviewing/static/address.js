/**
 * Every state of the page is an address, and every address a state. Pure: no window in here.
 */

export const VIEWS = ["one", "grid", "map", "people"];
export const FILTERS = [
  "order", "given", "likely", "flagged", "state", "verdict", "reviewer", "min_chance", "max_chance", "search",
];
const PLAIN = { view: "one", state: "open", reading: "likely" };
const KNOWN = ["view", ...FILTERS, "row", "reading"];

/**
 * The state that an address names; what it leaves out has its plain value.
 * @param {string} search  as in `location.search`
 * @returns {Object<string, string>}
 */
export function readAddress(search) {
  const asked = new URLSearchParams(search);
  const state = { ...PLAIN };
  for (const name of KNOWN) if (asked.get(name)) state[name] = asked.get(name);
  if (!VIEWS.includes(state.view)) state.view = PLAIN.view;
  if (!/^\d{1,12}$/.test(state.row ?? "")) delete state.row;
  return state;
}

/**
 * The shortest address of a state.
 * @param {Object<string, string>} state
 */
export function writeAddress(state) {
  const said = new URLSearchParams();
  for (const name of KNOWN) if (state[name] && state[name] !== PLAIN[name]) said.set(name, state[name]);
  const text = said.toString();
  return text ? `/?${text}` : "/";
}

/** The part of a state that the server's queue understands, as parameters of a request. */
export function filtersOf(state) {
  return Object.fromEntries(FILTERS.filter((name) => state[name]).map((name) => [name, state[name]]));
}

/** Filters that narrow or reorder the plain list, for the chips that name them. */
export function narrowing(state) {
  return FILTERS.filter((name) => state[name] && state[name] !== PLAIN[name]);
}

/** The state without one filter, or without any: what its cross does. */
export function without(state, names) {
  const rest = { ...state };
  for (const name of names) {
    delete rest[name];
    if (PLAIN[name]) rest[name] = PLAIN[name];
  }
  return rest;
}
