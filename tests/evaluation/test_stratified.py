"""Shares from strata against exact binomials, and against every sample that could be drawn."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import binom

from kiyome.errors import InputError
from kiyome.estimates import proportion
from kiyome.evaluation.stratified import (
    _probability_below,
    prediction_powered_proportion,
    stratified_proportion,
    tilted_proportions,
)

MANY = 10**9  # rows of a stratum so large that drawing from it changes nothing


def exact_mid_p(hits: int, rows: int, side: int) -> float:
    """Oracle: the end of the mid-p interval of one binomial, by scipy's own distribution."""

    def doubt(p: float) -> float:
        below = binom.cdf(hits, rows, p) - 0.5 * binom.pmf(hits, rows, p)
        return (below if side > 0 else 1 - below) - 0.025

    return brentq(doubt, 1e-12, 1 - 1e-12)


@pytest.mark.parametrize(("hits", "rows"), [(1, 100), (50, 100), (97, 100), (9, 10), (499, 500), (3, 7)])
def test_one_stratum_is_the_exact_mid_p_interval(hits: int, rows: int) -> None:
    found = stratified_proportion([hits], [rows], [MANY])
    assert found.low == pytest.approx(exact_mid_p(hits, rows, -1), abs=1e-5)
    assert found.high == pytest.approx(exact_mid_p(hits, rows, 1), abs=1e-5)


def test_no_hit_and_nothing_but_hits_end_at_the_ends() -> None:
    none, every = (
        stratified_proportion([0], [100], [MANY]),
        stratified_proportion([100, 20], [100, 20], [900, 100]),
    )
    assert (none.value, none.low) == (0, 0)
    assert none.high == pytest.approx(1 - 0.05 ** (1 / 100), abs=1e-4)  # mid-p counts a half of p ** 100
    assert (every.value, every.high) == (1, 1)
    assert 0.8 < every.low < 1


def test_the_probability_below_is_that_of_every_outcome() -> None:
    rows, shares = np.array([4.0, 6.0, 3.0]), np.array([0.9, 0.5, 0.2])
    weights = rows / 13  # estimates then lie on thirteenths, far apart beside the smoothing
    seen = float(weights @ (np.array([4, 3, 1]) / rows))
    exact = 0.0
    for counts in product(*(range(int(n) + 1) for n in rows)):
        chance = np.prod([binom.pmf(x, n, p) for x, n, p in zip(counts, rows, shares, strict=True)])
        value = weights @ (np.array(counts) / rows)
        exact += chance * (0.5 if abs(value - seen) < 1e-12 else value < seen)
    assert _probability_below(seen, shares, rows, weights) == pytest.approx(exact, abs=1e-6)


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(1, 30), st.integers(1, 50)), min_size=1, max_size=5)
)
@settings(derandomize=True, deadline=None, max_examples=40)
def test_intervals_hold_the_estimate_and_turn_around_with_it(strata: list[tuple[int, int, int]]) -> None:
    rows = np.array([n for _, n, _ in strata])
    hits = np.minimum([x for x, _, _ in strata], rows)
    sizes = rows * [size for _, _, size in strata]
    found, turned = stratified_proportion(hits, rows, sizes), stratified_proportion(rows - hits, rows, sizes)
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert turned.value == pytest.approx(1 - found.value)
    assert (turned.low, turned.high) == pytest.approx((1 - found.high, 1 - found.low), abs=2e-4)


@given(st.integers(0, 20), st.integers(1, 20), st.floats(-200, 200))
@settings(derandomize=True, deadline=None)
def test_pulled_shares_are_the_likeliest(hits: int, rows: int, pull: float) -> None:
    hits = min(hits, rows)
    p = float(tilted_proportions(np.array([float(hits)]), np.array([float(rows)]), np.array([0.7]), pull)[0])

    def worth(q: float) -> float:
        return float(binom.logpmf(hits, rows, q)) + pull * 0.7 * q

    assert 0 <= p <= 1
    assert all(worth(p) >= worth(q) - 1e-7 for q in np.linspace(0, 1, 101))


def test_a_stratum_that_was_checked_whole_is_known() -> None:
    whole = stratified_proportion([15, 30], [20, 40], [20, 40])
    assert whole.low == whole.value == whole.high == 0.75
    some = stratified_proportion([15, 30], [20, 40], [20, 4000])
    assert some.low < some.value < some.high


def test_checking_most_of_a_table_narrows_the_interval() -> None:
    few, most = stratified_proportion([80], [100], [10_000]), stratified_proportion([80], [100], [110])
    assert most.high - most.low < 0.4 * (few.high - few.low)


@pytest.mark.parametrize(("accuracy", "rows"), [(0.984, 100), (0.97, 100), (0.9, 100), (0.995, 300)])
def test_coverage_near_one(accuracy: float, rows: int) -> None:
    """The whole distribution, not draws: the normal interval covers 0.80 of the first."""
    found = [stratified_proportion([x], [rows], [MANY]) for x in range(int(rows * 0.8), rows + 1)]
    held = [each.low <= accuracy <= each.high for each in found]
    chances = binom.pmf(np.arange(int(rows * 0.8), rows + 1), rows, accuracy)
    # mid-p is right on average over truths; of counts so few, single ones lie a little below
    assert 0.92 < float(chances @ held) < 0.99


@pytest.mark.parametrize(
    ("hits", "rows", "sizes"), [([2], [1], [5]), ([0], [0], [5]), ([1, 1], [2], [5]), ([1], [6], [5])]
)
def test_impossible_counts_are_refused(hits: list[int], rows: list[int], sizes: list[int]) -> None:
    with pytest.raises(InputError, match=r"one checked row or more in each stratum"):
        stratified_proportion(hits, rows, sizes)


def test_guesses_that_know_move_and_narrow_a_plain_sample() -> None:
    rng = np.random.default_rng(0)
    guesses = rng.beta(0.3, 0.3, 20_000)
    truth = rng.random(20_000) < guesses
    held, widths = [], []
    for _ in range(300):
        rows = rng.choice(20_000, 300, replace=False)
        powered = prediction_powered_proportion(truth[rows], guesses[rows], guesses)
        plain = proportion(int(truth[rows].sum()), 300)
        held.append(powered.low <= truth.mean() <= powered.high)
        widths.append((powered.high - powered.low) / (plain.high - plain.low))
    assert 0.91 < np.mean(held) < 0.99
    assert np.mean(widths) < 0.7


def test_prediction_powered_is_the_published_formula() -> None:
    rng = np.random.default_rng(1)
    guesses, hits = rng.random(50), rng.random(50) < 0.7
    every = np.concatenate([guesses, rng.random(950)])
    together = np.mean((hits - hits.mean()) * (guesses - guesses.mean()))
    pull = together / ((1 + 50 / 1000) * every.var())
    expected = hits.mean() if together <= 0 else hits.mean() + pull * (every.mean() - guesses.mean())
    assert prediction_powered_proportion(hits, guesses, every).value == pytest.approx(expected)


def test_guesses_that_know_nothing_leave_the_plain_share() -> None:
    hits = np.arange(40) < 30
    assert prediction_powered_proportion(hits, np.full(40, 0.5), np.full(900, 0.5)) == proportion(30, 40)


def test_guesses_of_other_lengths_are_refused() -> None:
    with pytest.raises(InputError, match=r"Pass a guess for each row"):
        prediction_powered_proportion([True, False], [0.5], [0.5, 0.5])
