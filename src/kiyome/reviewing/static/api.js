/**
 * The server's routes as functions. Every refusal becomes one kind of error with three parts.
 */

/** A refusal: `status` 0 where no answer came. */
export class Refusal extends Error {
  /** @param {number} status @param {{must?: string, came?: string, remedy?: string}} parts @param {any} body */
  constructor(status, parts, body = {}) {
    super(parts.must ?? "The server refused.");
    this.status = status;
    this.parts = parts;
    this.body = body;
  }
}

// Photos are kept by the browser under the key of this start of the server.
let photoKey = "";
let csrf = document.querySelector('meta[name="csrf"]')?.content ?? "";

const PATIENCE = 20000;

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

function partsOf(body) {
  const error = body?.error;
  if (typeof error === "string") return { must: error };
  if (error?.must) return error;
  return { must: "The server refused without saying why." };
}

const get = (path, params = {}) => {
  const text = new URLSearchParams(Object.entries(params).filter(([, value]) => value !== undefined)).toString();
  return ask(text ? `${path}?${text}` : path);
};

const post = (path, body) =>
  ask(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-CSRF-Token": csrf },
    body: JSON.stringify(body),
  });

/** @returns {Promise<import("./types.js").Review>} */
export async function readReview() {
  const review = await get("/api/review");
  csrf = review.csrf ?? csrf;
  photoKey = review.photo_key ?? "";
  return review;
}

export const readQueue = (params) => get("/api/queue", params);
export const readRow = (row, me) => get(`/api/rows/${row}`, { me });
export const readProgress = (me) => get("/api/progress", { me });
export const readMatrix = (params) => get("/api/matrix", params);
export const readAgreement = () => get("/api/agreement");

const DOORS = { decide: "/api/decisions", undo: "/api/undo", redo: "/api/redo" };

/** Hand one letter to the server. @param {import("./types.js").Letter} letter */
export const deliver = (letter) => post(DOORS[letter.kind], letter.body);

export const photoAddress = (row, side) => `/photos/${row}?side=${side}&v=${photoKey}`;
export const thumbnailAddress = (row) => `/thumbnails/${row}?v=${photoKey}`;
export const exportAddress = (format) => `/api/export?format=${format}`;
