"""Finding rows of a kind: scikit-learn as the oracle, and intervals by repetition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from kiyome.errors import InputError
from kiyome.evaluation.metrics import average_precision, detection, gain_in_average_precision

rows = st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2, max_size=40)


@given(rows)
@settings(derandomize=True, deadline=None)
def test_average_precision_is_that_of_scikit_learn(drawn: list[tuple[bool, int]]) -> None:
    kind, scores = np.array([k for k, _ in drawn]), np.array([float(s) for _, s in drawn])
    if kind.any() and not kind.all():
        assert average_precision(kind, scores) == pytest.approx(average_precision_score(kind, scores))


def scored(rng: np.random.Generator, num_rows: int = 400) -> tuple[np.ndarray, np.ndarray]:
    kind = rng.random(num_rows) < 0.2
    return kind, rng.normal(size=num_rows) + 1.2 * kind


def test_the_interval_covers_the_average_precision_of_many_rows() -> None:
    truth = average_precision(*scored(np.random.default_rng(99), 200_000))
    found = [detection(*scored(np.random.default_rng(seed))).average_precision for seed in range(60)]
    assert np.mean([each.low <= truth <= each.high for each in found]) >= 0.88


def test_the_same_draws_make_a_paired_gain_narrow() -> None:
    kind, scores = scored(np.random.default_rng(0))
    same = gain_in_average_precision(kind, scores, 2 * scores + 1)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    worse = gain_in_average_precision(kind, scores, scores + np.random.default_rng(1).normal(size=400))
    assert worse.low > 0


def test_precision_and_recall_count_rows_above_the_cut() -> None:
    found = detection(np.array([True, True, False, True]), np.array([0.9, 0.2, 0.6, 0.5]))
    assert (found.precision.value, found.recall.value, found.num_above) == (2 / 3, 2 / 3, 3)
    assert detection(np.array([True, False]), np.zeros(2)).precision is None


@pytest.mark.parametrize(
    ("kind", "scores", "message"),
    [
        ([True, False], [0.1], "Expected is_kind .N,. of bool and scores .N,."),
        ([1, 0], [0.1, 0.2], "Expected is_kind .N,. of bool and scores .N,."),
        ([True, False], [0.1, np.nan], "scores are not all finite"),
        ([True, True], [0.1, 0.2], "2 of 2 rows are of the kind"),
    ],
)
def test_bad_arrays_are_refused(kind: list, scores: list[float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        detection(np.array(kind), np.array(scores))
