/**
 * What the decisions say about the whole table: found, left, the next looks, when to stop.
 */
import { html } from "./vendor/preact-htm.js";
import { count, rows as rowsText } from "./format.js";

/** @import { Outlook, Range } from "./types.js" */

/** @param {{outlook: Outlook}} props */
export function OutlookPanel({ outlook }) {
  const { looked_at: looked, found, measured, noise_rate: rate, left, share } = outlook;
  return html`
    <h2>The whole table</h2>
    <dl class="outlook">
      <dt>Found so far</dt><dd><b>${count(found)}</b> wrong ${found === 1 ? "label" : "labels"} in ${rowsText(looked)}</dd>
      <dt>Expected left</dt><dd><b>${count(Math.round(left[0]))}</b> wrong labels (${between(left)})</dd>
      <dt>Noise rate</dt><dd><b>${percent1(rate[0])} %</b> (${rate.slice(1).map(percent1).join(" to ")} %)</dd>
      <dt>Next ${count(outlook.next_looks)} photos</dt><dd>about <b>${count(Math.round(outlook.next_found))}</b> wrong labels</dd>
      <dt>When to stop</dt><dd>${stopText(outlook)}</dd>
    </dl>
    <p class="soft note">${basisText(measured, share)}</p>`;
}

/** The advice of the outlook. @param {Outlook} outlook */
export function stopText({ looks_to_stop: certain, looks_to_expect: expected, looked_at: looked, most_left: most, rows }) {
  const goal = `Fewer than ${percent1(most)} % of the labels (${count(Math.ceil(most * rows))}) are wrong and unseen`;
  if (certain === 0) return `Now. ${goal}, with 95 % certainty.`;
  const after = certain + looked < rows ? `after about ${count(certain)} more photos` : "only once every photo was looked at";
  return `${goal}: ${expected ? `expected after about ${count(expected)} more photos` : "expected now"}, with 95 % certainty ${after}.`;
}

/** @param {number} measured @param {number} share */
function basisText(measured, share) {
  if (!share && !measured) return "Intervals need photos drawn at random: start the review with --measure 10%.";
  return `95 % intervals, from ${count(measured)} photos drawn at random${share ? `; by suspicion, gain and pair they are ${percent1(share)} % of the photos, and half of them once few wrong labels are expected to be left` : ""}. More of them make the intervals narrower.`;
}

/** @param {Range} range */
const between = ([, low, high]) => `${count(Math.round(low))} to ${count(Math.round(high))}`;
/** @param {number} share  as percent with one digit where it has one */
const percent1 = (share) => String(Number((100 * share).toFixed(1)));
