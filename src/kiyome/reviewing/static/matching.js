/**
 * Which names fit what was typed. Pure.
 */

/** @import { Classes } from "./types.js" */

/** @param {string} text */
const plain = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();

/**
 * The names that fit what was typed, best first; all of them, as they come, where nothing was.
 * @param {Classes} classes @param {string} typed
 */
export function matching(classes, typed) {
  const wanted = plain(typed.trim());
  if (!wanted) return classes;
  /** @type {Classes[]} */
  const ranks = [[], [], []];
  for (const each of classes) {
    const name = plain(each[0]);
    const place = name.indexOf(wanted);
    if (place < 0) continue;
    const rank = place === 0 ? 0 : /[\s_\-/.]/.test(name[place - 1]) ? 1 : 2;
    ranks[rank].push(each);
  }
  return ranks.flat();
}
