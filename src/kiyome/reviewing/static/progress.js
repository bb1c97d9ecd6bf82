/**
 * Progress of the review and its outlook, read again and again while the page is visible.
 */
import { readOutlook, readProgress } from "./api.js";

/** @import { Review, StateStore } from "./types.js" */

const AFTER_A_DECISION = 800;
const EVERY = 20000;

/** @param {StateStore} store @param {Review} review */
export function makeProgress({ get, set }, { blind }) {
  let timer = 0;

  /** Read it after so many milliseconds, and regularly from then on. @param {number} [wait] */
  function progressSoon(wait = AFTER_A_DECISION) {
    clearTimeout(timer);
    timer = setTimeout(async () => {
      if (document.visibilityState === "visible" && get().me) {
        await readProgress(get().me).then((progress) => set({ progress }), () => {});
        if (!blind) await readOutlook().then((outlook) => set({ outlook }), () => {});
      }
      progressSoon(EVERY);
    }, wait);
  }

  return { progressSoon };
}
