"""Weights lie on the simplex and minimize the log loss; means do what their names say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.optimize import minimize

from kiyome.ensemble import blend_pred_probs, cross_fitted_blend, diversity, fit_weights
from kiyome.errors import InputError

HOWS = ("mean", "log", "rank")


def simulated(seed, num_members=3, num_rows=60, num_classes=3):
    """Labels, members of unequal worth, folds."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(num_classes, size=num_rows)
    members = []
    for worth in rng.uniform(0, 3, num_members):
        scores = rng.normal(size=(num_rows, num_classes)) + worth * np.eye(num_classes)[labels]
        members.append(np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True))
    return labels, members, np.arange(num_rows) % 3


def loss_of(weights, labels, members):
    blended = np.tensordot(weights, np.array(members), axes=1)
    return -np.log(blended[np.arange(len(labels)), labels]).mean()


seeds = st.integers(0, 10_000)


@given(seed=seeds, num_members=st.integers(1, 5))
@settings(derandomize=True, deadline=None, max_examples=30)
def test_weights_lie_on_the_simplex_and_no_corner_or_mean_is_better(seed, num_members):
    labels, members, _ = simulated(seed, num_members)
    weights = fit_weights(labels, members)
    assert (weights >= 0).all()
    assert weights.sum() == pytest.approx(1)
    best = loss_of(weights, labels, members)
    rivals = [*np.eye(num_members), np.full(num_members, 1 / num_members)]
    assert best <= min(loss_of(rival, labels, members) for rival in rivals) + 2e-6


@pytest.mark.parametrize("seed", range(4))
def test_weights_are_those_of_a_general_solver(seed):
    labels, members, _ = simulated(seed, 4, num_rows=200)
    found = minimize(
        lambda free: loss_of(np.exp(free) / np.exp(free).sum(), labels, members), np.zeros(4), tol=1e-12
    )
    assert loss_of(fit_weights(labels, members), labels, members) == pytest.approx(found.fun, abs=3e-6)


@given(seed=seeds, how=st.sampled_from(HOWS))
@settings(derandomize=True, deadline=None, max_examples=30)
def test_a_blend_of_equal_members_is_the_member_and_order_does_not_matter(seed, how):
    _, members, _ = simulated(seed)
    assert_allclose(blend_pred_probs([members[0]] * 3, how=how), members[0], atol=1e-9)
    forward, backward = blend_pred_probs(members, how=how), blend_pred_probs(members[::-1], how=how)
    assert_allclose(forward, backward, atol=1e-12)
    assert_allclose(forward.sum(axis=1), 1)


def test_means_equal_a_plain_loop():
    _, members, _ = simulated(0, 2)
    weights = np.array([3.0, 1.0])
    for row in range(len(members[0])):
        mean = 0.75 * members[0][row] + 0.25 * members[1][row]
        geometric = members[0][row] ** 0.75 * members[1][row] ** 0.25
        assert_allclose(blend_pred_probs(members, weights=weights)[row], mean)
        log = blend_pred_probs(members, how="log", weights=weights)[row]
        assert_allclose(log, geometric / geometric.sum())


def test_a_rank_mean_does_not_care_how_sure_a_member_is():
    _, members, _ = simulated(1, 2, num_classes=2)
    sharper = members[1] ** 4 / (members[1] ** 4).sum(axis=1, keepdims=True)
    plain, sharp = (blend_pred_probs([members[0], other], how="rank") for other in (members[1], sharper))
    assert (np.argsort(plain[:, 0]) == np.argsort(sharp[:, 0])).all()


def test_new_rows_are_placed_among_known_ones_each_alone():
    _, members, _ = simulated(2)
    new = [member[:5] for member in members]
    together = blend_pred_probs(new, how="rank", reference=members)
    alone = [blend_pred_probs([m[[row]] for m in new], how="rank", reference=members) for row in range(5)]
    assert_allclose(together, np.concatenate(alone))
    assert_allclose(together, blend_pred_probs(members, how="rank")[:5])


def test_a_folds_labels_have_no_say_in_its_rows():
    labels, members, folds = simulated(3)
    changed = np.where(folds == 1, (labels + 1) % 3, labels)
    before, after = (cross_fitted_blend(given, members, folds) for given in (labels, changed))
    held = folds == 1
    assert np.array_equal(before.pred_probs[held], after.pred_probs[held])
    assert not np.array_equal(before.pred_probs[~held], after.pred_probs[~held])
    expected = fit_weights(labels[~held], [member[~held] for member in members])
    assert_allclose(before.weights_by_fold[1], expected)


def test_diversity_equals_plain_counts():
    labels, members, _ = simulated(4)
    found = diversity(labels, members)
    choices = [member.argmax(axis=1) for member in members]
    wrong = [choice != labels for choice in choices]
    assert found.disagreement[0, 2] == np.mean(choices[0] != choices[2])
    assert found.error_correlation[0, 1] == pytest.approx(np.corrcoef(wrong[0], wrong[1])[0, 1])
    without = blend_pred_probs([members[0], members[2]])
    blended = blend_pred_probs(members)
    gain = np.mean(without.argmax(axis=1) == labels) - np.mean(blended.argmax(axis=1) == labels)
    assert found.accuracy_gain_when_left_out[1] == pytest.approx(gain)
    rows = np.arange(len(labels))
    loss = np.log(without[rows, labels]).mean() - np.log(blended[rows, labels]).mean()
    assert found.log_loss_gain_when_left_out[1] == pytest.approx(loss)
    assert found.agreement_with_blend[0] == np.mean(choices[0] == blended.argmax(axis=1))


def test_a_member_that_is_never_wrong_has_no_correlation():
    found = diversity([0, 1], [[[0.9, 0.1], [0.1, 0.9]], [[0.9, 0.1], [0.6, 0.4]]])
    assert np.isnan(found.error_correlation[0]).all()


P = [[0.9, 0.1], [0.2, 0.8]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: blend_pred_probs([]),
            r"members have shapes \[\]\. Expected one or more arrays of the same shape",
        ),
        (lambda: blend_pred_probs([P, P[:1]]), r"members have shapes \[\(2, 2\), \(1, 2\)\]"),
        (
            lambda: blend_pred_probs([P], how="median"),
            r"The how 'median' is unknown. Expected one of mean, log, rank",
        ),
        (
            lambda: blend_pred_probs([P, P], weights=[1, -1]),
            r"weights are \[1\.0, -1\.0\]\. Expected 2 finite numbers of 0 or more",
        ),
        (lambda: blend_pred_probs([P], weights=[0]), r"not all 0: one a member"),
        (
            lambda: blend_pred_probs([[[0.9, 0.3]]]),
            r"Row 0 of pred_probs sums to 1\.2",
        ),
        (
            lambda: blend_pred_probs([P], how="rank", reference=[P, P]),
            r"The reference has shape .* Expected the same members and classes",
        ),
        (lambda: fit_weights([0, 2], [P]), r"Label 2 in row 1 has no column"),
        (lambda: cross_fitted_blend([0, 1], [P], [0, 0]), r"number of folds is 1\. Expected 2 or more"),
        (
            lambda: cross_fitted_blend([0, 1], [P], [0.0, 1.0]),
            r"folds have shape .*Expected one whole number for each of 2 rows",
        ),
    ],
)
def test_what_cannot_be_blended_is_told(call, message):
    with pytest.raises(InputError, match=message):
        call()
