"""Both readings, the four ways of the talk, and the refusal to count the noise twice."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from kiyome.ensemble import apply_error_distribution, correct_pred_probs
from kiyome.errors import InputError
from kiyome.noise import find_label_issues, posterior_matrix, transition_matrix

T = np.array([[0.7, 0.3, 0.0], [0.0, 0.9, 0.1], [0.0, 0.0, 1.0]])


@pytest.fixture(scope="module")
def noisy():
    """Given labels, posteriors of the truth and of given labels, folds: classes of unequal size."""
    rng = np.random.default_rng(0)
    n, shares = 3000, np.array([0.5, 0.3, 0.2])
    true = rng.choice(3, size=n, p=shares)
    scores = rng.normal(size=(n, 3)) + 3 * np.eye(3)[true]
    clean = shares * np.exp(3 * scores)
    clean /= clean.sum(axis=1, keepdims=True)
    labels = (rng.random((n, 1)) > T[true].cumsum(axis=1)).sum(axis=1)
    return labels, clean, clean @ T, np.arange(n) % 5


def agreement(labels, probs):
    rows = np.arange(len(labels))
    return np.log(probs[rows, labels].clip(1e-7)).mean()


@given(seed=st.integers(0, 1000))
@settings(derandomize=True, deadline=None, max_examples=20)
def test_an_identity_changes_nothing(seed):
    probs = np.random.default_rng(seed).dirichlet(np.ones(4), size=9)
    assert_allclose(apply_error_distribution(probs, np.eye(4)), probs)


def test_labels_without_noise_leave_predictions_as_they_are():
    labels = np.arange(60) % 3
    sure = np.full((60, 3), 0.01) + 0.97 * np.eye(3)[labels]
    for direction, estimates in (("given", "true"), ("true", "given")):
        corrected = correct_pred_probs(
            labels, sure, np.arange(60) // 20, estimates=estimates, direction=direction
        )
        assert_allclose(corrected.pred_probs, sure)
        assert not corrected.notes


def test_a_model_of_the_truth_gains_on_given_labels_and_a_model_of_labels_loses(noisy):
    labels, clean, observed, folds = noisy
    from_labels = {"noise_from": observed, "direction": "given"}
    gained = correct_pred_probs(labels, clean, folds, estimates="true", **from_labels)
    assert agreement(labels, gained.pred_probs) > agreement(labels, clean) + 0.02
    twice = correct_pred_probs(
        labels, observed, folds, estimates="given", allow_double_noise=True, **from_labels
    )
    assert agreement(labels, twice.pred_probs) < agreement(labels, observed) - 0.005
    assert twice.notes == (
        "the model estimates given labels and P(given | true) is applied: the noise counts twice",
    )


@pytest.mark.parametrize(
    ("direction", "matrix_of"), [("given", transition_matrix), ("true", posterior_matrix)]
)
def test_each_fold_gets_the_matrix_of_the_others(noisy, direction, matrix_of):
    labels, _, observed, folds = noisy
    estimates = "true" if direction == "given" else "given"
    corrected = correct_pred_probs(labels, observed, folds, estimates=estimates, direction=direction)
    for fold in range(5):
        matrix = matrix_of(labels[folds != fold], observed[folds != fold])
        assert_allclose(corrected.pred_probs[folds == fold], observed[folds == fold] @ matrix)
    assert_allclose(corrected.matrix, matrix_of(labels, observed))
    changed = np.where(folds == 1, (labels + 1) % 3, labels)
    after = correct_pred_probs(changed, observed, folds, estimates=estimates, direction=direction)
    assert np.array_equal(corrected.pred_probs[folds == 1], after.pred_probs[folds == 1])


def test_only_the_rows_that_were_asked_for_change(noisy):
    labels, clean, observed, folds = noisy
    ways = {"estimates": "given", "direction": "true"}
    flagged = correct_pred_probs(labels, observed, folds, rows="flagged", **ways)
    assert np.array_equal(flagged.rows, find_label_issues(labels, observed))
    assert "selected by their own labels" in flagged.notes[0]
    differ = correct_pred_probs(labels, observed, folds, rows="disagree", clean_pred_probs=clean, **ways)
    assert np.array_equal(differ.rows, observed.argmax(axis=1) != clean.argmax(axis=1))
    replaced = correct_pred_probs(
        labels, observed, folds, estimates="true", rows="disagree", clean_pred_probs=clean, apply_to="clean"
    )
    whole = correct_pred_probs(labels, clean, folds, estimates="true", noise_from=observed).pred_probs
    assert_allclose(replaced.pred_probs, np.where(differ.rows[:, None], whole, observed))
    for corrected in (flagged, differ):
        assert 0 < corrected.rows.sum() < len(labels)
        changed = np.abs(corrected.pred_probs - observed).max(axis=1)
        assert changed[~corrected.rows].max() < 1e-12
        assert changed[corrected.rows].min() > 1e-6


def test_the_noise_is_not_taken_out_twice_either(noisy):
    labels, clean, _, folds = noisy
    with pytest.raises(InputError, match=r"P\(true \| given\) is applied: the noise is removed twice"):
        correct_pred_probs(labels, clean, folds, estimates="true", direction="true")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"estimates": "given"}, r"the noise counts twice\. Choose the other direction"),
        ({"estimates": "labels"}, r"The estimates .* is unknown. Expected one of given, true"),
        (
            {"estimates": "true", "direction": "T"},
            r"The direction .* is unknown. Expected one of given, true",
        ),
        (
            {"estimates": "true", "rows": "some"},
            r"The rows .* is unknown. Expected one of all, flagged, disagree",
        ),
        ({"estimates": "true", "apply_to": "clean"}, r"The apply_to 'clean' is unknown. Expected one of run"),
        (
            {"estimates": "true", "rows": "disagree"},
            r'rows="disagree" without clean_pred_probs\. Expected both',
        ),
        ({"estimates": "true", "clean_pred_probs": [[1.0, 0.0]]}, r'rows="all" with clean_pred_probs'),
        (
            {"estimates": "true", "noise_from": [[1.0, 0.0]]},
            r"noise_from has shape .* Expected the same rows and classes",
        ),
    ],
)
def test_what_cannot_be_corrected_is_told(noisy, options, message):
    labels, _, observed, folds = noisy
    with pytest.raises(InputError, match=message):
        correct_pred_probs(labels, observed, folds, **options)
