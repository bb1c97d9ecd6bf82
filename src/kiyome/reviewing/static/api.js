/**
 * The server's routes as functions. Every failure is one kind of error with three parts.
 */

/** @import { Agreements, PendingRequest, RowDecision, Matrix, Outlook, Page, Params, Progress, Review, RowDetails } from "./types.js" */

/** An error of the server; `status` is 0 where no answer arrived. */
export class ApiError extends Error {
  /**
   * @param {number} status
   * @param {{problem?: string, expected?: string, remedy?: string}} parts
   * @param {{current?: RowDecision[]}} body
   */
  constructor(status, parts, body = {}) {
    super([parts.problem ?? "The server sent an error.", parts.expected].filter(Boolean).join(" "));
    this.status = status;
    this.parts = parts;
    this.body = body;
  }
}

// Browsers cache photos under the key of this start of the server.
let photoKey = "";
let csrf = document.querySelector('meta[name="csrf"]')?.getAttribute("content") ?? "";

const TIMEOUT = 20000;

/** @param {string} path @param {RequestInit} [options] @returns {Promise<any>} */
async function request(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { credentials: "same-origin", signal: AbortSignal.timeout(TIMEOUT), ...options });
  } catch (error) {
    throw new ApiError(0, { problem: "The server does not answer.", expected: `${error}.` });
  }
  const body = await answer.json().catch(() => null);
  if (answer.ok && body !== null) return body;
  if (answer.ok) throw new ApiError(0, { problem: "The answer was cut off." });
  throw new ApiError(answer.status, partsOf(body), body ?? {});
}

/** @param {any} body */
function partsOf(body) {
  const error = body?.error;
  if (typeof error === "string") return { problem: error };
  if (error?.problem) return error;
  return { problem: "The server sent an error without a reason." };
}

/** @param {string} path @param {Params} [params] */
const get = (path, params = {}) => {
  const known = Object.entries(params).flatMap(([name, value]) => (value === undefined ? [] : [[name, String(value)]]));
  const text = new URLSearchParams(known).toString();
  return request(text ? `${path}?${text}` : path);
};

/** @param {string} path @param {object} body */
const post = (path, body) =>
  request(path, {
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
/** @returns {Promise<Outlook>} */
export const readOutlook = () => get("/api/outlook");
/** @param {Params} params @returns {Promise<Matrix>} */
export const readMatrix = (params) => get("/api/matrix", params);
/** @returns {Promise<Agreements>} */
export const readAgreement = () => get("/api/agreement");

const ENDPOINTS = { decide: "/api/decisions", undo: "/api/undo", redo: "/api/redo" };

/** Send one pending request. @param {PendingRequest} pending */
export const deliver = (pending) => post(ENDPOINTS[pending.kind], pending.body);

/** @param {number} row @param {number} side */
export const photoAddress = (row, side) => `/photos/${row}?side=${side}&v=${photoKey}`;
/** @param {number} row */
export const thumbnailAddress = (row) => `/thumbnails/${row}?v=${photoKey}`;
/** @param {string} format */
export const exportAddress = (format) => `/api/export?format=${format}`;
