"""Scores by hand; cleanlab's are compared in test_against_cleanlab.py."""

import numpy as np
import pytest

from kiyome.errors import InputError
from kiyome.noise import label_quality
from kiyome.noise.label_quality import METHODS

LABELS = np.array([0, 0, 1, 2])
PROBS = np.array([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.0, 1.0, 0.0], [0.4, 0.4, 0.2]])


def test_by_hand():
    np.testing.assert_allclose(label_quality(LABELS, PROBS, method="self_confidence"), [0.6, 0.2, 1.0, 0.2])
    margins = label_quality(LABELS, PROBS, method="normalized_margin")
    np.testing.assert_allclose(margins, [0.65, 0.35, 1.0, 0.4])


def test_entropy_of_a_sure_row_is_one_if_right_and_low_if_wrong():
    sure = np.array([[1.0, 0.0], [1.0, 0.0], [0.9, 0.1], [0.9, 0.1]])
    scores = label_quality([0, 1, 0, 1], sure, method="confidence_weighted_entropy")
    ratio = -(0.9 * np.log(0.9) + 0.1 * np.log(0.1)) / np.log(2) / np.array([0.9, 0.1])
    np.testing.assert_allclose(scores[2:], np.log(1 + ratio) / ratio)
    # a one-hot row has no entropy: the known blind spot of this score
    np.testing.assert_allclose(scores[:2], 0)


def test_adjustment_by_hand():
    """Thresholds are 0.4, 1.0 and 0.2; each is taken off, the largest added, rows scaled to one."""
    shifted = PROBS - [0.4, 1.0, 0.2] + 1.0
    expected = (shifted / shifted.sum(axis=1, keepdims=True))[np.arange(4), LABELS]
    np.testing.assert_allclose(label_quality(LABELS, PROBS, method="self_confidence", adjust=True), expected)


@pytest.mark.parametrize("method", METHODS)
def test_scores_lie_in_zero_to_one(method):
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.full(4, 0.3), 500)
    scores = label_quality(rng.integers(0, 4, 500), probs, method=method)
    assert scores.shape == (500,)
    assert (scores >= 0).all()
    assert (scores <= 1).all()


def test_pred_probs_are_left_alone():
    before = PROBS.copy()
    for method in METHODS:
        label_quality(LABELS, PROBS, method=method)
    label_quality(LABELS, PROBS)
    label_quality(LABELS, PROBS, method="self_confidence", adjust=True)
    np.testing.assert_array_equal(PROBS, before)


def test_unknown_method_lists_the_known():
    with pytest.raises(
        InputError, match="one of adaptive, self_confidence, normalized_margin, confidence_weighted_entropy"
    ):
        label_quality(LABELS, PROBS, method="margin")


@pytest.mark.parametrize("method", ["confidence_weighted_entropy", "adaptive"])
def test_some_methods_have_no_adjusted_form(method):
    with pytest.raises(InputError, match=rf"adjust=True: the method {method} has no adjusted form\. Leave"):
        label_quality(LABELS, PROBS, method=method, adjust=True)
