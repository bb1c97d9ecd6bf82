import assert from "node:assert/strict";
import test from "node:test";
import { makeOutbox } from "../../../../src/kiyome/reviewing/static/outbox.js";

globalThis.addEventListener = () => {};

/** Storage as a browser has it: its letters are its own names. */
class Kept {
  setItem(name, value) { this[name] = value; }
  getItem(name) { return this[name] ?? null; }
  removeItem(name) { delete this[name]; }
}

const letter = (key) => ({ key, reviewer: "Ann", entries: [{ row: 1, version: 0, verdict: "keep", label: null }] });
const refusal = (status) => Object.assign(new Error("refused"), { status });
const settled = () => new Promise((done) => setTimeout(done, 5));

/** An outbox whose server gives the answers in turn: a status that refuses, or what it says. */
function outboxOf(answers, storage = new Kept()) {
  const sent = [];
  const answered = [];
  const outbox = makeOutbox({
    storage, prefix: "p:", onChange: () => {}, onAnswer: (one, answer) => answered.push([one.body.key, answer]),
    deliver: async (one) => {
      sent.push(one.body.key);
      const answer = answers.length ? answers.shift() : "ok";
      if (typeof answer === "number") throw refusal(answer);
      return answer;
    },
  });
  return { outbox, sent, answered, storage };
}

test("letters are sent one by one in order, and forgotten when answered", async () => {
  const { outbox, sent, answered, storage } = outboxOf([]);
  for (const key of ["a", "b", "c"]) outbox.add("decide", letter(key));
  assert.equal(Object.keys(storage).length, 3);
  await settled();
  assert.deepEqual(sent, ["a", "b", "c"]);
  assert.deepEqual(answered, [["a", "ok"], ["b", "ok"], ["c", "ok"]]);
  assert.deepEqual(Object.keys(storage), []);
});

for (const status of [0, 408, 429, 500, 503]) {
  test(`after ${status} the same letter is sent again before the next`, async () => {
    const { outbox, sent } = outboxOf([status]);
    outbox.add("decide", letter("a"));
    outbox.add("decide", letter("b"));
    await settled();
    assert.ok(outbox.waiting);
    outbox.again();
    await settled();
    assert.deepEqual(sent.slice(0, 3), ["a", "a", "b"]);
  });
}

test("a refusal stops all until a person gives the letter up, with what undoes it", async () => {
  const { outbox, sent } = outboxOf([409]);
  outbox.add("decide", letter("a"));
  outbox.add("undo", { key: "u", reviewer: "Ann" }, "a");
  outbox.add("decide", letter("b"));
  await settled();
  assert.deepEqual(sent, ["a"]);
  assert.equal(outbox.stopped.error.status, 409);
  const gone = outbox.giveUp(outbox.stopped.letter);
  assert.deepEqual(gone.map(({ body }) => body.key), ["a", "u"]);
  await settled();
  assert.deepEqual(sent, ["a", "b"]);
});

test("a letter said with other versions keeps its place, and what undoes it follows", async () => {
  const { outbox, sent } = outboxOf([409]);
  outbox.add("decide", letter("a"));
  outbox.add("undo", { key: "u", reviewer: "Ann" }, "a");
  await settled();
  const other = outbox.rewrite(outbox.stopped.letter, [{ row: 1, version: 5, verdict: "keep", label: null }]);
  assert.equal(outbox.letters[1].of, other.body.key);
  await settled();
  assert.deepEqual(sent, ["a", other.body.key, "u"]);
});

test("letters of an earlier page are sent first; one that cannot be read is passed over", async () => {
  const { outbox, storage } = outboxOf([0]);
  outbox.add("decide", letter("old"));
  await settled();
  storage.setItem("p:0-broken", "{");
  storage.setItem("another page's", "1");
  const later = outboxOf([], storage);
  assert.deepEqual(later.outbox.letters.map(({ body }) => body.key), ["old"]);
  later.outbox.add("decide", letter("new"));
  await settled();
  assert.deepEqual(later.sent, ["old", "new"]);
});

test("a full storage costs nothing but the life across a reload", async () => {
  const storage = new Kept();
  Object.defineProperty(storage, "setItem", { value: () => { throw new Error("full"); } });
  const { outbox, sent } = outboxOf([], storage);
  outbox.add("decide", letter("a"));
  await settled();
  assert.deepEqual(sent, ["a"]);
});

test("to undo what is not there is an answer, not a refusal", async () => {
  const { outbox, answered } = outboxOf([404]);
  outbox.add("undo", { key: "u", reviewer: "Ann" });
  await settled();
  assert.deepEqual(answered, [["u", null]]);
  assert.equal(outbox.stopped, null);
});
