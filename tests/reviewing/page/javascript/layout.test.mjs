import assert from "node:assert/strict";
import test from "node:test";
import { GAP, layout } from "../../../../src/kiyome/reviewing/static/layout.js";

test("tiles fill the width, are never narrower than asked where two fit, and at least two stand side by side", () => {
  for (let width = 200; width < 3000; width += 1) {
    const { columns, side } = layout(width, 108);
    const used = columns * side + (columns - 1) * GAP;
    assert.ok(used <= width && width - used < columns, `width ${width}`);
    assert.ok(columns >= 2 && (side >= 108 || columns === 2), `width ${width}`);
  }
});
