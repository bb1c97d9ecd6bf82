"""Calibration error is debiased and covers."""

import numpy as np
import pytest

from kiyome.errors import InputError
from kiyome.evaluation.diagnostics import calibration_error, reliability_curve


def drawn(seed, num_rows=20_000, num_classes=4):
    """Probabilities, and labels drawn by them."""
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet(np.full(num_classes, 0.5), size=num_rows)
    labels = (rng.random((num_rows, 1)) > probs.cumsum(axis=1)).sum(axis=1).clip(max=num_classes - 1)
    return labels, probs


def test_the_error_of_a_perfect_model_is_about_zero_where_the_plain_one_is_not():
    inside = 0
    for seed in range(40):
        labels, probs = drawn(seed, num_rows=1000)
        error = calibration_error(labels, probs)
        inside += error.low == 0
        assert error.mean_gap > 0.015
    assert inside >= 37


def test_the_interval_covers_the_true_error():
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(100):
        labels = (rng.random(2000) > 0.7).astype(int)  # says 0.8, is right in 0.7
        error = calibration_error(labels, np.tile([0.8, 0.2], (2000, 1)))
        covered += error.low <= 0.1 <= error.high
    assert covered >= 88


def test_bins_hold_as_many_rows_each_and_count_right_ones():
    labels, probs = drawn(4, num_rows=103)
    curve = reliability_curve(labels, probs, num_bins=10)
    assert set(curve.num_rows.tolist()) == {10, 11}
    assert curve.num_right.sum() == (probs.argmax(axis=1) == labels).sum()
    order = np.argsort(probs.max(axis=1))[:11]
    assert curve.confidence[0] == pytest.approx(probs.max(axis=1)[order].mean())
    assert len(reliability_curve(labels[:3], probs[:3]).num_rows) == 3


def test_no_bins_are_refused():
    with pytest.raises(InputError, match="num_bins=0: expected one or more"):
        reliability_curve([0], [[0.5, 0.5]], num_bins=0)
