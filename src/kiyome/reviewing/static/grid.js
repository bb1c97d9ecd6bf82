/**
 * Many photos at once: select by click, drag or keys, and decide all of them. Only visible tiles are in the page.
 */
import { thumbnailAddress } from "./api.js";
import { Empty } from "./one.js";
import { Icon } from "./icons.js";
import { GAP, layout } from "./layout.js";
import { use } from "./store.js";
import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "./vendor/preact-htm.js";
import { count, decisionText, rows as rowsText } from "./format.js";

/** @import { Session, Choice } from "./types.js" */

const SMALLEST = { wide: 168, narrow: 108 };
const SPARE_ROWS = 2;

/** @param {{session: Session}} props */
export function Grid({ session }) {
  const [total, tick] = use(session.store, (state) => [state.total, state.tick]);
  const box = useRef();
  const [{ width, height, top }, setSight] = useState({ width: 0, height: 0, top: 0 });
  const handlers = useMemo(() => selecting(session, box), []);
  const narrow = width < 560;
  const shape = layout(Math.max(200, width), narrow ? SMALLEST.narrow : SMALLEST.wide);

  useLayoutEffect(() => {
    if (!box.current) return undefined;
    const look = () => {
      const { clientWidth, clientHeight, scrollTop } = box.current;
      const style = getComputedStyle(box.current);
      setSight({ width: clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight), height: clientHeight, top: scrollTop });
    };
    const observer = new ResizeObserver(look);
    observer.observe(box.current);
    box.current.addEventListener("scroll", look, { passive: true });
    look();
    return () => observer.disconnect();
  }, [total === 0]);
  useEffect(() => session.set({ columns: shape.columns }), [shape.columns]);
  useFollow(session, box, shape, width);

  const first = Math.max(0, (Math.floor(top / shape.height) - SPARE_ROWS) * shape.columns);
  const last = Math.min((total ?? 0) - 1, first + (Math.ceil(height / shape.height) + 2 * SPARE_ROWS) * shape.columns - 1);
  useEffect(() => { if (total && width) session.list.ensure(first, { behind: 0, ahead: last - first + 100 }); }, [first, last, total]);

  if (total === 0) return html`<${Empty} session=${session} />`;
  const indices = width ? Array.from({ length: Math.max(0, last - first + 1) }, (_, k) => first + k) : [];
  return html`<div class="grid-view">
    <${Bulk} session=${session} />
    <div class="grid" ref=${box} role="listbox" aria-multiselectable="true" tabindex="0" aria-label="Photos" aria-describedby="grid-how" id="grid"
      ...${handlers}>
      <div class="sheet" style=${{ height: `${Math.ceil((total ?? 0) / shape.columns) * shape.height}px` }}>
        <div class="tiles" style=${{ transform: `translateY(${(first / shape.columns) * shape.height}px)`, "grid-template-columns": `repeat(${shape.columns}, ${shape.side}px)`, "grid-auto-rows": `${shape.height - GAP}px` }}>
          ${indices.map((index) => html`<${Tile} key=${index} session=${session} index=${index} side=${shape.side} total=${total} tick=${tick} />`)}
        </div>
      </div>
    </div>
    <p class="unseen" id="grid-how">Arrows move, Space selects, Shift with arrows selects while moving, O opens.</p>
  </div>`;
}

/**
 * Keep the current photo visible, and name it to screen readers.
 * @param {Session} session
 * @param {{current: HTMLElement}} box
 * @param {ReturnType<typeof layout>} shape
 * @param {number} width
 */
function useFollow(session, box, shape, width) {
  const [position, total] = use(session.store, (state) => [state.position, state.total]);
  useLayoutEffect(() => {
    const grid = box.current;
    if (!grid || !width || !total) return;
    const top = Math.floor(position / shape.columns) * shape.height;
    if (top < grid.scrollTop) grid.scrollTop = top;
    else if (top + shape.height > grid.scrollTop + grid.clientHeight) grid.scrollTop = top + shape.height - grid.clientHeight + GAP;
    grid.setAttribute("aria-activedescendant", `tile-${position}`);
  }, [position, width > 0, total, shape.columns]);
}

/** @param {{session: Session, index: number, side: number, total: number | null}} props */
function Tile({ session, index, side, total }) {
  const row = session.list.at(index);
  const [selected, here] = use(session.store, (state) => [row ? state.selected.has(row.row) : false, state.position === index]);
  if (!row) return html`<div class="tile loading" id=${`tile-${index}`} role="option" aria-selected="false"></div>`;
  const text = decisionText(row.mine);
  const { blind } = session.review;
  const name = [row.split, blind ? `Photo ${index + 1}` : `given ${row.given}, likely ${row.suggested}`, text].filter(Boolean).join(", ");
  return html`<div class=${`tile${here ? " here" : ""}`} id=${`tile-${index}`} role="option" aria-selected=${String(selected)} aria-label=${name}
      aria-posinset=${index + 1} aria-setsize=${total} data-index=${index} data-row=${row.row}>
    <div class="thumb" style=${{ height: `${side}px` }}>
      <img key=${row.row} src=${thumbnailAddress(row.row)} alt="" decoding="async" draggable=${false} />
      ${text && html`<span class=${`verdict ${row.mine?.verdict}`}><bdi>${text}</bdi></span>`}
      ${row.split && row.split !== "train" && html`<span class="split">${row.split}</span>`}
      <span class="tick"><${Icon} name="check" /></span>
      <button class="open" tabindex="-1" aria-label="Open" title="Open (O)" data-open=${index}><${Icon} name="open" /></button>
    </div>
    ${!blind && html`<p><bdi>${row.given}</bdi>${row.suggested !== row.given && html`<br /><span class="soft">→ <bdi>${row.suggested}</bdi></span>`}</p>`}
  </div>`;
}

