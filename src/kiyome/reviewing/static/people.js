/**
 * Decisions by person, agreement, and disputes.
 */
import { readAgreement } from "./api.js";
import { Link } from "./header.js";
import { OutlookPanel } from "./outlook.js";
import { use } from "./store.js";
import { html, useEffect, useState } from "./vendor/preact-htm.js";
import { count, duration, percent, rows as rowsText } from "./format.js";

/** @import { Agreements, Session } from "./types.js" */

/** @param {{session: Session}} props */
export function People({ session }) {
  const [progress, outlook, me] = use(session.store, (state) => [state.progress, state.outlook, state.me]);
  const [agreement, setAgreement] = useState(/** @type {Agreements | null} */ (null));
  const decided = progress?.decided;
  const { blind } = session.review;
  useEffect(() => { if (!blind) readAgreement().then(setAgreement, () => {}); }, [decided]);
  if (!progress) return html`<div class="people-view"><p class="soft">…</p></div>`;
  const most = Math.max(1, ...progress.by_reviewer.map((each) => each.decided));
  return html`<div class="people-view">
    <section><h2>Decisions</h2>
      <p class="large">${count(progress.decided)} of ${rowsText(progress.rows)} decided${progress.flagged ? `, ${count(progress.flagged_decided ?? 0)} of ${count(progress.flagged)} flagged` : ""}.</p>
      ${progress.seconds_left ? html`<p class="soft">${duration(progress.seconds_left)} left at this pace.</p>` : ""}
      <ol class="pairs">${progress.by_reviewer.map((each) => html`<li key=${each.reviewer}>
        <${Link} session=${session} to=${{ view: "grid", state: "all", reviewer: each.reviewer, given: "", likely: "", flagged: "", verdict: "" }}>
          <span><bdi>${each.reviewer}</bdi>${each.reviewer === me ? html` <span class="soft">(you)</span>` : ""}</span>
          <b class="number">${count(each.decided)}</b>
          <span class="bar" aria-hidden="true"><span style=${{ width: `${(100 * each.decided) / most}%` }}></span></span>
          ${each.per_hour ? html`<span class="soft note">${count(Math.round(each.per_hour))} an hour</span>` : ""}<//></li>`)}</ol>
      ${!blind && !progress.by_reviewer.length && html`<p class="soft">Nobody has decided yet.</p>`}
    </section>
    ${outlook && html`<section><${OutlookPanel} outlook=${outlook} /></section>`}
    <section><h2>Agreement</h2>
      ${blind && html`<p class="soft">Hidden in a blind review, like other people's decisions.</p>`}
      ${agreement && html`<${Agreement} agreement=${agreement} session=${session} />`}</section>
  </div>`;
}

/** @param {{agreement: Agreements, session: Session}} props */
function Agreement({ agreement, session }) {
  return html`
    ${agreement.disputes > 0 ? html`<p class="large">${count(agreement.disputes)} ${agreement.disputes === 1 ? "row is" : "rows are"} disputed. <${Link} session=${session} to=${{ view: "one", state: "disputed", given: "", likely: "", flagged: "", verdict: "", reviewer: "" }}>Review them<//></p>`
      : html`<p class="large">No row is disputed.</p>`}
    ${agreement.pairs.length ? html`<div class="scroll"><table class="list"><thead><tr><th scope="col">Pair</th><th scope="col" class="numeric">Common rows</th><th scope="col" class="numeric">Agreed</th><th scope="col" class="numeric">Kappa, 95 % interval</th></tr></thead>
      <tbody>${agreement.pairs.map((pair) => html`<tr key=${`${pair.a}\n${pair.b}`}><th scope="row"><bdi>${pair.a}</bdi> and <bdi>${pair.b}</bdi></th>
        <td class="number">${count(pair.rows)}</td><td class="number">${percent(pair.rows ? pair.agreed / pair.rows : 0)}</td><td class="number">${kappaText(pair)}</td></tr>`)}</tbody></table></div>
      <p class="soft">Kappa is agreement beyond chance: 0 is chance, 1 is full agreement. Few rows give a wide interval.</p>`
      : html`<p class="soft">Kappa needs rows decided by two people.</p>`}`;
}

/** @param {{kappa: number | null, low: number | null, high: number | null}} options */
function kappaText({ kappa, low, high }) {
  if (kappa === null || kappa === undefined) return "not defined";
  return low === null || high === null ? kappa.toFixed(2) : `${kappa.toFixed(2)}, ${low.toFixed(2)} to ${high.toFixed(2)}`;
}
