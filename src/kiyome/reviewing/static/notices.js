/**
 * Notices that disappear by themselves, and announcements for screen readers.
 */

/** @import { Button, StateStore } from "./types.js" */

/** @param {StateStore} store */
export function makeNotices({ set }) {
  let timer = 0;

  /** @param {string} text @param {Button | null} [button] */
  function notify(text, button = null) {
    clearTimeout(timer);
    set({ notice: { text, button } });
    timer = setTimeout(() => set({ notice: null }), button ? 12000 : 6000);
  }

  /** @param {string} announcement */
  function announce(announcement) {
    set({ announcement, notice: null });
  }

  return { notify, announce };
}
