"""Corners of the filters and of the ranking; cleanlab's masks are compared in test_against_cleanlab.py."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kiyome.errors import InputError
from kiyome.noise import (
    class_dependent_transition,
    confident_joint,
    find_label_issues,
    inject_label_noise,
    rank_label_issues,
    simulate_pred_probs,
)
from kiyome.noise.label_issues import METHODS, PLAIN_METHODS, PRUNE_METHODS
from kiyome.noise.top_classes import TopClasses, likeliest

examples = settings(derandomize=True, deadline=None, max_examples=40)


def noisy_set(seed=0, N=600, K=4, noise_rate=0.2):
    rng = np.random.default_rng(seed)
    true_labels = rng.integers(0, K, N)
    labels = inject_label_noise(true_labels, class_dependent_transition(K, noise_rate, rng), rng)
    return true_labels, labels, simulate_pred_probs(true_labels, K, rng)


@pytest.mark.parametrize("method", METHODS)
def test_flagged_rows_are_mostly_wrong_ones(method):
    true_labels, labels, probs = noisy_set()
    flagged = find_label_issues(labels, probs, method=method)
    wrong = labels != true_labels
    assert (flagged & wrong).sum() / flagged.sum() > 0.6
    assert (flagged & wrong).sum() / wrong.sum() > 0.5


@examples
@given(st.sampled_from(list(METHODS)), st.integers(0, 2**32 - 1))
def test_without_ties_the_order_of_rows_is_nothing(method, seed):
    _, labels, probs = noisy_set(seed, N=200)
    order = np.random.default_rng(seed).permutation(len(labels))
    flagged = find_label_issues(labels, probs, method=method)
    np.testing.assert_array_equal(
        find_label_issues(labels[order], probs[order], method=method), flagged[order]
    )


@pytest.mark.parametrize("method", METHODS)
def test_a_model_that_agrees_flags_nothing(method):
    labels = np.array([0, 1, 2, 0, 1, 2])
    assert not find_label_issues(labels, np.eye(3)[labels] * 0.7 + 0.1, method=method).any()


@pytest.mark.parametrize("method", METHODS)
def test_all_rows_of_one_class(method):
    """cleanlab refuses this; here the class is kept, bar the rows that the method is about."""
    probs = np.array([[0.1, 0.9], [0.1, 0.9], [0.9, 0.1]])
    flagged = find_label_issues([1, 1, 1], probs, method=method)
    assert flagged.tolist() == [False, False, method == "predicted_neq_given"]


@pytest.mark.parametrize("method", PRUNE_METHODS)
@pytest.mark.parametrize("min_examples", [0, 1])
def test_a_single_row_of_a_class_is_never_pruned(method, min_examples):
    labels = np.array([1, 1, 1, 1, 0])
    probs = np.array([[0.1, 0.9]] * 4 + [[0.01, 0.99]])
    assert confident_joint(labels, probs)[1, 0] == 1
    flagged = find_label_issues(labels, probs, method=method, min_examples_per_class=min_examples)
    assert not flagged.any()


@pytest.mark.parametrize("method", PRUNE_METHODS)
def test_min_examples_protects_small_classes(method):
    true_labels = np.array([0] * 30 + [1] * 6)
    labels = np.array([0] * 30 + [1] * 3 + [0] * 3)
    labels[:3] = 1  # six rows labeled 1, three of them wrong
    probs = np.where(true_labels[:, None] == 0, [0.9, 0.1], [0.1, 0.9])
    assert find_label_issues(labels, probs, method=method)[:3].all()
    assert not find_label_issues(labels, probs, method=method, min_examples_per_class=10)[labels == 1].any()


@pytest.mark.parametrize("method", PRUNE_METHODS)
def test_frac_noise_flags_fewer(method):
    _, labels, probs = noisy_set()
    sizes = [find_label_issues(labels, probs, method=method, frac_noise=f).sum() for f in (0, 0.5, 1)]
    assert sizes[0] == 0
    assert 0.3 * sizes[2] < sizes[1] < 0.7 * sizes[2]


@examples
@given(st.integers(0, 2**32 - 1), st.integers(2, 5))
def test_choice_without_a_copy_is_the_choice_of_a_raised_copy(seed, K):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, K, 50)
    probs = rng.integers(0, 3, (50, K)) / 4 + rng.integers(0, 3, (50, K)) * 1e-6
    raised = probs.copy()
    raised[np.arange(50), labels] += 1e-6
    classes, kept = likeliest(labels, probs, 2)
    rows = TopClasses(num_classes=K, classes=classes, probs=kept)
    np.testing.assert_array_equal(rows.prefers_given, raised.argmax(axis=1) == labels)


@pytest.mark.parametrize("method", METHODS)
def test_ranking_is_the_mask_in_order_of_score(method):
    _, labels, probs = noisy_set()
    ranked = rank_label_issues(labels, probs, method=method, score="self_confidence")
    np.testing.assert_array_equal(
        np.sort(ranked), np.flatnonzero(find_label_issues(labels, probs, method=method))
    )
    assert (np.diff(probs[ranked, labels[ranked]]) >= 0).all()


def test_equally_suspicious_rows_stay_in_row_order():
    labels = np.array([0] * 60 + [1] * 60)
    probs = np.tile([[0.25, 0.75]], (120, 1))
    assert rank_label_issues(labels, probs, method="predicted_neq_given").tolist() == list(range(60))


def test_unknown_names_list_the_known():
    with pytest.raises(
        InputError, match=r"The method 'prune' is unknown. Expected one of adaptive, prune_by_noise_rate, .*"
    ):
        find_label_issues([0, 1], np.eye(2), method="prune")
    with pytest.raises(
        InputError, match=r"The method 'self' is unknown. Expected one of adaptive, self_confidence, .*"
    ):
        rank_label_issues([0, 1], np.eye(2), score="self")


@pytest.mark.parametrize("method", ["adaptive", *PLAIN_METHODS])
@pytest.mark.parametrize("option", [{"frac_noise": 0.5}, {"min_examples_per_class": 5}])
def test_options_of_pruning_belong_to_pruning(method, option):
    with pytest.raises(
        InputError, match=r"has no frac_noise and no min.*Only prune_by_noise_rate, prune_by_class, both have"
    ):
        find_label_issues([0, 1], np.eye(2), method=method, **option)


@pytest.mark.parametrize(
    "option", [{"frac_noise": 1.5}, {"frac_noise": np.nan}, {"min_examples_per_class": -1}]
)
def test_options_out_of_range(option):
    with pytest.raises(
        InputError,
        match=r"out of its range\. Expected frac_noise in 0\.\.1 and min_examples_per_class of 0 or more",
    ):
        find_label_issues([0, 1], np.eye(2), method="both", **option)


def test_columns_in_another_order_than_the_classes_are_warned_of():
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=300)
    pred_probs = rng.dirichlet(np.ones(3), size=300) * 0.3 + 0.7 * np.eye(3)[labels]
    find_label_issues(labels, pred_probs)  # in the right order: no warning, or this test fails
    for exchanged in (find_label_issues, rank_label_issues):
        with pytest.warns(UserWarning, match=r"columns of pred_probs are probably in another order .*0 is 1"):
            exchanged(labels, pred_probs[:, [1, 2, 0]])


def test_predictions_that_are_the_same_for_all_rows_are_warned_of():
    labels = np.arange(300) % 3
    with pytest.warns(UserWarning, match=r"All rows of pred_probs prefer class 0 by the same"):
        find_label_issues(labels, np.tile([0.4, 0.3, 0.3], (300, 1)))
