"""Paired comparisons: against brute force, against coverage by simulation, and by their symmetries."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kiyome.errors import InputError
from kiyome.evaluation.compare import compare, rows_to_detect, score_interval

counts = st.integers(0, 40)


def rows(both: int, first: int, second: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    sizes = [both, first, second, neither]
    return np.repeat([True, True, False, False], sizes), np.repeat([True, False, True, False], sizes)


def largest_likelihood(first: int, second: int, n: int, d: float) -> float:
    """P(only the second is right) under a difference of d, by trying all values."""
    share = np.linspace(max(0, -d), (1 - d) / 2, 20_001)[1:-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        log_likelihood = (
            np.where(first > 0, first * np.log(share + d), 0)
            + np.where(second > 0, second * np.log(share), 0)
            + (n - first - second) * np.log1p(-2 * share - d)
        )
    return float(share[np.nanargmax(log_likelihood)])


@pytest.mark.parametrize(("first", "second", "n"), [(14, 1, 54), (3, 9, 200), (5, 5, 30), (1, 0, 100)])
def test_the_bounds_are_where_the_score_statistic_is_two_sided_significant(
    first: int, second: int, n: int
) -> None:
    for bound in score_interval(first, second, n, 0.95):
        share = largest_likelihood(first, second, n, bound)
        statistic = (first - second - n * bound) / np.sqrt(n * (2 * share + bound * (1 - bound)))
        assert abs(statistic) == pytest.approx(1.96, abs=0.02)


@given(counts, counts, counts, counts)
@settings(derandomize=True, deadline=None)
def test_exchanging_the_models_exchanges_the_verdict(
    both: int, first: int, second: int, neither: int
) -> None:
    if both + first + second + neither == 0:
        return
    a, b = rows(both, first, second, neither)
    there, back = compare(a, b), compare(b, a)
    assert there.difference.value == -back.difference.value
    assert there.difference.low == pytest.approx(-back.difference.high, abs=1e-9)
    assert there.p_value == back.p_value
    assert {"better": "worse", "worse": "better"}.get(there.verdict, "cannot tell") == back.verdict
    assert -1 <= there.difference.low <= there.difference.value <= there.difference.high <= 1


@pytest.mark.parametrize(("first", "second"), [(0, 0), (0, 1), (3, 3), (2, 9), (40, 17), (900, 1100)])
def test_the_p_value_is_that_of_the_exact_binomial_test(first: int, second: int) -> None:
    from scipy.stats import binomtest

    expected = binomtest(first, first + second).pvalue if first + second else 1.0
    assert compare(*rows(5, first, second, 5)).p_value == pytest.approx(expected, rel=1e-12)


def test_the_interval_covers_where_few_rows_differ() -> None:
    rng = np.random.default_rng(0)
    true = np.array([0.03, 0.01, 0.96])  # only first, only second, alike
    drawn = rng.multinomial(150, true, size=2000)
    covered = [
        low <= 0.02 <= high for low, high in (score_interval(int(f), int(s), 150, 0.95) for f, s, _ in drawn)
    ]
    assert 0.93 <= np.mean(covered) <= 0.975


def test_groups_that_err_together_widen_the_interval() -> None:
    rng = np.random.default_rng(1)
    kind = rng.choice(3, size=200, p=[0.2, 0.15, 0.65]).repeat(5)
    a, b = kind != 1, kind != 0
    alone, grouped = compare(a, b), compare(a, b, groups=np.arange(1000) // 5)
    width = [x.difference.high - x.difference.low for x in (alone, grouped)]
    assert 1.8 < width[1] / width[0] < 2.7  # sqrt(5) for groups of five that are alike


def test_a_bootstrap_of_single_rows_agrees_with_the_score_interval() -> None:
    a, b = rows(800, 90, 50, 60)
    score, drawn = compare(a, b), compare(a, b, groups=np.full(1000, ""))
    assert drawn.difference.low == pytest.approx(score.difference.low, abs=0.003)
    assert drawn.difference.high == pytest.approx(score.difference.high, abs=0.003)


def test_the_rows_needed_show_the_difference_four_times_in_five() -> None:
    n = compare(*rows(850, 60, 40, 50)).rows_needed
    assert n is not None
    drawn = np.random.default_rng(2).multinomial(n, [0.06, 0.04, 0.9], size=400)
    shown = [score_interval(int(f), int(s), n, 0.95)[0] > 0 for f, s, _ in drawn]
    assert 0.74 <= np.mean(shown) <= 0.86
    assert compare(*rows(5, 2, 2, 1)).rows_needed is None


def test_noise_that_shrinks_a_difference_asks_for_more_rows() -> None:
    clean, noisy = rows_to_detect(0.01, 0.05), rows_to_detect(-0.01, 0.05, shrinkage=0.5)
    assert noisy == pytest.approx(4 * clean, rel=0.01)
    with pytest.raises(InputError, match="Expected a difference that is not 0"):
        rows_to_detect(0.1, 0.05)


def test_more_rows_never_widen_the_interval() -> None:
    widths = [high - low for low, high in (score_interval(3 * k, k, 100 * k, 0.95) for k in (1, 2, 4, 8))]
    assert all(wide > narrow for wide, narrow in pairwise(widths))


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ([True], [True, False], "The models have 1 and 2 rows"),
        ([0.5], [True], "first has shape"),
        ([], [], "first has shape"),
    ],
)
def test_bad_arrays_are_refused(first: list[float], second: list[bool], message: str) -> None:
    with pytest.raises(InputError, match=message):
        compare(np.array(first), np.array(second))
