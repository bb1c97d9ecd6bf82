/**
 * The list to review: a snapshot of the queue on the server, read 200 rows at a time in advance.
 */
import { readQueue } from "./api.js";

/** @import { RowParam, Page, Params, ApiError, Row } from "./types.js" */

const PAGE = 200;
const AHEAD = 100;

/** @param {{onChange: () => void, onExpired: () => void, onError: (error: ApiError) => void}} options */
export function makeRows({ onChange, onExpired, onError }) {
  /** @type {Params & {queue?: string}} */
  let params = {};
  /** @type {number[]} */
  let order = [];
  let total = 0;
  let age = 0;
  /** @type {Map<number, Promise<void>>} */
  let reads = new Map();
  /** @type {Map<number, Row>} */
  const known = new Map();

  /**
   * Open a list at the page that contains `at`; returns the index of `at`, or -1.
   * @param {Params} filters
   * @param {{queue?: string, at?: RowParam}} options
   */
  async function open(filters, { queue, at } = {}) {
    const mine = ++age;
    const first = await readQueue({ ...filters, queue, at, count: PAGE });
    if (mine !== age) return null;
    params = { ...filters, queue: first.queue };
    total = first.total;
    order = [];
    reads = new Map();
    add(first);
    onChange();
    return at === undefined ? 0 : order.indexOf(Number(at));
  }

  /** @param {Page} page */
  function add(page) {
    page.rows.forEach((row, index) => {
      order[page.start + index] = row.row;
      known.set(row.row, { ...known.get(row.row), ...row });
    });
  }

  /**
   * Read the missing rows around an index, and the next page in advance.
   * @param {number} index
   * @param {{behind?: number, ahead?: number}} options
   */
  async function ensure(index, { behind = 20, ahead = AHEAD } = {}) {
    const last = Math.min(index + ahead, total - 1);
    const needed = [];
    for (let start = Math.max(0, index - behind); start <= last; start += 1) {
      if (order[start] !== undefined) continue;
      const page = Math.floor(start / PAGE) * PAGE;
      if (!reads.has(page)) reads.set(page, read(page));
      needed.push(reads.get(page));
      start = page + PAGE - 1;
    }
    await Promise.all(needed);
  }

  /** @param {number} start */
  async function read(start) {
    const mine = age;
    try {
      const page = await readQueue({ ...params, start, count: PAGE });
      if (mine !== age) return;
      add(page);
      onChange();
    } catch (/** @type {any} */ error) {
      if (mine !== age) return;
      reads.delete(start);
      if (error.status === 410) onExpired();
      else onError(error);
    }
  }

  /**
   * Change rows, [row, change] each; old objects are not changed.
   * @param {[number, Partial<Row>][]} changes
   */
  function update(changes) {
    for (const [row, change] of changes) known.set(row, /** @type {Row} */ ({ ...known.get(row), ...change }));
    onChange();
  }

  return {
    open, ensure, update,
    /** @param {number} index */
    at: (index) => known.get(order[index]),
    /** @param {number} row */
    get: (row) => known.get(row),
    /** @param {number} row */
    indexOf: (row) => order.indexOf(row),
    /** Rows between two positions, as far as they are known. @param {number} from @param {number} to */
    between: (from, to) => order.slice(Math.min(from, to), Math.max(from, to) + 1),
    get total() { return total; },
    get queue() { return params.queue; },
  };
}
