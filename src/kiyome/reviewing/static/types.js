/**
 * Types that modules share, without code: the server's answers, then the state of the page.
 *
 * @typedef {"keep" | "relabel" | "both" | "none_of_these" | "drop" | "unsure"} Verdict
 * @typedef {{verdict: Verdict | null, label: string | null}} Decision
 * @typedef {Decision & {version: number}} Mine
 * @typedef {Decision & {reviewer: string}} Other
 * @typedef {Other & {kind: string, at: string}} Past   a decision of the log
 * @typedef {{row: number, id: string, split: string | null, given: string | null, suggested: string | null, probability: number | null,
 *   probability_none: number | null, flagged: boolean | null, drawn: boolean, likely: [string, number][] | null, mine: Mine | null, others: Other[] | null,
 *   disputed: boolean | null}} Row   one photo of the queue; null where a blind review hides it
 * @typedef {{row: number, given: string | null, similarity?: number}} Neighbor   a photo shown beside another
 * @typedef {Row & {neighbors?: Neighbor[], duplicates?: Neighbor[], history?: Past[]}} RowDetails
 * @typedef {{title: string, run: string, key: string, rows: number, classes: string[], splits: string[], blind: boolean,
 *   audit: unknown, has_neighbors: boolean, has_duplicates: boolean, orders: string[],
 *   reviewer_suggested: string | null, reviewers: string[], warnings: string[], csrf: string,
 *   photo_key?: string}} Review
 * @typedef {{queue: string, start: number, total: number, rows: Row[]}} Page   a page of the list
 * @typedef {{rows: number, flagged: number | null, decided: number, mine: number, flagged_decided: number | null,
 *   disputed: number | null, per_hour: number | null, seconds_left: number | null,
 *   by_reviewer: {reviewer: string, decided: number, per_hour: number | null}[]}} Progress
 * @typedef {[number, number, number]} Range   a value and the ends of its interval
 * @typedef {{rows: number, share: number, looked_at: number, found: number, measured: number,
 *   noise_rate: Range, left: Range, next_looks: number, next_found: number, most_left: number,
 *   looks_to_expect: number, looks_to_stop: number}} Outlook
 * @typedef {[string, string, number]} Pair   given, likely or reviewed class, and number of rows
 * @typedef {{classes: string[], counts?: number[][], pairs?: Pair[]}} Matrix   counts, or pairs of many classes
 * @typedef {{a: string, b: string, rows: number, agreed: number, kappa: number | null, low: number | null,
 *   high: number | null}} Kappa
 * @typedef {{pairs: Kappa[], disputes: number}} Agreements
 *
 * @typedef {Decision & {row: number}} Act   a person's decision about one row
 * @typedef {Act & {version: number}} RowDecision
 * @typedef {Verdict | "accept" | "class"} Choice   of a key or a button
 * @typedef {{key: string, reviewer: string, entries?: RowDecision[], milliseconds?: number | null, seen?: object}} Body
 * @typedef {{id: string, kind: "decide" | "undo" | "redo", body: Body, of: string | null}} PendingRequest
 *   a change that the server has not answered; `of` is the key of the batch that it undoes or redoes
 * @typedef {import("./api.js").ApiError} ApiError
 * @typedef {{request: PendingRequest, error: ApiError}} Stopped   the request that failed
 *
 * @typedef {Object<string, string>} Address   a state of the page, by the names in its address
 * @typedef {Object<string, string | number | undefined>} Params   of a request
 * @typedef {string | number | undefined} RowParam   a row to begin at, if any
 * @typedef {{target: HTMLInputElement}} Changed   the event of an input or a select
 * @typedef {import("./vendor/preact-htm.js").Drawn} Drawn
 * @typedef {[number, number]} Point
 * @typedef {{label: string, act: () => void}} Button
 * @typedef {"help" | "name" | "classes" | "conflict" | "stopped" | "gap"} DialogName
 * @typedef {[string, number | null][]} Classes   names, each with its probability where the model gives one
 * @typedef {{address: Address, me: string, position: number, solo: Row | null, total: number | null, tick: number,
 *   selected: Set<number>, anchor: number | null, columns: number, filtersOpen: boolean,
 *   unsent: number, waiting: boolean, stopped: Stopped | null, announcement: string,
 *   notice: {text: string, button: Button | null} | null, dialog: DialogName | null, error: ApiError | null,
 *   progress: Progress | null, outlook: Outlook | null, zoom: number, pan: Point, brightness: number, theme: string,
 *   singleKeys: boolean}} State   what the page shows
 * @typedef {import("./store.js").Store<State>} StateStore
 * @typedef {ReturnType<typeof import("./rows.js").makeRows>} List
 * @typedef {ReturnType<typeof import("./session.js").makeSession>} Session
 */
export {};
