import assert from "node:assert/strict";
import test from "node:test";
import { classesInOrder, decisionText, duration, percent, probabilityText, rows } from "../../../../src/kiyome/reviewing/static/format.js";

test("a share is 0 or 100 percent only where it is exactly that", () => {
  assert.deepEqual([0, 0.001, 0.5, 0.999, 1].map(percent), ["0 %", "under 1 %", "50 %", "over 99 %", "100 %"]);
  assert.deepEqual([0, 1].map(probabilityText), ["under 1 %", "over 99 %"]);
  assert.equal(percent(null), "");
});

test("numbers, decisions and times as text", () => {
  assert.deepEqual([1, 12345].map(rows), ["1 row", "12,345 rows"]);
  assert.equal(decisionText({ verdict: "relabel", label: "cat" }), "now cat");
  assert.equal(decisionText({ verdict: null, label: null }), null);
  assert.deepEqual([null, 60, 600, 7200, 200000].map(duration), ["", "about a minute", "about 10 minutes", "about 2 hours", "about 2 days"]);
});

test("likely classes come first, each class once", () => {
  const row = { likely: [["c", 0.6], ["a", 0.3]] };
  assert.deepEqual(classesInOrder(row, ["a", "b", "c"]), [["c", 0.6], ["a", 0.3], ["b", null]]);
  assert.deepEqual(classesInOrder(null, ["a"]), [["a", null]]);
});
