/**
 * Pending requests: stored on this computer until answered, sent one by one in order, repeated with the same key.
 *
 * add ── localStorage ── deliver ──┬── answer: remove it
 *                                  ├── no answer, 5xx: wait, then send it again
 *                                  └── error: stop until a person chooses what to do
 */

/** @import { Body, RowDecision, PendingRequest, Stopped } from "./types.js" */

const WAITS = [300, 1000, 2000, 4000, 8000, 15000];
const REPEATED = new Set([0, 408, 429, 500, 502, 503, 504]);

/** A unique key; `crypto.randomUUID` is missing on plain http. */
export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * @param {{storage: Storage, prefix: string, deliver: (request: PendingRequest) => Promise<any>,
 *   onAnswer: (request: PendingRequest, answer: any) => void, onChange: () => void}} options
 */
export function makePendingRequests({ storage, prefix, deliver, onAnswer, onChange }) {
  let requests = readStored(storage, prefix);
  let ordinal = Date.now();
  let sending = false;
  let failures = 0;
  /** @type {Stopped | null} */
  let stopped = null;
  let timer = 0;

  /** @param {PendingRequest["kind"]} kind @param {Body} body @param {string | null} [of] */
  function add(kind, body, of = null) {
    ordinal = Math.max(ordinal + 1, Date.now());
    const request = { id: `${ordinal}-${body.key}`, kind, body, of };
    requests.push(request);
    save(request);
    onChange();
    send();
    return request;
  }

  async function send() {
    if (sending || stopped || !requests.length) return;
    sending = true;
    clearTimeout(timer);
    const request = requests[0];
    try {
      const answer = await deliver(request);
      failures = 0;
      remove([request]);
      onAnswer(request, answer);
    } catch (/** @type {any} */ error) {
      if (!("status" in error)) throw error;
      if (REPEATED.has(error.status)) wait();
      else if (error.status === 404 && request.kind !== "decide") {
        remove([request]);
        onAnswer(request, null);
      } else stopped = { request, error };
    } finally {
      sending = false;
    }
    onChange();
    if (!failures) send();
  }

  function wait() {
    timer = setTimeout(send, WAITS[Math.min(failures, WAITS.length - 1)]);
    failures += 1;
  }

  function resume() {
    stopped = null;
    failures = 0;
    send();
    onChange();
  }

  /** Discard a request, with those that undo or redo it; returns all of them. @param {PendingRequest} request */
  function discard(request) {
    const key = request.body.key;
    const discarded = requests.filter((each) => each === request || (each.of && each.of === key));
    remove(discarded);
    resume();
    return discarded;
  }

  /**
   * Replace a request by one with other versions, at the same position.
   * @param {PendingRequest} request
   * @param {RowDecision[]} entries
   */
  function rewrite(request, entries) {
    const body = { ...request.body, key: newKey(), entries };
    const other = { ...request, body };
    for (const each of requests) if (each.of === request.body.key) { each.of = body.key; save(each); }
    requests[requests.indexOf(request)] = other;
    save(other);
    resume();
    return other;
  }

  /** @param {PendingRequest[]} finished */
  function remove(finished) {
    requests = requests.filter((each) => !finished.includes(each));
    for (const each of finished) storage.removeItem(prefix + each.id);
  }

  /** @param {PendingRequest} request */
  function save(request) {
    try {
      storage.setItem(prefix + request.id, JSON.stringify(request));
    } catch {
      // without storage, requests are lost only when the page is reloaded
    }
  }

  addEventListener("online", () => { if (!stopped) resume(); });
  return {
    add, send, resume, discard, rewrite,
    get requests() { return requests; },
    get waiting() { return failures > 0; },
    get stopped() { return stopped; },
  };
}

/** Requests of an earlier page, oldest first. @param {Storage} storage @param {string} prefix @returns {PendingRequest[]} */
function readStored(storage, prefix) {
  const names = Object.keys(storage).filter((name) => name.startsWith(prefix)).sort();
  return names.map((name) => {
    try {
      return JSON.parse(storage.getItem(name) ?? "null");
    } catch {
      return null;
    }
  }).filter(Boolean);
}
