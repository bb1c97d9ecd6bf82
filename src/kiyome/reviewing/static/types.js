/**
 * What the modules hand to each other. Nothing runs here: the words of the server's answers, then those of the page.
 *
 * @typedef {"keep" | "relabel" | "drop" | "unsure"} Verdict
 * @typedef {{verdict: Verdict | null, label: string | null}} Decision
 * @typedef {Decision & {version: number}} Mine
 * @typedef {Decision & {reviewer: string}} Other
 * @typedef {Other & {kind: string, at: string}} Past   a decision of the log
 * @typedef {{row: number, id: string, given: string | null, suggested: string | null, chance: number | null,
 *   flagged: boolean | null, likely: [string, number][] | null, mine: Mine | null, others: Other[] | null,
 *   disputed: boolean | null}} Row   one photo as the queue tells it; null where a blind review withholds
 * @typedef {{row: number, given: string | null, similarity?: number}} Alike   a photo shown beside another
 * @typedef {Row & {neighbors?: Alike[], duplicates?: Alike[], history?: Past[]}} RowDetails
 * @typedef {{title: string, run: string, key: string, rows: number, classes: string[], blind: boolean,
 *   audit: unknown, has_neighbors: boolean, has_duplicates: boolean, orders: string[],
 *   reviewer_suggested: string | null, reviewers: string[], warnings: string[], csrf: string,
 *   photo_key?: string}} Review
 * @typedef {{queue: string, start: number, total: number, rows: Row[]}} Page   a stretch of the list
 * @typedef {{rows: number, flagged: number | null, decided: number, mine: number, flagged_decided: number | null,
 *   disputed: number | null, per_hour: number | null, seconds_left: number | null,
 *   by_reviewer: {reviewer: string, decided: number, per_hour: number | null}[]}} Progress
 * @typedef {[string, string, number]} Pair   given, likely or reviewed, and how many rows
 * @typedef {{classes: string[], counts?: number[][], pairs?: Pair[]}} Matrix   counts, or pairs of many classes
 * @typedef {{a: string, b: string, rows: number, agreed: number, kappa: number | null, low: number | null,
 *   high: number | null}} Kappa
 * @typedef {{pairs: Kappa[], disputes: number}} Agreements
 *
 * @typedef {Decision & {row: number}} Act   what a person wants of one row
 * @typedef {Act & {version: number}} Decided
 * @typedef {Verdict | "accept" | "class"} Word   what a key or a button says of a photo
 * @typedef {{key: string, reviewer: string, entries?: Decided[], milliseconds?: number | null, seen?: object}} Body
 * @typedef {{id: string, kind: "decide" | "undo" | "redo", body: Body, of: string | null}} Letter
 *   one message to the server, kept until it is answered; `of` names the decision that it undoes or redoes
 * @typedef {import("./api.js").Refusal} Refusal
 * @typedef {{letter: Letter, error: Refusal}} Stopped   the letter that was refused
 *
 * @typedef {Object<string, string>} Address   a state of the page by the names in its address
 * @typedef {Object<string, string | number | undefined>} Params   of a request
 * @typedef {string | number | undefined} At   a row to begin at, if any
 * @typedef {{target: HTMLInputElement}} Changed   the event of an input or a select
 * @typedef {import("./vendor/preact-htm.js").Drawn} Drawn
 * @typedef {[number, number]} Point
 * @typedef {{label: string, act: () => void}} Button
 * @typedef {"help" | "name" | "classes" | "conflict" | "stopped" | "gap"} DialogName
 * @typedef {[string, number | null][]} Classes   names, each with its chance where the model gives one
 * @typedef {{address: Address, me: string, position: number, solo: Row | null, total: number | null, tick: number,
 *   selected: Set<number>, anchor: number | null, columns: number, filtersOpen: boolean,
 *   unsent: number, waiting: boolean, stopped: Stopped | null, said: string,
 *   notice: {text: string, button: Button | null} | null, dialog: DialogName | null, trouble: Refusal | null,
 *   progress: Progress | null, zoom: number, pan: Point, brightness: number, theme: string,
 *   singleKeys: boolean}} State   what the page shows
 * @typedef {import("./store.js").Store<State>} StateStore
 * @typedef {ReturnType<typeof import("./rows.js").makeRows>} List
 * @typedef {ReturnType<typeof import("./session.js").makeSession>} Session
 */
export {};
