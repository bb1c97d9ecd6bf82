import assert from "node:assert/strict";
import test from "node:test";
import { CLASS_KEYS, GRID_KEYS, KEYS } from "../../../../src/kiyome/reviewing/static/keys.js";

test("no key means two things where one looks at a photo", () => {
  const used = [...CLASS_KEYS, ...KEYS.flatMap(([, keys]) => keys)];
  assert.equal(new Set(used).size, used.length);
});

test("the keys of the grid hide none of the others", () => {
  const inGrid = GRID_KEYS.flatMap(([, keys]) => keys);
  assert.equal(new Set(inGrid).size, inGrid.length);
  const both = inGrid.filter((key) => KEYS.some(([, keys]) => keys.includes(key)));
  assert.deepEqual(both, []);
});
