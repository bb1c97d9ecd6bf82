/**
 * The list that one works through: a frozen order on the server, read 200 rows at a time ahead of need.
 */
import { readQueue } from "./api.js";

/** @import { At, Page, Params, Refusal, Row } from "./types.js" */

const PAGE = 200;
const AHEAD = 100;

/** @param {{onChange: () => void, onExpired: () => void, onTrouble: (error: Refusal) => void}} options */
export function makeRows({ onChange, onExpired, onTrouble }) {
  /** @type {Params & {queue?: string}} */
  let params = {};
  /** @type {number[]} */
  let order = [];
  let total = 0;
  let age = 0;
  /** @type {Map<number, Promise<void>>} */
  let asked = new Map();
  /** @type {Map<number, Row>} */
  const known = new Map();

  /**
   * Ask for a list, and for the page of it that holds `at`; answers the place of `at`, or -1.
   * @param {Params} filters
   * @param {{queue?: string, at?: At}} options
   */
  async function open(filters, { queue, at } = {}) {
    const mine = ++age;
    const first = await readQueue({ ...filters, queue, at, count: PAGE });
    if (mine !== age) return null;
    params = { ...filters, queue: first.queue };
    total = first.total;
    order = [];
    asked = new Map();
    take(first);
    onChange();
    return at === undefined ? 0 : order.indexOf(Number(at));
  }

  /** @param {Page} page */
  function take(page) {
    page.rows.forEach((row, place) => {
      order[page.start + place] = row.row;
      known.set(row.row, { ...known.get(row.row), ...row });
    });
  }

  /**
   * Read what is missing around a place, and the page after it before it is needed.
   * @param {number} place
   * @param {{behind?: number, ahead?: number}} options
   */
  async function ensure(place, { behind = 20, ahead = AHEAD } = {}) {
    const last = Math.min(place + ahead, total - 1);
    const reads = [];
    for (let start = Math.max(0, place - behind); start <= last; start += 1) {
      if (order[start] !== undefined) continue;
      const page = Math.floor(start / PAGE) * PAGE;
      if (!asked.has(page)) asked.set(page, read(page));
      reads.push(asked.get(page));
      start = page + PAGE - 1;
    }
    await Promise.all(reads);
  }

  /** @param {number} start */
  async function read(start) {
    const mine = age;
    try {
      const page = await readQueue({ ...params, start, count: PAGE });
      if (mine !== age) return;
      take(page);
      onChange();
    } catch (/** @type {any} */ error) {
      if (mine !== age) return;
      asked.delete(start);
      if (error.status === 410) onExpired();
      else onTrouble(error);
    }
  }

  /**
   * Change what is known of rows, [row, change] each; old objects stay as they were.
   * @param {[number, Partial<Row>][]} changes
   */
  function update(changes) {
    for (const [row, change] of changes) known.set(row, /** @type {Row} */ ({ ...known.get(row), ...change }));
    onChange();
  }

  return {
    open, ensure, update,
    /** @param {number} place */
    at: (place) => known.get(order[place]),
    /** @param {number} row */
    get: (row) => known.get(row),
    /** @param {number} row */
    placeOf: (row) => order.indexOf(row),
    /** Rows in sight of the list so far, in its order. @param {number} from @param {number} to */
    between: (from, to) => order.slice(Math.min(from, to), Math.max(from, to) + 1),
    get total() { return total; },
    get queue() { return params.queue; },
  };
}
