/**
 * What one person likes on one computer: name, light or dark, single keys. A blocked storage forgets, no more.
 */

const PREFIX = "kiyome:";

/** @param {string} name @param {string} value */
export function prefer(name, value) {
  try {
    localStorage.setItem(PREFIX + name, value);
  } catch {
    // private windows may refuse
  }
}

/** @param {string} name */
export function preferred(name) {
  try {
    return localStorage.getItem(PREFIX + name);
  } catch {
    return null;
  }
}

/** "system", "light" or "dark" for the whole page. @param {string | null} theme */
export function wear(theme) {
  const root = document.documentElement;
  if (theme === "light" || theme === "dark") root.dataset.theme = theme;
  else delete root.dataset.theme;
}
