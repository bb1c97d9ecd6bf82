/**
 * Details of a photo, loaded a moment later: similar photos, duplicates, and the history of decisions.
 */
import { thumbnailAddress } from "./api.js";
import { writeAddress } from "./address.js";
import { use } from "./store.js";
import { html, useEffect, useState } from "./vendor/preact-htm.js";
import { decisionText } from "./format.js";

/** @import { Neighbor, Past, RowDetails, Session } from "./types.js" */

const DETAILS_AFTER = 120;

/** Read details once a person stays on a photo; keys held down read nothing. @param {Session} session @param {number} row */
function useDetails(session, row) {
  const [details, setDetails] = useState(/** @type {RowDetails | null} */ (null));
  const sent = use(session.store, ({ unsent }) => unsent === 0);
  useEffect(() => {
    let wanted = true;
    const timer = setTimeout(() => {
      session.details(row).then((read) => wanted && setDetails(read), () => {});
    }, DETAILS_AFTER);
    return () => { wanted = false; clearTimeout(timer); };
  }, [row, sent]);
  return details?.row === row ? details : null;
}

/** @param {{session: Session, row: number}} props */
export function Details({ session, row }) {
  const { review } = session;
  const details = useDetails(session, row);
  return html`<div class="details">
    ${review.has_neighbors && !review.blind && html`<${Strip} session=${session} name="Most similar" photos=${details?.neighbors} waits=${!details} />`}
    ${details?.duplicates?.length ? html`<${Strip} session=${session} name="Duplicates of this photo" photos=${details.duplicates} />` : null}
    ${details?.history?.length ? html`<${History} events=${details.history} />` : null}
    <p class="id"><bdi>${details?.id ?? session.list.get(row)?.id ?? ""}</bdi></p>
  </div>`;
}

/** @param {{session: Session, name: string, photos?: Neighbor[], waits?: boolean}} props */
function Strip({ session, name, photos, waits }) {
  const { address } = session.store.get();
  const given = session.current()?.given;
  /** @param {number} row */
  const follow = (row) => (/** @type {MouseEvent} */ event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    session.show(row);
  };
  if (!waits && !photos?.length) return null;
  return html`<div class="strip"><h2>${name}</h2><ul>
    ${(photos ?? []).map((photo) => html`<li key=${photo.row}>
      <a href=${writeAddress({ ...address, view: "one", row: String(photo.row) })} onClick=${follow(photo.row)}>
        <img src=${thumbnailAddress(photo.row)} alt="" width="72" height="72" loading="lazy" draggable=${false} />
        <span class=${photo.given !== null && photo.given !== given ? "differs" : ""}><bdi>${photo.given ?? `row ${photo.row}`}</bdi></span></a></li>`)}
  </ul></div>`;
}

/** @param {{events: Past[]}} props */
function History({ events }) {
  return html`<div class="history"><h2>History</h2><ol>${events.map((event, index) => html`
    <li key=${index}><span><bdi>${event.reviewer}</bdi> ${eventText(event)}</span> <time datetime=${event.at}>${when(event.at)}</time></li>`)}</ol></div>`;
}

/** @param {Past} event */
function eventText(event) {
  const text = decisionText(event);
  if (event.kind === "undo") return text ? html`undone: <bdi>${text}</bdi>` : "undone";
  return html`<bdi>${text ?? "open"}</bdi>${event.kind === "import" ? " (imported)" : ""}`;
}

/** @param {string} text */
function when(text) {
  const moment = new Date(text);
  if (Number.isNaN(moment.getTime())) return text;
  const today = moment.toDateString() === new Date().toDateString();
  return today ? moment.toLocaleTimeString([], { timeStyle: "short" }) : moment.toLocaleDateString([], { dateStyle: "medium" });
}
