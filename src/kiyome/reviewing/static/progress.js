/**
 * Progress of the review, read again and again while the page is visible.
 */
import { readProgress } from "./api.js";

/** @import { StateStore } from "./types.js" */

const AFTER_A_DECISION = 800;
const EVERY = 20000;

/** @param {StateStore} store */
export function makeProgress({ get, set }) {
  let timer = 0;

  /** Read it after so many milliseconds, and regularly from then on. @param {number} [wait] */
  function progressSoon(wait = AFTER_A_DECISION) {
    clearTimeout(timer);
    timer = setTimeout(async () => {
      if (document.visibilityState === "visible" && get().me) {
        await readProgress(get().me).then((progress) => set({ progress }), () => {});
      }
      progressSoon(EVERY);
    }, wait);
  }

  return { progressSoon };
}