/** What to do with all that is selected. @param {{session: Session}} props */
function Bulk({ session }) {
  const [selected, total] = use(session.store, (state) => [state.selected.size, state.total]);
  const { blind } = session.review;
  /** @param {Choice} choice @param {string} key @param {string} label */
  const button = (choice, key, label) => html`<button class=${`act ${choice}`} disabled=${!selected} onMouseDown=${(/** @type {Event} */ event) => event.preventDefault()} onClick=${() => session.act(choice)}>${label}<kbd aria-hidden="true">${key}</kbd></button>`;
  return html`<div class="bulk" role="toolbar" aria-label="Decide on the selected photos">
    <span class="selected" role="status">${selected ? `${count(selected)} selected` : total === null ? "…" : rowsText(total)}</span>
    ${selected ? html`<button class="plain" onClick=${() => session.select([])}>None</button>` : html`<button class="plain" onClick=${session.selectAll}>Select all</button>`}
    <span class="gap"></span>
    ${!blind && button("accept", "Enter", "Accept likely")}
    ${!blind && button("keep", "K", "Keep")}
    <button class="act find" disabled=${!selected} onClick=${() => session.open("classes")}>Class<kbd aria-hidden="true">/</kbd></button>
    ${button("both", "B", "Both")}
    ${button("none_of_these", "N", "None of these")}
    ${button("drop", "X", "Drop")}
    ${button("unsure", "U", "Unsure")}
    <button class="square" onClick=${session.undo} aria-label="Undo" title="Undo (Z)"><${Icon} name="undo" /></button>
    <button class="square" onClick=${session.redo} aria-label="Redo" title="Redo (Y)"><${Icon} name="redo" /></button>
  </div>`;
}

/** @param {EventTarget | null} target */
const indexAt = (target) => {
  const tile = target instanceof Element && target.closest("[data-index]");
  return tile ? Number(tile.getAttribute("data-index")) : -1;
};

/**
 * Click, Ctrl or Shift click, double click, and drag with the mouse; with touch, a tap selects.
 * @param {Session} session
 * @param {{current: HTMLElement}} box
 */
function selecting(session, box) {
  let from = -1;
  let base = new Set();
  let swept = false;
  /** @param {number} index */
  const rowAt = (index) => session.list.at(index)?.row;

  /** @param {PointerEvent} event */
  const press = (event) => {
    if (event.pointerType !== "mouse" || event.button) return;
    from = indexAt(event.target);
    swept = false;
    if (from < 0) return;
    base = event.ctrlKey || event.metaKey ? new Set(session.store.get().selected) : new Set();
    /** @param {PointerEvent} moved */
    const over = (moved) => {
      const to = indexAt(document.elementFromPoint(moved.clientX, moved.clientY) ?? box.current);
      if (to < 0 || (to === from && !swept)) return;
      swept = true;
      session.select([...base, ...session.list.between(from, to).filter((row) => row !== undefined)]);
    };
    const end = () => { removeEventListener("pointermove", over); removeEventListener("pointerup", end); };
    addEventListener("pointermove", over);
    addEventListener("pointerup", end);
  };

  /** @param {PointerEvent} event */
  const click = (event) => {
    if (swept) { swept = false; return; }
    const open = event.target instanceof Element && event.target.closest("[data-open]");
    if (open) return openTile(session, Number(open.getAttribute("data-open")));
    const index = indexAt(event.target);
    const row = rowAt(index);
    if (row === undefined) return;
    const { position, anchor } = session.store.get();
    const touch = event.pointerType === "touch";
    if (event.shiftKey) return session.select(session.list.between(anchor ?? position, index).filter((each) => each !== undefined));
    session.move(index, { quiet: true });
    session.set({ anchor: index });
    if (touch || event.ctrlKey || event.metaKey) session.toggle(row);
    else session.select([row]);
  };

  /** @param {MouseEvent} event */
  const twice = (event) => { const index = indexAt(event.target); if (index >= 0) openTile(session, index); };
  return { onPointerDown: press, onClick: click, onDblClick: twice };
}

/** @param {Session} session @param {number} index */
function openTile(session, index) {
  session.move(index, { quiet: true });
  session.setAddress({ view: "one" });
}
