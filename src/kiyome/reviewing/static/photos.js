/**
 * Photos, decoded before they are needed: the next image is a node that only has to be put into the page.
 */
import { photoAddress } from "./api.js";

export const SIDES = [800, 1600, 3200];
const KEPT = 24;

/** @typedef {{image: HTMLImageElement, ready: Promise<void>, state: "coming" | "ready" | "failed"}} Photo */

/** The smallest side that fills so many device pixels. @param {number} pixels */
export function sideFor(pixels) {
  return SIDES.find((side) => side >= pixels) ?? SIDES[SIDES.length - 1];
}

export function makePhotos() {
  /** @type {Map<string, Photo>} */
  const kept = new Map();

  /** The photo of a row, on its way or here. @param {number} row @param {number} side @param {boolean} [hurry] */
  function photo(row, side, hurry = false) {
    const name = `${row} ${side}`;
    const known = kept.get(name);
    if (known && known.state !== "failed") {
      kept.delete(name);
      kept.set(name, known);
      return known;
    }
    const made = load(row, side, hurry);
    kept.set(name, made);
    for (const old of kept.keys()) {
      if (kept.size <= KEPT) break;
      kept.delete(old);
    }
    return made;
  }

  return { photo };
}

/** @param {number} row @param {number} side @param {boolean} hurry */
function load(row, side, hurry) {
  const image = new Image();
  image.decoding = "sync";
  image.fetchPriority = hurry ? "high" : "low";
  image.draggable = false;
  image.src = photoAddress(row, side);
  /** @type {Photo} */
  const made = { image, state: "coming", ready: Promise.resolve() };
  made.ready = image.decode().then(
    () => { made.state = "ready"; },
    () => { made.state = "failed"; },
  );
  return made;
}
