"""Scores with and without leaked rows: counts by hand, coverage of the difference by simulation."""

import numpy as np
import pytest

from kiyome.errors import InputError
from kiyome.evaluation.leaks import scores_without_leaks


def test_the_sentence_holds_both_scores_and_the_conflicts() -> None:
    in_train = np.arange(1000) < 41
    right = np.where(in_train, np.arange(1000) >= 1, np.arange(1000) % 15 != 0)
    found = scores_without_leaks(right, in_train, np.arange(1000) < 5)
    assert found.without_leaks is not None
    assert found.difference is not None
    assert (found.num_leaks, found.num_conflicts) == (41, 5)
    assert found.without_leaks.value == right[41:].mean()
    assert found.difference.value == pytest.approx(right.mean() - right[41:].mean())
    assert "without the 41 that probably lie in train, 5 of these with another label: +" in found.describe()


def test_the_interval_of_the_difference_covers() -> None:
    covered = []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        in_train = np.arange(600) < 60
        right = rng.random(600) < np.where(in_train, 0.98, 0.9)
        gain = scores_without_leaks(right, in_train, np.zeros(600, bool)).difference
        assert gain is not None
        covered.append(gain.low <= 0.1 * 0.08 <= gain.high)
    assert 0.92 <= np.mean(covered) <= 0.985


def test_none_and_all_leaked() -> None:
    right, none = np.arange(50) % 5 > 0, np.zeros(50, bool)
    without = scores_without_leaks(right, none)
    assert (without.on_leaks, without.without_leaks, without.difference) == (None, without.on_all, None)
    assert without.describe().endswith("on all rows, none of which is known to lie in train.")
    every = scores_without_leaks(right, ~none)
    assert every.without_leaks is None
    assert every.describe().endswith("all of which probably lie in train.")


def test_groups_widen_every_interval() -> None:
    rng = np.random.default_rng(0)
    right, in_train = rng.random(100) < 0.8, rng.random(100) < 0.4
    four = [np.repeat(each, 4) for each in (right, in_train, np.zeros(100, bool))]
    alone, grouped = scores_without_leaks(*four), scores_without_leaks(*four, groups=np.arange(400) // 4)
    assert alone.difference is not None
    assert grouped.difference is not None
    wide, narrow = (each.difference.high - each.difference.low for each in (grouped, alone))
    assert wide > 1.5 * narrow


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (([True, False], [True], [False, False]), r"is_leaked has shape \(1,\)"),
        (([1, 0], [True, False], [False, False]), r"correct has shape \(2,\) of int"),
        (([True, False], [True, False], [False, True]), "Row 1 has another label in train"),
    ],
)
def test_what_does_not_fit_is_refused(arrays: tuple[list[bool], ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        scores_without_leaks(*(np.array(each) for each in arrays))
