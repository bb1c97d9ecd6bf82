"""A member joins the first only where rows that did not choose it say that it helps."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import minimize

from kiyome.ensemble import select_members
from kiyome.ensemble.selection import fit_exponents, pool
from kiyome.errors import InputError

N, K, F = 900, 4, 3
FOLDS = np.arange(N) % F


def truth_and_labels(seed=0):
    """True classes, and given labels of which a tenth is wrong."""
    rng = np.random.default_rng(seed)
    true = rng.integers(K, size=N)
    return true, np.where(rng.random(N) < 0.1, (true + 1) % K, true)


def member(true, worth, seed):
    """Probabilities of a model whose scores of the true class are higher by `worth` deviations."""
    scores = np.random.default_rng(seed).normal(size=(N, K)) + worth * np.eye(K)[true]
    return np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)


def test_a_better_and_a_complementary_member_join_and_a_copy_and_a_blind_one_stay_out():
    true, labels = truth_and_labels()
    first, better, alike = member(true, 2, 1), member(true, 4, 2), member(true, 2, 3)
    blind = np.full((N, K), 1 / K)
    for other in (better, alike):
        found = select_members(labels, [first, other], FOLDS)
        assert found.helps[1]
        assert found.weights[1] > 0.4
        assert (found.pred_probs.argmax(axis=1) == true).mean() > (first.argmax(axis=1) == true).mean()
    found = select_members(labels, [first, blind, first, member(true, 0, 4)], FOLDS)
    assert_array_equal(found.weights, [1, 0, 0, 0])
    assert not found.helps.any()
    assert_array_equal(found.pred_probs.argmax(axis=1), first.argmax(axis=1))


def test_a_member_that_helps_may_add_nothing_to_another():
    true, labels = truth_and_labels()
    better = member(true, 4, 2)
    spoiled = pool(np.array([better, member(true, 0, 3)]), np.array([1, 0.5]))
    found = select_members(labels, [member(true, 1, 1), better, spoiled], FOLDS)
    assert found.helps[1:].all()
    assert found.weights[1] > 0
    assert found.weights[2] == 0


@pytest.mark.parametrize("fold", range(F))
def test_labels_of_a_fold_have_no_say_in_its_own_blend(fold):
    true, labels = truth_and_labels()
    members = [member(true, 2, 1), member(true, 2, 2), member(true, 0.5, 3)]
    own, others = fold == FOLDS, np.where(fold == FOLDS, (labels + 1) % K, labels)
    before, after = (select_members(each, members, FOLDS).pred_probs for each in (labels, others))
    assert_array_equal(before[own], after[own])
    assert np.abs(before[~own] - after[~own]).max() > 0


def test_rows_that_people_decided_judge_alone():
    true, labels = truth_and_labels()
    first, repeats = member(true, 2, 1), member(labels, 4, 2)  # the second repeats wrong labels
    assert select_members(labels, [first, repeats], FOLDS).helps[1]
    wrong_rows = np.where(labels != true, true, -1)
    judged = select_members(labels, [first, repeats], FOLDS, decided_labels=wrong_rows)
    assert judged.weights[1] == 0
    assert judged.gains[1] < 0
    nobody = select_members(labels, [first, repeats], FOLDS, decided_labels=np.full(N, -1))
    assert_array_equal(nobody.weights, [1, 0])
    assert_array_equal(nobody.gains, [0, 0])


def test_errors_are_over_groups_and_rows_without_weight_have_no_say():
    true, labels = truth_and_labels()
    few = np.arange(N) // 90  # ten groups of alike rows
    shared = np.random.default_rng(5).normal(size=10)[few, None] * np.eye(K)[true]
    first, other = member(true, 2, 1), np.exp(shared) / np.exp(shared).sum(axis=1, keepdims=True)
    alone = select_members(labels, [first, other], few % F)
    grouped = select_members(labels, [first, other], few % F, groups=few.astype(str))
    assert grouped.errors[1] > 1.5 * alone.errors[1]
    assert_allclose(grouped.gains, alone.gains)

    weights = (np.arange(N) < 600).astype(float)
    spoiled = np.where(weights > 0, labels, (labels + 1) % K)
    one, two = (
        select_members(each, [first, other], FOLDS, row_weights=weights) for each in (labels, spoiled)
    )
    assert_array_equal(one.pred_probs, two.pred_probs)
    assert_array_equal(one.gains, two.gains)


@pytest.mark.parametrize("seed", range(3))
def test_exponents_are_as_good_as_those_of_a_general_solver(seed):
    true, labels = truth_and_labels(seed)
    members = np.array([member(true, worth, 10 * seed + n) for n, worth in enumerate((1, 2, 0))])

    def loss(exponents):
        return -np.log(pool(members, exponents)[np.arange(N), labels]).mean()

    found = minimize(loss, np.full(3, 0.3), method="Nelder-Mead", bounds=[(0, 50)] * 3, tol=1e-9)
    assert loss(fit_exponents(labels, members)) <= found.fun + 1e-5


def test_a_fold_whose_others_have_no_weight_keeps_the_first_member():
    true, labels = truth_and_labels()
    first, other = member(true, 1, 1), member(true, 4, 2)
    found = select_members(labels, [first, other], FOLDS, row_weights=FOLDS == 0)
    assert_allclose(found.pred_probs[FOLDS == 0], first[FOLDS == 0])
    assert (found.pred_probs.argmax(axis=1) == true)[FOLDS > 0].mean() > 0.9


def test_probabilities_of_zero_and_single_folds_are_no_trap():
    true, labels = truth_and_labels()
    one_hot = np.eye(K)[true]
    found = select_members(labels, [member(true, 1, 1), one_hot], FOLDS)
    assert np.isfinite(found.pred_probs).all()
    assert_allclose(found.pred_probs.sum(axis=1), 1)
    with pytest.raises(InputError, match=r"The number of folds is 1\. Expected 2 or more"):
        select_members(labels, [one_hot, one_hot], np.zeros(N, int))
