/**
 * The matrix of labels: given against likely, or against reviewed. A cell links to its rows.
 */
import { readMatrix } from "./api.js";
import { filtersOf } from "./address.js";
import { Link } from "./header.js";
import { use } from "./store.js";
import { html, useEffect, useState } from "./vendor/preact-htm.js";
import { count, rows as rowsText } from "./format.js";

/** @import { Matrix, Pair, ApiError, Session } from "./types.js" */

const LARGEST_TABLE = 24;
const TINTS = 7;
const READINGS = [["likely", "Given and likely"], ["reviewed", "Given and reviewed"]];

/** @param {{session: Session}} props */
export function MapView({ session }) {
  const address = use(session.store, (state) => state.address);
  const { reading } = address;
  const [matrix, setMatrix] = useState(/** @type {Matrix | null} */ (null));
  const [error, setError] = useState(/** @type {ApiError | null} */ (null));
  const { flagged, state } = filtersOf(address);
  useEffect(() => {
    if (session.review.blind) return undefined;
    let wanted = true;
    readMatrix({ reading, flagged, state: state === "open" ? undefined : state, me: session.store.get().me }).then(
      (read) => wanted && (setMatrix(read), setError(null)), (failure) => wanted && setError(failure));
    return () => { wanted = false; };
  }, [reading, flagged, state]);

  if (session.review.blind) return html`<div class="map-view"><p class="large">A blind review has no map.</p><p>It would show given labels and predictions.</p></div>`;
  return html`<div class="map-view">
    <div class="tabs" role="group" aria-label="Columns">${READINGS.map(([name, label]) => html`
      <${Link} key=${name} session=${session} to=${{ reading: name }} aria-current=${reading === name ? "true" : null}>${label}<//>`)}</div>
    <p class="soft">${reading === "likely" ? "Rows by given label and likely class. Choose a cell to see its rows." : "Rows by given label and reviewed class. Choose a cell to see its rows."}</p>
    ${error && html`<p>${error.message}</p>`}
    ${matrix && html`<${Counts} session=${session} matrix=${matrix} reading=${reading} />`}
  </div>`;
}

/** @param {{session: Session, matrix: Matrix, reading: string}} props */
function Counts({ session, matrix, reading }) {
  const pairs = pairsOf(matrix);
  if (!pairs.length && !matrix.counts?.some((line) => line.some(Boolean))) return html`<p class="large">No rows yet.</p>`;
  const small = matrix.counts && matrix.classes.length <= LARGEST_TABLE;
  return html`<div class=${small ? "beside" : ""}>
    ${small && html`<${Table} session=${session} matrix=${matrix} reading=${reading} />`}
    <${Pairs} session=${session} pairs=${pairs} reading=${reading} />
  </div>`;
}

/**
 * Pairs of different classes, most rows first. Pure.
 * @param {Matrix} matrix
 * @returns {Pair[]}
 */
export function pairsOf({ pairs, counts = [], classes }) {
  if (pairs) return pairs.filter(([given, other]) => given !== other);
  const found = counts.flatMap((line, g) => line.map((number, o) => /** @type {Pair} */ ([classes[g], classes[o], number])).filter(([, , number], o) => number && o !== g));
  return found.sort((a, b) => b[2] - a[2]).slice(0, 200);
}

/**
 * The filters of a cell, in the view that shows its rows.
 * @param {string} given
 * @param {string} other
 * @param {string} reading
 */
function cell(given, other, reading) {
  const plain = { view: "one", flagged: "", verdict: "", likely: "", search: "", reviewer: "" };
  if (reading === "likely") return { ...plain, given, likely: other, state: "all" };
  return { ...plain, given, verdict: given === other ? "keep" : "relabel", state: "decided" };
}

/** One of seven tints; the square root makes small counts visible. @param {number} number @param {number} most */
const tint = (number, most) => (number ? Math.max(1, Math.ceil(TINTS * Math.sqrt(number / most))) : 0);

/** @param {{session: Session, matrix: Matrix, reading: string}} props */
function Table({ session, matrix, reading }) {
  const { classes, counts = [] } = matrix;
  const most = Math.max(1, ...counts.flatMap((line, g) => line.filter((_, o) => o !== g)));
  return html`<div class="scroll" tabindex="0" role="group" aria-label="Table of counts"><table class=${classes.length > 12 ? "heat dense" : "heat"}>
    <caption class="unseen">Rows: the given label. Columns: ${reading === "likely" ? "the likely class" : "the reviewed class"}.</caption>
    <thead>
      <tr><td></td><th colspan=${classes.length} class="axis" scope="colgroup">${reading === "likely" ? "likely" : "reviewed"}</th></tr>
      <tr><th class="axis" scope="col">given</th>${classes.map((name) => html`<th key=${name} scope="col"><div><bdi>${name}</bdi></div></th>`)}</tr></thead>
    <tbody>${counts.map((line, g) => html`<tr key=${g}><th scope="row"><bdi>${classes[g]}</bdi></th>
      ${line.map((number, o) => html`<td key=${o} class=${g === o ? "diagonal" : `tint${tint(number, most)}`}>
        ${number ? html`<${Link} session=${session} to=${cell(classes[g], classes[o], reading)} aria-label=${`${rowsText(number)}: given ${classes[g]}, ${reading} ${classes[o]}`}>${count(number)}<//>` : ""}</td>`)}</tr>`)}</tbody>
  </table></div>`;
}

/** @param {{session: Session, pairs: Pair[], reading: string}} props */
function Pairs({ session, pairs, reading }) {
  const most = pairs[0]?.[2] ?? 1;
  return html`<section><h2>Most frequent pairs</h2><ol class="pairs">${pairs.slice(0, 200).map(([given, other, number]) => html`
    <li key=${`${given}\n${other}`}><${Link} session=${session} to=${cell(given, other, reading)}>
      <span><bdi>${given}</bdi> <span class="soft">→</span> <bdi>${other}</bdi></span><b class="number">${count(number)}</b>
      <span class="bar" aria-hidden="true"><span style=${{ width: `${(100 * number) / most}%` }}></span></span><//></li>`)}</ol></section>`;
}
