"""Readings of two models as probabilities: calibrated on held-out rows, never certain, whatever the scale."""

import numpy as np
import pytest

from kiyome.features.readings import Trial, best_trial, calibrated, ridge_readings, softmax
from kiyome.features.ridge import Ridge


@pytest.mark.parametrize("scale", [0.1, 1, 20])
def test_the_factor_brings_logits_to_their_true_scale(scale):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20_000, 5)).astype(np.float32) * 2
    probs = softmax(logits).astype(float)
    labels = (probs.cumsum(axis=1) > rng.random((20_000, 1))).argmax(axis=1)
    factor, _ = calibrated(logits / np.float32(scale), labels, np.ones(20_000, np.float32))
    assert factor == pytest.approx(scale, rel=0.05)


def test_perfect_predictions_on_few_rows_do_not_become_certain():
    labels = np.arange(40) % 2
    logits = np.eye(2, dtype=np.float32)[labels]
    factor, loss = calibrated(logits, labels, np.ones(40, np.float32))
    assert 0.9 < softmax(factor * logits).max() < 0.999
    assert 0 < loss < 0.1


def test_rows_without_weight_have_no_say():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(60, 3)).astype(np.float32), np.arange(60) % 3
    weights = (np.arange(60) < 40).astype(np.float32)
    before = calibrated(logits, labels, weights)
    after = calibrated(np.where(weights[:, None] > 0, logits, 9), np.where(weights > 0, labels, 0), weights)
    assert before == pytest.approx(after, rel=0.05)


def test_a_class_that_training_lacked_has_no_score():
    solved = Ridge(np.zeros((4, 3), np.float32), np.array([0.5, 0, 0.5], np.float32))
    for reading in ridge_readings(solved, np.ones((2, 4), np.float32)):
        assert (reading[:, 1] == -np.inf).all()
        np.testing.assert_allclose(softmax(reading)[:, 1], 0)


def test_the_strength_is_one_that_both_held_out_parts_reached():
    curves = [[Trial(5, (1.0,)), Trial(3, (2.0,)), Trial(0, (9.0,))], [Trial(5, (1.0,)), Trial(4, (8.0,))]]
    assert best_trial(curves) == (1, pytest.approx((4.0,)))
