import assert from "node:assert/strict";
import test from "node:test";
import { matching } from "../../../../src/kiyome/reviewing/static/matching.js";

const classes = ["Oak", "Soak", "Red oak", "Éclair", "Pin-oak"].map((name) => [name, null]);
const found = (typed) => matching(classes, typed).map(([name]) => name);

test("starts of names come before starts of words, and those before the rest", () => {
  assert.deepEqual(found("oak"), ["Oak", "Red oak", "Pin-oak", "Soak"]);
});

test("case, accents and blanks around do not matter", () => {
  assert.deepEqual(found("  ECLAIR "), ["Éclair"]);
});

test("nothing typed keeps all in their order; nothing found is empty", () => {
  assert.deepEqual(found(" "), classes.map(([name]) => name));
  assert.deepEqual(found("birch"), []);
});
