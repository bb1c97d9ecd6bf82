/**
 * The photo: inserted already decoded; zoom at the pointer, pan by drag, brightness.
 */
import { Icon } from "./icons.js";
import { SIDES } from "./photos.js";
import { use } from "./store.js";
import { html, useEffect, useLayoutEffect, useRef } from "./vendor/preact-htm.js";
import { count } from "./format.js";

/** @import { Changed, Point, Row, Session } from "./types.js" */

const STEP = 1.5;
const DOUBLE_CLICK = 3;
const RETRY_AFTER = 2000;

/** Enter or leave full screen. */
export function toggleFullScreen() {
  if (document.fullscreenElement) document.exitFullscreen();
  else document.documentElement.requestFullscreen?.().catch(() => {});
}

/** @param {{session: Session, row: Row | undefined}} props */
export function Photo({ session, row }) {
  const stage = useRef();
  const holder = useRef();
  const [zoom, pan, brightness] = use(session.store, (state) => [state.zoom, state.pan, state.brightness]);
  const number = row?.row;

  useLayoutEffect(() => watchSize(stage.current, session), []);
  useLayoutEffect(() => (number === undefined ? clear(holder.current) : put(session, holder.current, number)), [number]);
  useEffect(() => { if (zoom > 1 && number !== undefined) sharpen(session, holder.current, number); }, [zoom > 1, number]);
  useLayoutEffect(() => {
    holder.current.style.transform = zoom === 1 ? "" : `translate(${pan[0]}px, ${pan[1]}px) scale(${zoom})`;
    holder.current.style.filter = brightness === 1 ? "" : `brightness(${brightness})`;
  }, [zoom, pan, brightness]);
  useEffect(() => pointers(stage.current, session), []);

  return html`<figure class=${zoom > 1 ? "stage zoomed" : "stage"} ref=${stage} aria-label=${row ? `Photo ${row.id}` : "No photo"}>
    <div class="holder" ref=${holder}></div>
  </figure>`;
}

/** @param {HTMLElement} stage @param {Session} session */
function watchSize(stage, session) {
  const measure = () => session.setStageSize(Math.max(stage.clientWidth, stage.clientHeight) * devicePixelRatio);
  const observer = new ResizeObserver(measure);
  observer.observe(stage);
  measure();
  return () => observer.disconnect();
}

/** @param {HTMLElement} holder */
const clear = (holder) => holder.replaceChildren();

/**
 * Insert the photo now if it is decoded, else as soon as it is, unless another row is shown by then.
 * @param {Session} session
 * @param {HTMLElement} holder
 * @param {number} row
 */
function put(session, holder, row) {
  holder.dataset.row = String(row);
  const photo = session.photos.photo(row, session.side(), true);
  if (photo.state === "ready") return showImage(holder, photo.image, row);
  clear(holder);
  holder.dataset.state = "loading";
  arrive(session, holder, row, photo);
  return undefined;
}

/**
 * Show a photo when it has loaded; after a failure, try again a few times.
 * @param {Session} session
 * @param {HTMLElement} holder
 * @param {number} row
 * @param {import("./photos.js").Photo} photo
 * @param {number} [tries]
 */
function arrive(session, holder, row, photo, tries = 5) {
  photo.ready.then(() => {
    if (holder.dataset.row !== String(row)) return;
    if (photo.state === "ready") return showImage(holder, photo.image, row);
    showMissing(holder);
    if (!tries) return;
    setTimeout(() => {
      if (holder.dataset.row !== String(row) || !holder.isConnected) return;
      arrive(session, holder, row, session.photos.photo(row, session.side(), true), tries - 1);
    }, RETRY_AFTER);
  });
}

/** @param {HTMLElement} holder @param {HTMLImageElement} image @param {number} row */
function showImage(holder, image, row) {
  image.alt = `Photo of row ${count(row)}`;
  holder.dataset.state = "ready";
  holder.replaceChildren(image);
}

/** @param {HTMLElement} holder */
function showMissing(holder) {
  holder.dataset.state = "failed";
  const message = document.createElement("p");
  message.textContent = "This photo did not load. You can drop or skip it.";
  holder.replaceChildren(message);
}

/**
 * Load an enlarged photo with more pixels.
 * @param {Session} session
 * @param {HTMLElement} holder
 * @param {number} row
 */
function sharpen(session, holder, row) {
  const largest = SIDES[SIDES.length - 1];
  if (session.side() >= largest) return;
  const photo = session.photos.photo(row, largest, true);
  photo.ready.then(() => {
    if (photo.state === "ready" && holder.dataset.row === String(row)) showImage(holder, photo.image, row);
  });
}

