/**
 * Photos, decoded before they are needed: the next image is a node, ready to be inserted into the page.
 */
import { photoAddress } from "./api.js";

export const SIDES = [800, 1600, 3200];
const CACHED = 24;

/** @typedef {{image: HTMLImageElement, ready: Promise<void>, state: "loading" | "ready" | "failed"}} Photo */

/** The smallest side with so many device pixels. @param {number} pixels */
export function sideFor(pixels) {
  return SIDES.find((side) => side >= pixels) ?? SIDES[SIDES.length - 1];
}

export function makePhotos() {
  /** @type {Map<string, Photo>} */
  const cache = new Map();

  /** The photo of a row, loading or ready. @param {number} row @param {number} side @param {boolean} [urgent] */
  function photo(row, side, urgent = false) {
    const name = `${row} ${side}`;
    const known = cache.get(name);
    if (known && known.state !== "failed") {
      cache.delete(name);
      cache.set(name, known);
      return known;
    }
    const made = load(row, side, urgent);
    cache.set(name, made);
    for (const old of cache.keys()) {
      if (cache.size <= CACHED) break;
      cache.delete(old);
    }
    return made;
  }

  return { photo };
}

/** @param {number} row @param {number} side @param {boolean} urgent */
function load(row, side, urgent) {
  const image = new Image();
  image.decoding = "sync";
  image.fetchPriority = urgent ? "high" : "low";
  image.draggable = false;
  image.src = photoAddress(row, side);
  /** @type {Photo} */
  const made = { image, state: "loading", ready: Promise.resolve() };
  made.ready = image.decode().then(
    () => { made.state = "ready"; },
    () => { made.state = "failed"; },
  );
  return made;
}
