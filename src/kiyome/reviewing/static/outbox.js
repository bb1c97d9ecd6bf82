/**
 * Letters to the server: kept on this computer until answered, sent one by one in order, repeated with the same key.
 *
 * add ── localStorage ── deliver ──┬── answered: forget it
 *                                  ├── no answer, 5xx: wait, then the same letter again
 *                                  └── refused: stop, and let a person say what to do
 */

/** @import { Body, Decided, Letter, Stopped } from "./types.js" */

const WAITS = [300, 1000, 2000, 4000, 8000, 15000];
const REPEATED = new Set([0, 408, 429, 500, 502, 503, 504]);

/** A name that nobody else picks; `crypto.randomUUID` is missing on plain http. */
export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * @param {{storage: Storage, prefix: string, deliver: (letter: Letter) => Promise<any>,
 *   onAnswer: (letter: Letter, answer: any) => void, onChange: () => void}} options
 */
export function makeOutbox({ storage, prefix, deliver, onAnswer, onChange }) {
  let letters = readKept(storage, prefix);
  let ordinal = Date.now();
  let sending = false;
  let failures = 0;
  /** @type {Stopped | null} */
  let stopped = null;
  let timer = 0;

  /** @param {Letter["kind"]} kind @param {Body} body @param {string | null} [of] */
  function add(kind, body, of = null) {
    ordinal = Math.max(ordinal + 1, Date.now());
    const letter = { id: `${ordinal}-${body.key}`, kind, body, of };
    letters.push(letter);
    keep(letter);
    onChange();
    send();
    return letter;
  }

  async function send() {
    if (sending || stopped || !letters.length) return;
    sending = true;
    clearTimeout(timer);
    const letter = letters[0];
    try {
      const answer = await deliver(letter);
      failures = 0;
      forget([letter]);
      onAnswer(letter, answer);
    } catch (/** @type {any} */ error) {
      if (!("status" in error)) throw error;
      if (REPEATED.has(error.status)) wait();
      else if (error.status === 404 && letter.kind !== "decide") {
        forget([letter]);
        onAnswer(letter, null);
      } else stopped = { letter, error };
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

  function again() {
    stopped = null;
    failures = 0;
    send();
    onChange();
  }

  /** Give a letter up, with whatever undoes or redoes it; answers what was given up. @param {Letter} letter */
  function giveUp(letter) {
    const key = letter.body.key;
    const gone = letters.filter((each) => each === letter || (each.of && each.of === key));
    forget(gone);
    again();
    return gone;
  }

  /**
   * Say the same with other versions: another letter, in the same place.
   * @param {Letter} letter
   * @param {Decided[]} entries
   */
  function rewrite(letter, entries) {
    const body = { ...letter.body, key: newKey(), entries };
    const other = { ...letter, body };
    for (const each of letters) if (each.of === letter.body.key) { each.of = body.key; keep(each); }
    letters[letters.indexOf(letter)] = other;
    keep(other);
    again();
    return other;
  }

  /** @param {Letter[]} gone */
  function forget(gone) {
    letters = letters.filter((each) => !gone.includes(each));
    for (const each of gone) storage.removeItem(prefix + each.id);
  }

  /** @param {Letter} letter */
  function keep(letter) {
    try {
      storage.setItem(prefix + letter.id, JSON.stringify(letter));
    } catch {
      // a full storage costs only the letters' life across a reload
    }
  }

  addEventListener("online", () => { if (!stopped) again(); });
  return {
    add, send, again, giveUp, rewrite,
    get letters() { return letters; },
    get waiting() { return failures > 0; },
    get stopped() { return stopped; },
  };
}

/** Letters of an earlier page, oldest first. @param {Storage} storage @param {string} prefix @returns {Letter[]} */
function readKept(storage, prefix) {
  const names = Object.keys(storage).filter((name) => name.startsWith(prefix)).sort();
  return names.map((name) => {
    try {
      return JSON.parse(storage.getItem(name) ?? "null");
    } catch {
      return null;
    }
  }).filter(Boolean);
}
