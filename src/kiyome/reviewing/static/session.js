/**
 * The state of the page and its actions, which the views call; decisions.js has those that decide.
 *
 * address ── rows (snapshot of the queue) ── position ── photo, and the next ones
 */
import * as api from "./api.js";
import { makeDecisions } from "./decisions.js";
import { filtersOf, readAddress, writeAddress } from "./address.js";
import { makeNotices } from "./notices.js";
import { makePhotos, sideFor } from "./photos.js";
import { applyTheme, preference, setPreference } from "./preferences.js";
import { makeProgress } from "./progress.js";
import { makeRows } from "./rows.js";
import { makeSelection } from "./selection.js";
import { makeStore } from "./store.js";
import { count, percent } from "./format.js";

/** @import { Address, RowParam, DialogName, Params, Review, Row, State } from "./types.js" */

const PREFETCHED = 8;
const ADDRESS_WAIT = 150;

/** @param {Review} review */
export function makeSession(review) {
  const store = makeStore(/** @type {State} */ ({
    address: readAddress(location.search),
    me: (preference("name") ?? review.reviewer_suggested ?? "").normalize("NFC"),
    position: 0, solo: null, total: null, tick: 0,
    selected: new Set(), anchor: null, columns: 4, filtersOpen: false,
    unsent: 0, waiting: false, stopped: null,
    announcement: "", notice: null, dialog: null, error: null, progress: null, outlook: null,
    zoom: 1, pan: [0, 0], brightness: 1,
    theme: preference("theme") ?? "system", singleKeys: preference("keys") !== "off",
  }));
  const { get, set } = store;
  const photos = makePhotos();
  const tick = () => set({ tick: get().tick + 1 });
  const list = makeRows({ onChange: tick, onExpired: expired, onError: (error) => set({ error }) });
  const { notify, announce } = makeNotices(store);
  const { progressSoon } = makeProgress(store, review);
  const selection = makeSelection({ store, list, notify });
  let shownAt = performance.now();
  let stage = 900;
  let gapConfirmed = false;

  // ---- the list and the position in it

  /** The row in the address, if any. */
  const addressRow = () => get().address.row;

  /** Open the list at a row, or else at a position. @param {{at?: RowParam, position?: number, fresh?: boolean}} options */
  async function openList({ at, position = 0, fresh = false } = {}) {
    if (!get().me) return set({ dialog: "name" });
    const filters = { ...filtersOf(get().address), me: get().me };
    const name = `kiyome-list:${review.run}:${JSON.stringify(filters)}`;
    const queue = fresh ? undefined : (sessionStorage.getItem(name) ?? undefined);
    set({ total: null, selected: new Set(), error: null });
    try {
      const index = await reopen(filters, queue, at);
      if (index === null) return;
      if (list.queue) sessionStorage.setItem(name, list.queue);
      set({ total: list.total });
      if (at === undefined || index >= 0) move(Math.max(index, position), { quiet: true });
      else await showAlone(Number(at));
    } catch (/** @type {any} */ error) {
      set({ error, total: 0, ...(error.status === 423 ? { dialog: "name" } : {}) });
    }
  }

  /** @param {Params} filters @param {string | undefined} queue @param {RowParam} at */
  async function reopen(filters, queue, at) {
    try {
      return await list.open(filters, { queue, at });
    } catch (/** @type {any} */ error) {
      if (error.status !== 410 && !(queue && error.status)) throw error;
      return await list.open(filters, { at });
    }
  }

  function expired() {
    announce("The list is new: the server no longer had the old one.");
    const at = current()?.row;
    openList({ at, position: at === undefined ? get().position : 0, fresh: true });
  }

  const current = () => get().solo ?? list.at(get().position);

  /** Go to a position in the list. @param {number} index @param {{quiet?: boolean}} options */
  function move(index, { quiet = false } = {}) {
    const position = Math.max(0, Math.min(index, Math.max(0, list.total - 1)));
    list.ensure(position);
    set({ position, solo: null, zoom: 1, pan: [0, 0] });
    shownAt = performance.now();
    prefetch(position);
    addressSoon();
    if (!quiet) announce(rowText());
  }

  /** Show a row that is not in the list. @param {number} row */
  async function showAlone(row) {
    try {
      const details = await api.readRow(row, get().me);
      list.update([[row, details]]);
      set({ solo: list.get(row), zoom: 1, pan: [0, 0] });
      notify("The filters exclude this photo.", { label: "Back to the list", act: () => move(get().position) });
    } catch (/** @type {any} */ error) {
      move(0, { quiet: true });
      notify(error.status === 404 ? `There is no row ${row}.` : error.message);
    }
  }

  /** Go to a row, by its position in the list if it has one. @param {number} row */
  function show(row) {
    const index = list.indexOf(row);
    if (get().address.view !== "one") setAddress({ view: "one" });
    if (index >= 0) move(index);
    else showAlone(row).then(addressSoon);
  }

  /** @param {number} by */
  function step(by) {
    const { position, solo } = get();
    if (solo) return move(position);
    if (by > 0 && review.audit && !gapConfirmed && !current()?.mine?.verdict) return set({ dialog: "gap" });
    if (by > 0 && position >= list.total - 1) return endOfList();
    move(position + by);
  }

  function confirmGap() {
    gapConfirmed = true;
    set({ dialog: null });
    step(1);
  }

  function endOfList() {
    notify("This is the end of the list.", { label: "Update the list", act: () => openList({ fresh: true }) });
  }

  /** @param {number} position */
  function prefetch(position) {
    for (let ahead = 0; ahead <= PREFETCHED; ahead += 1) {
      const row = list.at(position + ahead);
      if (row) photos.photo(row.row, side(), ahead === 0);
    }
    const before = list.at(position - 1);
    if (before) photos.photo(before.row, side());
  }

  /** @param {number} pixels */
  const setStageSize = (pixels) => { stage = pixels; };
  const side = () => sideFor(stage);

  // ---- the address

  let addressTimer = 0;
  const here = () => {
    const row = current()?.row;
    return row === undefined ? get().address : { ...get().address, row: String(row) };
  };

  function addressSoon() {
    clearTimeout(addressTimer);
    addressTimer = setTimeout(() => history.replaceState(null, "", writeAddress(here())), ADDRESS_WAIT);
  }

  /**
   * Go to another view or other filters; the browser can go back.
   * @param {Address} change
   * @param {{replace?: boolean}} options
   */
  function setAddress(change, { replace = false } = {}) {
    clearTimeout(addressTimer);
    history.replaceState(null, "", writeAddress(here()));
    const before = get().address;
    const address = { ...here(), ...change };
    for (const name of Object.keys(address)) if (!address[name]) delete address[name];
    const sameList = JSON.stringify(filtersOf(before)) === JSON.stringify(filtersOf(address));
    if (!sameList) delete address.row;
    history[replace ? "replaceState" : "pushState"](null, "", writeAddress(address));
    set({ address, notice: null });
    if (!sameList) openList();
  }

  function addressChanged() {
    const before = get().address;
    const address = readAddress(location.search);
    set({ address, dialog: null });
    const sameList = JSON.stringify(filtersOf(before)) === JSON.stringify(filtersOf(address));
    const index = address.row === undefined ? 0 : list.indexOf(Number(address.row));
    if (sameList && index >= 0) move(index, { quiet: true });
    else openList({ at: addressRow() });
  }

  // ---- texts and preferences

  function rowText() {
    const row = current();
    if (!row) return "";
    const position = get().solo ? "" : `Photo ${count(get().position + 1)} of ${count(list.total)}. `;
    if (review.blind) return position;
    return `${position}Given ${row.given}, likely ${row.suggested} ${percent(probabilityOf(row))}.`;
  }

  /** @param {Row} row */
  const probabilityOf = (row) => row.likely?.find(([name]) => name === row.suggested)?.[1];

  /** @param {number} factor */
  const zoomBy = (factor) => {
    const zoom = Math.max(1, Math.min(16, get().zoom * factor));
    set({ zoom, pan: zoom === 1 ? [0, 0] : get().pan });
  };

  /** @param {DialogName | null} dialog */
  const open = (dialog) => set({ dialog });

  /** @param {string} name */
  function rename(name) {
    setPreference("name", name);
    set({ me: name, dialog: null });
    decisions.clearHistory();
    openList({ at: current()?.row ?? addressRow(), fresh: true });
    progressSoon(0);
  }

  /** @param {string} theme */
  function setTheme(theme) {
    setPreference("theme", theme);
    applyTheme(theme);
    set({ theme });
  }

  /** @param {boolean} on */
  function setSingleKeys(on) {
    setPreference("keys", on ? "on" : "off");
    set({ singleKeys: on });
  }

  function start() {
    addEventListener("popstate", addressChanged);
    decisions.start();
    openList({ at: addressRow() });
    progressSoon(0);
  }

  const decisions = makeDecisions({
    review, store, list, current, move, announce, notify, rowText, showAlone, endOfList,
    selectedRows: selection.selectedRows, progressSoon, shownAt: () => shownAt,
  });

  return {
    ...decisions, ...selection,
    review, store, list, photos, start, current, move, step, show, confirmGap, setStageSize, side, setAddress, openList,
    zoomBy, notify, open, rename, setTheme, setSingleKeys, set,
  };
}
