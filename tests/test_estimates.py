import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from kiyome.errors import InputError
from kiyome.estimates import proportion, ratio_of_proportions


@settings(derandomize=True, deadline=None)
@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_share_equals_scipy(counts: tuple[int, int]) -> None:
    hits, rows = counts
    ours = proportion(hits, rows)
    theirs = binomtest(hits, rows).proportion_ci(method="wilson")
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_the_ratio_covers_the_truth_about_as_often_as_it_says() -> None:
    """Exact enumeration, no sampling: 60 against 300 rows at shares 0.4 and 0.15."""
    covered = sum(
        binom.pmf(a, 60, 0.4) * binom.pmf(b, 300, 0.15)
        for a in range(1, 61)
        for b in range(1, 301)
        if (estimate := ratio_of_proportions(a, 60, b, 300)).low <= 0.4 / 0.15 <= estimate.high
    )
    assert 0.94 < covered < 0.965


def test_impossible_counts_are_named() -> None:
    with pytest.raises(
        InputError, match=r"There are 3 hits in 2 rows\. Expected one row or more.* Count again\."
    ):
        proportion(3, 2)
    with pytest.raises(InputError, match=r"have 0 hits of 5 and 1 of 5\."):
        ratio_of_proportions(0, 5, 1, 5)
    with pytest.raises(InputError, match=r"confidence=95 is no confidence level.*Pass 0\.95"):
        proportion(1, 2, confidence=95)