/** Wheel, drag, pinch and double click on the stage. @param {HTMLElement} stage @param {Session} session */
function pointers(stage, session) {
  /** @type {Map<number, Point>} */
  const down = new Map();
  /** @param {MouseEvent} event @returns {Point} */
  const at = (event) => {
    const box = stage.getBoundingClientRect();
    return [event.clientX - box.left - box.width / 2, event.clientY - box.top - box.height / 2];
  };

  /** Zoom so that the point under the pointer stays there. @param {number} factor @param {Point} point */
  function zoomAt(factor, [x, y]) {
    const { zoom, pan } = session.store.get();
    const next = Math.max(1, Math.min(16, zoom * factor));
    const ratio = next / zoom;
    /** @type {Point} */
    const moved = [x - ratio * (x - pan[0]), y - ratio * (y - pan[1])];
    session.set({ zoom: next, pan: next === 1 ? [0, 0] : inside(moved, next) });
  }

  /** @param {Point} point @param {number} zoom @returns {Point} */
  const inside = ([x, y], zoom) => {
    const [right, bottom] = [(stage.clientWidth * (zoom - 1)) / 2, (stage.clientHeight * (zoom - 1)) / 2];
    return [Math.max(-right, Math.min(right, x)), Math.max(-bottom, Math.min(bottom, y))];
  };

  /** @param {WheelEvent} event */
  const wheel = (event) => {
    event.preventDefault();
    zoomAt(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.002)), at(event));
  };
  /** @param {PointerEvent} event */
  const press = (event) => {
    if (event.target instanceof Element && event.target.closest("button, input")) return;
    down.set(event.pointerId, at(event));
    stage.setPointerCapture(event.pointerId);
  };
  /** @param {PointerEvent} event */
  const drag = (event) => {
    const before = down.get(event.pointerId);
    if (!before) return;
    const now = at(event);
    const other = [...down].find(([id]) => id !== event.pointerId)?.[1];
    if (other && down.size === 2) {
      zoomAt(distance(now, other) / Math.max(1, distance(before, other)), middle(now, other));
    } else {
      const { zoom, pan } = session.store.get();
      if (zoom > 1) session.set({ pan: inside([pan[0] + now[0] - before[0], pan[1] + now[1] - before[1]], zoom) });
    }
    down.set(event.pointerId, now);
  };
  /** @param {PointerEvent} event */
  const lift = (event) => down.delete(event.pointerId);
  /** @param {MouseEvent} event */
  const twice = (event) => {
    if (session.store.get().zoom > 1) session.set({ zoom: 1, pan: [0, 0] });
    else zoomAt(DOUBLE_CLICK, at(event));
  };

  /** @type {Object<string, (event: any) => void>} */
  const handlers = { wheel, pointerdown: press, pointermove: drag, pointerup: lift, pointercancel: lift, dblclick: twice };
  for (const [name, handle] of Object.entries(handlers)) stage.addEventListener(name, handle, { passive: false });
  return () => { for (const [name, handle] of Object.entries(handlers)) stage.removeEventListener(name, handle); };
}

/** @param {Point} one @param {Point} other */
const distance = ([a, b], [x, y]) => Math.hypot(a - x, b - y);
/** @param {Point} one @param {Point} other @returns {Point} */
const middle = ([a, b], [x, y]) => [(a + x) / 2, (b + y) / 2];

/** Buttons under the photo for zoom, brightness and full screen. @param {{session: Session}} props */
export function PhotoTools({ session }) {
  const [zoom, brightness] = use(session.store, (state) => [state.zoom, state.brightness]);
  return html`<div class="tools" role="group" aria-label="View of the photo">
    <button onClick=${() => session.zoomBy(1 / STEP)} disabled=${zoom === 1} aria-label="Smaller" title="Smaller (−)"><${Icon} name="minus" /></button>
    <button class="level" onClick=${() => session.set({ zoom: 1, pan: [0, 0] })} title="Whole photo (0)">${zoom === 1 ? "Fit" : `${zoom.toFixed(1)} ×`}</button>
    <button onClick=${() => session.zoomBy(STEP)} aria-label="Larger" title="Larger (+)"><${Icon} name="plus" /></button>
    <label class="brightness" title="Brightness; double click to reset"><${Icon} name="sun" /><span class="unseen">Brightness</span>
      <input type="range" min="0.4" max="2.5" step="0.05" value=${brightness}
        onInput=${(/** @type {Changed} */ event) => session.set({ brightness: Number(event.target.value) })} onDblClick=${() => session.set({ brightness: 1 })} /></label>
    <button onClick=${toggleFullScreen} aria-label="Full screen" title="Full screen (F)"><${Icon} name="full" /></button>
  </div>`;
}
