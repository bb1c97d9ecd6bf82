import assert from "node:assert/strict";
import test from "node:test";
import { filtersOf, narrowing, readAddress, without, writeAddress } from "../../../../src/kiyome/reviewing/static/address.js";

const PLAIN = { view: "one", state: "open", reading: "likely" };

test("an address leaves out what is plain, and comes back as the same state", () => {
  assert.equal(writeAddress(readAddress("")), "/");
  const state = { ...PLAIN, view: "grid", given: "crack & co", search: "ü/é", row: "12" };
  assert.deepEqual(readAddress(new URL(writeAddress(state), "http://localhost").search), state);
});

test("what an address cannot mean is left out", () => {
  assert.deepEqual(readAddress("?view=nowhere&row=-1&unknown=1&given="), PLAIN);
});

test("filters are what the queue understands; those that narrow can be taken away", () => {
  const state = { ...PLAIN, state: "all", given: "a", row: "3" };
  assert.deepEqual(filtersOf(state), { state: "all", given: "a" });
  assert.deepEqual(narrowing(state), ["given", "state"]);
  assert.deepEqual(without(state, narrowing(state)), { ...PLAIN, row: "3" });
});
