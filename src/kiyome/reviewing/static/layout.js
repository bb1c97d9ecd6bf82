/**
 * How the grid's tiles fill their box. Pure.
 */

export const GAP = 10;
const CAPTION = 42;

/** Columns of square tiles of at least the smallest side. @param {number} width @param {number} smallest */
export function layout(width, smallest) {
  const columns = Math.max(2, Math.floor((width + GAP) / (smallest + GAP)));
  const side = Math.floor((width - GAP * (columns - 1)) / columns);
  return { columns, side, height: side + CAPTION + GAP };
}
