/**
 * Keys and their actions. One table serves the page and its help; pure apart from reading the focus.
 */

/** Keys for the classes in the order of the list beside the photo; letters without another use. */
export const CLASS_KEYS = [..."123456789", ..."acdehipqrstvw"];

/** @typedef {[action: string, keys: string[], read: string, text: string]} Key   `keys` as in `event.key` */
/** @typedef {{action: string, index?: number, extend?: boolean}} Pressed */

/** @type {Key[]} */
export const KEYS = [
  ["accept", ["Enter"], "Enter", "Accept the likely class"],
  ["keep", ["k"], "K", "Keep the given label"],
  ["both", ["b"], "B", "Both: two classes at once, or rightly disputed"],
  ["none", ["n"], "N", "None of these classes"],
  ["drop", ["x"], "X", "Drop the photo"],
  ["unsure", ["u"], "U", "Unsure"],
  ["search", ["/"], "/", "Find a class by typing"],
  ["undo", ["z"], "Z", "Undo"],
  ["redo", ["y"], "Y", "Redo"],
  ["next", ["ArrowRight", "l"], "→ or L", "Next photo"],
  ["previous", ["ArrowLeft", "j"], "← or J", "Previous photo"],
  ["first", ["Home"], "Home", "First photo of the list"],
  ["last", ["End"], "End", "Last photo of the list"],
  ["zoomIn", ["+", "="], "+", "Larger"],
  ["zoomOut", ["-"], "−", "Smaller"],
  ["zoomFit", ["0"], "0", "Whole photo"],
  ["fullScreen", ["f"], "F", "Full screen"],
  ["grid", ["g"], "G", "Grid, and back"],
  ["map", ["m"], "M", "Map, and back"],
  ["help", ["?"], "?", "This help"],
];

/** Only in the grid, before the table above. @type {Key[]} */
export const GRID_KEYS = [
  ["down", ["ArrowDown"], "↑ ↓ ← →", "Move between photos"],
  ["up", ["ArrowUp"], "", ""],
  ["select", [" "], "Space", "Select or deselect the photo"],
  ["extend", [], "Shift + arrows", "Select while moving"],
  ["selectAll", [], "Ctrl + A", "Select the whole list"],
  ["selectNone", ["Escape"], "Esc", "Select none"],
  ["open", ["o"], "O", "Open the photo"],
];

/** The action of each key of a table. @param {Key[]} table */
const actions = (table) => new Map(table.flatMap(([action, keys]) => keys.map((key) => /** @type {const} */ ([key, action]))));

const COMMANDS = actions(KEYS);
const IN_GRID = actions(GRID_KEYS);
const TYPING = "input:not([type=range], [type=checkbox], [type=radio]), textarea, select, [contenteditable]";
const PRESSED_BY_ENTER = "button, a[href], summary, [role=button]";

/**
 * The action of a key press, or null where it belongs to the browser or to the focused element.
 * @param {KeyboardEvent} event
 * @param {{view: string, singleKeys: boolean}} state
 * @returns {Pressed | null}
 */
export function actionOf(event, { view, singleKeys }) {
  const target = event.target instanceof Element ? event.target : document.body;
  if (event.isComposing || target.matches(TYPING) || target.closest("dialog, [popover]")) return null;
  if (event.ctrlKey || event.metaKey) return withControl(event, view);
  if (event.altKey) return null;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (["Enter", " "].includes(key) && target.closest(PRESSED_BY_ENTER)) return null;
  if (target.matches("input[type=range]") && key.startsWith("Arrow")) return null;
  if (key.length === 1 && key !== " " && !singleKeys) return null;
  const extend = event.shiftKey && key.startsWith("Arrow");
  const inGrid = view === "grid" ? IN_GRID.get(key) : undefined;
  if (inGrid) return { action: inGrid, extend };
  const action = COMMANDS.get(key) ?? "";
  if (event.repeat && !["next", "previous", "zoomIn", "zoomOut"].includes(action)) return null;
  if (action) return { action, extend };
  const index = view === "one" ? CLASS_KEYS.indexOf(key) : -1;
  return index < 0 ? null : { action: "class", index };
}

/** @param {KeyboardEvent} event @param {string} view */
function withControl(event, view) {
  const key = event.key.toLowerCase();
  if (key === "z") return { action: event.shiftKey ? "redo" : "undo" };
  if (key === "y") return { action: "redo" };
  if (key === "a" && view === "grid") return { action: "selectAll" };
  return null;
}
