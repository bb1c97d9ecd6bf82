/**
 * Preferences of one person on one computer: name, theme, single keys. Blocked storage only forgets them.
 */

const PREFIX = "kiyome:";

/** @param {string} name @param {string} value */
export function setPreference(name, value) {
  try {
    localStorage.setItem(PREFIX + name, value);
  } catch {
    // private windows may block it
  }
}

/** @param {string} name */
export function preference(name) {
  try {
    return localStorage.getItem(PREFIX + name);
  } catch {
    return null;
  }
}

/** "system", "light" or "dark" for the whole page. @param {string | null} theme */
export function applyTheme(theme) {
  const root = document.documentElement;
  if (theme === "light" || theme === "dark") root.dataset.theme = theme;
  else delete root.dataset.theme;
}
