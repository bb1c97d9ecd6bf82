import assert from "node:assert/strict";
import test from "node:test";
import { makePendingRequests } from "../../../../src/kiyome/reviewing/static/pending.js";

globalThis.addEventListener = () => {};

/** Storage as a browser has it: its keys are its own names. */
class FakeStorage {
  setItem(name, value) { this[name] = value; }
  getItem(name) { return this[name] ?? null; }
  removeItem(name) { delete this[name]; }
}

const body = (key) => ({ key, reviewer: "Ann", entries: [{ row: 1, version: 0, verdict: "keep", label: null }] });
const errorOf = (status) => Object.assign(new Error("refused"), { status });
const settled = () => new Promise((done) => setTimeout(done, 5));

/** Pending requests whose server gives the answers in turn: an error status, or an answer. */
function pendingOf(answers, storage = new FakeStorage()) {
  const sent = [];
  const answered = [];
  const pending = makePendingRequests({
    storage, prefix: "p:", onChange: () => {}, onAnswer: (one, answer) => answered.push([one.body.key, answer]),
    deliver: async (one) => {
      sent.push(one.body.key);
      const answer = answers.length ? answers.shift() : "ok";
      if (typeof answer === "number") throw errorOf(answer);
      return answer;
    },
  });
  return { pending, sent, answered, storage };
}

test("requests are sent one by one in order, and removed when answered", async () => {
  const { pending, sent, answered, storage } = pendingOf([]);
  for (const key of ["a", "b", "c"]) pending.add("decide", body(key));
  assert.equal(Object.keys(storage).length, 3);
  await settled();
  assert.deepEqual(sent, ["a", "b", "c"]);
  assert.deepEqual(answered, [["a", "ok"], ["b", "ok"], ["c", "ok"]]);
  assert.deepEqual(Object.keys(storage), []);
});

for (const status of [0, 408, 429, 500, 503]) {
  test(`after ${status} the same request is sent again before the next`, async () => {
    const { pending, sent } = pendingOf([status]);
    pending.add("decide", body("a"));
    pending.add("decide", body("b"));
    await settled();
    assert.ok(pending.waiting);
    pending.resume();
    await settled();
    assert.deepEqual(sent.slice(0, 3), ["a", "a", "b"]);
  });
}

test("an error stops all until a person discards the request, with its undo", async () => {
  const { pending, sent } = pendingOf([409]);
  pending.add("decide", body("a"));
  pending.add("undo", { key: "u", reviewer: "Ann" }, "a");
  pending.add("decide", body("b"));
  await settled();
  assert.deepEqual(sent, ["a"]);
  assert.equal(pending.stopped.error.status, 409);
  const discarded = pending.discard(pending.stopped.request);
  assert.deepEqual(discarded.map(({ body }) => body.key), ["a", "u"]);
  await settled();
  assert.deepEqual(sent, ["a", "b"]);
});

test("a request with other versions keeps its position, and its undo follows", async () => {
  const { pending, sent } = pendingOf([409]);
  pending.add("decide", body("a"));
  pending.add("undo", { key: "u", reviewer: "Ann" }, "a");
  await settled();
  const other = pending.rewrite(pending.stopped.request, [{ row: 1, version: 5, verdict: "keep", label: null }]);
  assert.equal(pending.requests[1].of, other.body.key);
  await settled();
  assert.deepEqual(sent, ["a", other.body.key, "u"]);
});

test("requests of an earlier page are sent first; one that cannot be read is skipped", async () => {
  const { pending, storage } = pendingOf([0]);
  pending.add("decide", body("old"));
  await settled();
  storage.setItem("p:0-broken", "{");
  storage.setItem("another page's", "1");
  const later = pendingOf([], storage);
  assert.deepEqual(later.pending.requests.map(({ body }) => body.key), ["old"]);
  later.pending.add("decide", body("new"));
  await settled();
  assert.deepEqual(later.sent, ["old", "new"]);
});

test("with a full storage, requests are lost only by a reload", async () => {
  const storage = new FakeStorage();
  Object.defineProperty(storage, "setItem", { value: () => { throw new Error("full"); } });
  const { pending, sent } = pendingOf([], storage);
  pending.add("decide", body("a"));
  await settled();
  assert.deepEqual(sent, ["a"]);
});

test("nothing to undo is an answer, not an error", async () => {
  const { pending, answered } = pendingOf([404]);
  pending.add("undo", { key: "u", reviewer: "Ann" });
  await settled();
  assert.deepEqual(answered, [["u", null]]);
  assert.equal(pending.stopped, null);
});
