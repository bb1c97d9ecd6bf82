/**
 * Order and filters. Chips show them; the panel changes them.
 */
import { narrowing, without } from "./address.js";
import { Icon } from "./icons.js";
import { use } from "./store.js";
import { html, useEffect, useState } from "./vendor/preact-htm.js";
import { percent } from "./format.js";

/** @import { Address, Changed, Session } from "./types.js" */

/** @type {Object<string, string>} */
const ORDERS = {
  suspicion: "Most suspicious first", gain: "Largest gain first", pair: "By class pair",
  leaks: "Copies in two splits first", random: "Random", table: "Table order",
};
/** @type {Object<string, string>} */
const STATES = {
  open: "Decided by nobody", left: "Not decided by me", mine: "Decided by me", decided: "Decided", disputed: "Disputed", all: "All",
};
/** @type {Object<string, string>} */
const BLIND_STATES = { open: "Open", mine: "Decided", all: "All" };
/** @type {Object<string, string>} */
const VERDICTS = { keep: "Kept", relabel: "Another class", both: "Two classes", none_of_these: "None of these", drop: "Dropped", unsure: "Unsure" };
const TYPED_AFTER = 300;

/** @param {{session: Session}} props */
export function Filters({ session }) {
  const [address, open, progress] = use(session.store, (state) => [state.address, state.filtersOpen, state.progress]);
  const set = narrowing(address);
  if (address.view === "people" || (!open && !set.length)) return null;
  return html`<section class="filters" id="filters" aria-label="Filters">
    ${open && html`<${Panel} session=${session} address=${address} people=${progress?.by_reviewer.map((each) => each.reviewer) ?? session.review.reviewers} />`}
    ${set.length > 0 && html`<ul class="chips" aria-label="Set filters">${set.map((name) => html`
      <li key=${name}><button onClick=${() => drop(session, [name])}>
        <span><bdi>${chipText(name, address[name])}</bdi></span><${Icon} name="close" /><span class="unseen">: remove this filter</span></button></li>`)}
      ${set.length > 1 && html`<li><button class="clear" onClick=${() => drop(session, set)}>Clear all</button></li>`}</ul>`}
  </section>`;
}

/** @param {Session} session @param {string[]} names */
function drop(session, names) {
  const { address } = session.store.get();
  const rest = without(address, names);
  session.setAddress(Object.fromEntries(names.map((name) => [name, rest[name] ?? ""])));
}

/** @param {string} name @param {string} value */
function chipText(name, value) {
  /** @type {Object<string, () => string>} */
  const chips = {
    order: () => ORDERS[value] ?? value, split: () => `${value} rows`, given: () => `given ${value}`, likely: () => `likely ${value}`,
    flagged: () => (value === "true" ? "flagged" : "not flagged"), none: () => (value === "true" ? "none of the classes" : "one of the classes"), state: () => STATES[value] ?? value,
    verdict: () => VERDICTS[value] ?? value, reviewer: () => `by ${value}`, search: () => `“${value}”`,
    min_chance: () => `probability from ${percent(Number(value))}`, max_chance: () => `probability up to ${percent(Number(value))}`,
  };
  return chips[name]();
}

/** @param {{session: Session, address: Address, people: string[]}} props */
function Panel({ session, address, people }) {
  const { review } = session;
  /** @param {string} name */
  const change = (name) => (/** @type {Changed} */ event) => session.setAddress({ [name]: event.target.value });
  /** @param {string} name @param {string} label @param {string[][]} options @param {string} [any] */
  const choice = (name, label, options, any = "") => html`<label>${label}
    <select value=${address[name] ?? ""} onChange=${change(name)}>
      ${any && html`<option value="">${any}</option>`}
      ${options.map(([value, text]) => html`<option key=${value} value=${value}>${text}</option>`)}
    </select></label>`;
  const [usual, ...orders] = review.orders.map((name) => [name, ORDERS[name] ?? name]);
  const classes = review.classes.map((name) => [name, name]);
  return html`<div class="panel">
    ${orders.length > 0 && choice("order", "Order", orders, usual[1])}
    ${choice("state", "State", Object.entries(review.blind ? BLIND_STATES : STATES))}
    ${review.splits.length > 1 && choice("split", "Split", review.splits.map((name) => [name, name]), "Any")}
    ${!review.blind && html`
      ${choice("given", "Given label", classes, "Any")}
      ${choice("likely", "Likely class", classes, "Any")}
      ${choice("flagged", "Flag", [["true", "Flagged"], ["false", "Not flagged"]], "Any")}
      ${choice("none", "Shows", [["true", "None of the classes"], ["false", "One of the classes"]], "Any")}
      ${choice("verdict", "Decision", Object.entries(VERDICTS), "Any")}
      ${choice("reviewer", "Decided by", people.map((name) => [name, name]), "Anyone")}
      <${Chance} session=${session} name="min_chance" label="Probability from" value=${address.min_chance} />
      <${Chance} session=${session} name="max_chance" label="Probability up to" value=${address.max_chance} />`}
    <${Search} session=${session} value=${address.search ?? ""} />
  </div>`;
}

/** @param {{session: Session, name: string, label: string, value: string | undefined}} props */
function Chance({ session, name, label, value }) {
  const shown = value === undefined ? "" : String(Math.round(100 * Number(value)));
  /** @param {Changed} event */
  const change = (event) => {
    const typed = event.target.value;
    session.setAddress({ [name]: typed === "" ? "" : String(Math.max(0, Math.min(100, Number(typed))) / 100) });
  };
  return html`<label>${label}<span class="unit"><input type="number" min="0" max="100" step="1" inputmode="numeric" value=${shown} onChange=${change} /> %</span></label>`;
}

/** @param {{session: Session, value: string}} props */
function Search({ session, value }) {
  const [typed, setTyped] = useState(value);
  useEffect(() => setTyped(value), [value]);
  useEffect(() => {
    if (typed === value) return undefined;
    const timer = setTimeout(() => session.setAddress({ search: typed }, { replace: true }), TYPED_AFTER);
    return () => clearTimeout(timer);
  }, [typed]);
  return html`<label>Name contains
    <input type="search" value=${typed} maxlength="200" onInput=${(/** @type {Changed} */ event) => setTyped(event.target.value)} autocomplete="off" spellcheck=${false} /></label>`;
}
