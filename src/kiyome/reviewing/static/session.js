/**
 * What can be done on the page: where one is, what is shown. Views call these; decisions are made in deciding.js.
 *
 * address ── rows (frozen list) ── position ── photo, and those ahead
 */
import * as api from "./api.js";
import { makeDeciding } from "./deciding.js";
import { filtersOf, readAddress, writeAddress } from "./address.js";
import { makeNotices } from "./notices.js";
import { makePhotos, sideFor } from "./photos.js";
import { prefer, preferred, wear } from "./preferences.js";
import { makeProgress } from "./progress.js";
import { makeRows } from "./rows.js";
import { makeSelection } from "./selection.js";
import { makeStore } from "./store.js";
import { count, percent } from "./words.js";

/** @import { Address, At, DialogName, Params, Review, Row, State } from "./types.js" */

const PREFETCHED = 8;
const ADDRESS_WAIT = 150;

/** @param {Review} review */
export function makeSession(review) {
  const store = makeStore(/** @type {State} */ ({
    address: readAddress(location.search),
    me: (preferred("name") ?? review.reviewer_suggested ?? "").normalize("NFC"),
    position: 0, solo: null, total: null, tick: 0,
    selected: new Set(), anchor: null, columns: 4, filtersOpen: false,
    unsent: 0, waiting: false, stopped: null,
    said: "", notice: null, dialog: null, trouble: null, progress: null,
    zoom: 1, pan: [0, 0], brightness: 1,
    theme: preferred("theme") ?? "system", singleKeys: preferred("keys") !== "off",
  }));
  const { get, set } = store;
  const photos = makePhotos();
  const tick = () => set({ tick: get().tick + 1 });
  const list = makeRows({ onChange: tick, onExpired: expired, onTrouble: (error) => set({ trouble: error }) });
  const { notify, say } = makeNotices(store);
  const { progressSoon } = makeProgress(store);
  const selection = makeSelection({ store, list, notify });
  let shownAt = performance.now();
  let stage = 900;
  let toldGap = false;

  // ---- the list and the place in it

  /** @param {{at?: At, place?: number, fresh?: boolean}} options */
  async function openList({ at = get().address.row, place: wanted = 0, fresh = false } = {}) {
    if (!get().me) return set({ dialog: "name" });
    const filters = { ...filtersOf(get().address), me: get().me };
    const name = `kiyome-list:${review.run}:${JSON.stringify(filters)}`;
    const queue = fresh ? undefined : (sessionStorage.getItem(name) ?? undefined);
    set({ total: null, selected: new Set(), trouble: null });
    try {
      const place = await reopen(filters, queue, at);
      if (place === null) return;
      if (list.queue) sessionStorage.setItem(name, list.queue);
      set({ total: list.total });
      if (at === undefined || place >= 0) move(Math.max(place, wanted), { quiet: true });
      else await showAlone(Number(at));
    } catch (/** @type {any} */ error) {
      set({ trouble: error, total: 0, ...(error.status === 423 ? { dialog: "name" } : {}) });
    }
  }

  /** @param {Params} filters @param {string | undefined} queue @param {At} at */
  async function reopen(filters, queue, at) {
    try {
      return await list.open(filters, { queue, at });
    } catch (/** @type {any} */ error) {
      if (error.status !== 410 && !(queue && error.status)) throw error;
      return await list.open(filters, { at });
    }
  }

  function expired() {
    say("The list was made anew: the server had forgotten it.");
    const at = current()?.row;
    openList({ at, place: at === undefined ? get().position : 0, fresh: true });
  }

  const current = () => get().solo ?? list.at(get().position);

  /** Go to a place of the list. @param {number} place @param {{quiet?: boolean}} options */
  function move(place, { quiet = false } = {}) {
    const position = Math.max(0, Math.min(place, Math.max(0, list.total - 1)));
    list.ensure(position);
    set({ position, solo: null, zoom: 1, pan: [0, 0] });
    shownAt = performance.now();
    prefetch(position);
    addressSoon();
    if (!quiet) say(rowWords());
  }

  /** Show a row that the list does not hold. @param {number} row */
  async function showAlone(row) {
    try {
      const details = await api.readRow(row, get().me);
      list.update([[row, details]]);
      set({ solo: list.get(row), zoom: 1, pan: [0, 0] });
      notify("This photo is not in the list that the filters give.", { label: "To the list", act: () => move(get().position) });
    } catch (/** @type {any} */ error) {
      move(0, { quiet: true });
      notify(error.status === 404 ? `There is no row ${row}.` : error.message);
    }
  }

  /** From anywhere to one row, by its place in the list if it has one. @param {number} row */
  function show(row) {
    const place = list.placeOf(row);
    if (get().address.view !== "one") setAddress({ view: "one" });
    if (place >= 0) move(place);
    else showAlone(row).then(addressSoon);
  }

  /** @param {number} by */
  function step(by) {
    const { position, solo } = get();
    if (solo) return move(position);
    if (by > 0 && review.audit && !toldGap && !current()?.mine?.verdict) return set({ dialog: "gap" });
    if (by > 0 && position >= list.total - 1) return endOfList();
    move(position + by);
  }

  function skipGap() {
    toldGap = true;
    set({ dialog: null });
    step(1);
  }

  function endOfList() {
    notify("This is the end of the list.", { label: "Make it anew", act: () => openList({ at: undefined, fresh: true }) });
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
  const stageIs = (pixels) => { stage = pixels; };
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
   * Go to another view or other filters; the way back is the browser's.
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
    if (!sameList) openList({ at: undefined });
  }

  function addressChanged() {
    const before = get().address;
    const address = readAddress(location.search);
    set({ address, dialog: null });
    const sameList = JSON.stringify(filtersOf(before)) === JSON.stringify(filtersOf(address));
    const place = address.row === undefined ? 0 : list.placeOf(Number(address.row));
    if (sameList && place >= 0) move(place, { quiet: true });
    else openList();
  }

  // ---- what is said and shown

  function rowWords() {
    const row = current();
    if (!row) return "";
    const place = get().solo ? "" : `Photo ${count(get().position + 1)} of ${count(list.total)}. `;
    if (review.blind) return place;
    return `${place}Given ${row.given}, likely ${row.suggested} ${percent(probabilityOf(row))}.`;
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
    prefer("name", name);
    set({ me: name, dialog: null });
    deciding.forgetAll();
    openList({ at: current()?.row ?? get().address.row, fresh: true });
    progressSoon(0);
  }

  /** @param {string} theme */
  function setTheme(theme) {
    prefer("theme", theme);
    wear(theme);
    set({ theme });
  }

  /** @param {boolean} on */
  function setSingleKeys(on) {
    prefer("keys", on ? "on" : "off");
    set({ singleKeys: on });
  }

  function start() {
    addEventListener("popstate", addressChanged);
    deciding.start();
    openList();
    progressSoon(0);
  }

  const deciding = makeDeciding({
    review, store, list, current, move, say, notify, rowWords, showAlone, endOfList,
    selectedRows: selection.selectedRows, progressSoon, shownAt: () => shownAt,
  });

  return {
    ...deciding, ...selection,
    review, store, list, photos, start, current, move, step, show, skipGap, stageIs, side, setAddress, openList,
    zoomBy, notify, open, rename, setTheme, setSingleKeys, set,
  };
}
