/**
 * The selected photos of the grid.
 */
import { count, rows as rowsText } from "./format.js";

/** @import { List, StateStore } from "./types.js" */

const MOST_AT_ONCE = 5000;

/** @param {{store: StateStore, list: List, notify: (text: string) => void}} parts */
export function makeSelection({ store, list, notify }) {
  const { get, set } = store;

  const selectedRows = () => [...get().selected].flatMap((row) => list.get(row) ?? []);

  async function selectAll() {
    const last = Math.min(list.total, MOST_AT_ONCE) - 1;
    await list.ensure(0, { behind: 0, ahead: last });
    set({ selected: new Set(list.between(0, last)) });
    const cut = list.total > MOST_AT_ONCE ? ` of ${count(list.total)}, the most that one decision can have` : "";
    notify(`${rowsText(get().selected.size)} selected${cut}.`);
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
