/**
 * The state of the page, and a hook that renders again only where the chosen part changed.
 */
import { useLayoutEffect, useReducer, useRef } from "./vendor/preact-htm.js";

/**
 * @template T
 * @typedef {{get: () => T, set: (change: Partial<T>) => void, watch: (watcher: () => void) => () => void}} Store
 */

/**
 * @template T
 * @param {T} state
 * @returns {Store<T>}
 */
export function makeStore(state) {
  /** @type {Set<() => void>} */
  const watchers = new Set();
  return {
    get: () => state,
    set(change) {
      state = { ...state, ...change };
      for (const watch of [...watchers]) watch();
    },
    watch(watcher) {
      watchers.add(watcher);
      return () => { watchers.delete(watcher); };
    },
  };
}

/** @param {any} a @param {any} b */
const same = (a, b) =>
  Object.is(a, b) ||
  (Array.isArray(a) && Array.isArray(b) && a.length === b.length && a.every((each, k) => Object.is(each, b[k])));

/**
 * The part of the store that `choose` returns; arrays are equal if their items are.
 * @template State
 * @template const Chosen
 * @param {Store<State>} store
 * @param {(state: State) => Chosen} choose
 * @returns {Chosen}
 */
export function use(store, choose) {
  const [, draw] = useReducer((count) => count + 1, 0);
  const shown = useRef();
  const chooser = useRef(choose);
  chooser.current = choose;
  const now = choose(store.get());
  if (!same(shown.current, now)) shown.current = now;
  useLayoutEffect(() => store.watch(() => {
    if (!same(shown.current, chooser.current(store.get()))) draw();
  }), [store]);
  return shown.current;
}
