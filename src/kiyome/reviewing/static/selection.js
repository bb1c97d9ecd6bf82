/**
 * Which photos of the grid are selected.
 */
import { count, rows as rowsWords } from "./words.js";

/** @import { List, StateStore } from "./types.js" */

const MOST_AT_ONCE = 5000;

/** @param {{store: StateStore, list: List, notify: (text: string) => void}} hands */
export function makeSelection({ store, list, notify }) {
  const { get, set } = store;

  const selectedRows = () => [...get().selected].flatMap((row) => list.get(row) ?? []);

  async function selectAll() {
    const last = Math.min(list.total, MOST_AT_ONCE) - 1;
    await list.ensure(0, { behind: 0, ahead: last });
    set({ selected: new Set(list.between(0, last)) });
    const cut = list.total > MOST_AT_ONCE ? ` of ${count(list.total)}: more are not taken at once` : "";
    notify(`${rowsWords(get().selected.size)} selected${cut}.`);
  }

  /** @param {number[]} rows */
  const select = (rows) => set({ selected: new Set(rows) });

  /** @param {number} row */
  function toggle(row) {
    const selected = new Set(get().selected);
    if (!selected.delete(row)) selected.add(row);
    set({ selected });
  }

  return { select, selectAll, selectedRows, toggle };
}
