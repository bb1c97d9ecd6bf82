/**
 * The server's routes as functions. Every refusal becomes one kind of error with three parts.
 */

/** @import { Agreements, Decided, Letter, Matrix, Page, Params, Progress, Review, RowDetails } from "./types.js" */

/** A refusal: `status` 0 where no answer came. */
export class Refusal extends Error {
  /**
   * @param {number} status
   * @param {{must?: string, came?: string, remedy?: string}} parts
   * @param {{current?: Decided[]}} body
   */
  constructor(status, parts, body = {}) {
    super(parts.must ?? "The server refused.");
    this.status = status;
    this.parts = parts;
    this.body = body;
  }
}

// Photos are kept by the browser under the key of this start of the server.
let photoKey = "";
let csrf = document.querySelector('meta[name="csrf"]')?.getAttribute("content") ?? "";

const PATIENCE = 20000;

/** @param {string} path @param {RequestInit} [options] @returns {Promise<any>} */
async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { credentials: "same-origin", signal: AbortSignal.timeout(PATIENCE), ...options });
  } catch (error) {
    throw new Refusal(0, { must: "The server does not answer.", came: String(error) });
  }
  const body = await answer.json().catch(() => null);
  if (answer.ok && body !== null) return body;
  if (answer.ok) throw new Refusal(0, { must: "The answer was cut short." });
  throw new Refusal(answer.status, partsOf(body), body ?? {});
}

/** @param {any} body */
function partsOf(body) {
  const error = body?.error;
  if (typeof error === "string") return { must: error };
  if (error?.must) return error;
  return { must: "The server refused without saying why." };
}

/** @param {string} path @param {Params} [params] */
const get = (path, params = {}) => {
  const said = Object.entries(params).flatMap(([name, value]) => (value === undefined ? [] : [[name, String(value)]]));
  const text = new URLSearchParams(said).toString();
  return ask(text ? `${path}?${text}` : path);
};

/** @param {string} path @param {object} body */
const post = (path, body) =>
  ask(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-CSRF-Token": csrf },
    body: JSON.stringify(body),
  });

/** @returns {Promise<Review>} */
export async function readReview() {
  const review = await get("/api/review");
  csrf = review.csrf ?? csrf;
  photoKey = review.photo_key ?? "";
  return review;
}

/** @param {Params} params @returns {Promise<Page>} */
export const readQueue = (params) => get("/api/queue", params);
/** @param {number} row @param {string} me @returns {Promise<RowDetails>} */
export const readRow = (row, me) => get(`/api/rows/${row}`, { me });
/** @param {string} me @returns {Promise<Progress>} */
export const readProgress = (me) => get("/api/progress", { me });
/** @param {Params} params @returns {Promise<Matrix>} */
export const readMatrix = (params) => get("/api/matrix", params);
/** @returns {Promise<Agreements>} */
export const readAgreement = () => get("/api/agreement");

const DOORS = { decide: "/api/decisions", undo: "/api/undo", redo: "/api/redo" };

/** Hand one letter to the server. @param {Letter} letter */
export const deliver = (letter) => post(DOORS[letter.kind], letter.body);

/** @param {number} row @param {number} side */
export const photoAddress = (row, side) => `/photos/${row}?side=${side}&v=${photoKey}`;
/** @param {number} row */
export const thumbnailAddress = (row) => `/thumbnails/${row}?v=${photoKey}`;
/** @param {string} format */
export const exportAddress = (format) => `/api/export?format=${format}`;
