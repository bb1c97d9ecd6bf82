/**
 * Class names that match a typed text. Pure.
 */

/** @import { Classes } from "./types.js" */

/** @param {string} text */
const plain = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();

/**
 * The names that match a typed text, best first; all of them in their order without a text.
 * @param {Classes} classes @param {string} typed
 */
export function matching(classes, typed) {
  const wanted = plain(typed.trim());
  if (!wanted) return classes;
  /** @type {Classes[]} */
  const ranks = [[], [], []];
  for (const each of classes) {
    const name = plain(each[0]);
    const start = name.indexOf(wanted);
    if (start < 0) continue;
    const rank = start === 0 ? 0 : /[\s_\-/.]/.test(name[start - 1]) ? 1 : 2;
    ranks[rank].push(each);
  }
  return ranks.flat();
}
