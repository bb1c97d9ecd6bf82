"""cleanlab 2.9.0 is the oracle: the same counts, masks, scores and orders, on inputs of every ugly kind."""

import warnings
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kiyome.noise import (
    confident_joint,
    confident_thresholds,
    find_label_issues,
    label_quality,
    noise_rate,
    posterior_from_transition,
    posterior_matrix,
    rank_label_issues,
    transition_from_posterior,
    transition_matrix,
)
from kiyome.noise.label_issues import METHODS, PRUNE_METHODS
from kiyome.noise.label_quality import METHODS as SCORES

count = pytest.importorskip("cleanlab.count")
cleanlab_filter = pytest.importorskip("cleanlab.filter")
latent_algebra = pytest.importorskip("cleanlab.internal.latent_algebra")
rank = pytest.importorskip("cleanlab.rank")

small = settings(derandomize=True, deadline=None, max_examples=100)
large = settings(derandomize=True, deadline=None, max_examples=25)

ADJUSTED_SCORES = [(score, adjust) for score in SCORES for adjust in (False, True)]
ADJUSTED_SCORES.remove(("confidence_weighted_entropy", True))


class Case(NamedTuple):
    labels: np.ndarray
    pred_probs: np.ndarray


def as_case(labels, weights, dtype, order):
    probs = (weights / weights.sum(axis=1, keepdims=True)).astype(dtype, order=order)
    # cleanlab refuses a single class, and entropies of probabilities a rounding error above one
    assume(len(set(labels.tolist())) >= 2)
    assume(probs.max() <= 1)
    return Case(labels, probs)


@st.composite
def small_cases(draw, dtypes=(np.float32, np.float64)):
    """2 to 24 rows of small whole weights: ties, one-hot rows, absent and single-row classes abound."""
    K, N = draw(st.integers(2, 5)), draw(st.integers(2, 24))
    rows = st.lists(st.integers(0, 6), min_size=K, max_size=K).filter(any)
    weights = np.array(draw(st.lists(rows, min_size=N, max_size=N)), dtype=np.float64)
    labels = np.array(draw(st.lists(st.integers(0, K - 1), min_size=N, max_size=N)))
    return as_case(labels, weights, draw(st.sampled_from(dtypes)), draw(st.sampled_from("CF")))


@st.composite
def large_cases(draw, dtypes=(np.float32, np.float64)):
    """Up to 1,500 rows and 40 classes of unequal sizes: smooth, coarse (tied) or one-hot."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    K, N = draw(st.sampled_from([2, 3, 10, 40])), draw(st.sampled_from([60, 400, 1500]))
    true = rng.choice(K, N, p=rng.dirichlet(np.full(K, draw(st.sampled_from([0.3, 3.0])))))
    labels = np.where(rng.random(N) < 0.3, rng.integers(0, K, N), true)
    logits = rng.normal(size=(N, K)) * draw(st.sampled_from([0.5, 2.0, 8.0]))
    logits[np.arange(N), true] += 2
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    look = draw(st.sampled_from(["smooth", "coarse", "one-hot"]))
    if look == "coarse":
        weights = np.ceil(weights * 5)
    if look == "one-hot":
        weights = np.floor(weights)
    return as_case(labels, weights, draw(st.sampled_from(dtypes)), draw(st.sampled_from("CF")))


def their_issues(case, **options):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="May not flag all label issues")
        return cleanlab_filter.find_label_issues(*case, n_jobs=1, **options)


def check_joint(case):
    thresholds = count.get_confident_thresholds(*case)
    np.testing.assert_array_equal(confident_thresholds(*case), thresholds)
    for calibrate in (False, True):
        theirs = count.compute_confident_joint(*case, calibrate=calibrate)
        ours = confident_joint(*case, calibrate=calibrate)
        np.testing.assert_array_equal(ours, theirs.T)


@small
@given(small_cases())
def test_joint_of_small_inputs(case):
    check_joint(case)


@large
@given(large_cases())
def test_joint_of_large_inputs(case):
    check_joint(case)


def test_a_half_that_only_the_second_scaling_decides():
    """Scaling the joint to N after its columns changes the last bit of a half, and so the rounding."""
    weights = np.array([[1, 2, 1, 2], [3, 1, 3, 0], [1, 0, 1, 0], [3, 3, 0, 3]])
    check_joint(Case(np.array([2, 1, 3, 3]), weights / weights.sum(axis=1, keepdims=True)))


def check_masks(case):
    for method in METHODS:
        ours = find_label_issues(*case, method=method)
        np.testing.assert_array_equal(ours, their_issues(case, filter_by=method), err_msg=method)


@small
@given(small_cases())
def test_masks_of_small_inputs(case):
    check_masks(case)


@large
@given(large_cases())
def test_masks_of_large_inputs(case):
    check_masks(case)


@large
@given(small_cases(dtypes=[np.float16]) | large_cases(dtypes=[np.float16]))
def test_masks_in_half_precision(case):
    check_masks(case)


@small
@given(
    case=small_cases() | large_cases(),
    method=st.sampled_from(list(PRUNE_METHODS)),
    frac_noise=st.sampled_from([0.0, 0.1, 0.5, 0.7, 1.0]),
    min_examples=st.sampled_from([0, 1, 2, 5, 20]),
)
def test_options_of_pruning(case, method, frac_noise, min_examples):
    options = {"frac_noise": frac_noise, "min_examples_per_class": min_examples}
    ours = find_label_issues(*case, method=method, **options)
    np.testing.assert_array_equal(ours, their_issues(case, filter_by=method, **options))


@small
@given(small_cases() | large_cases())
def test_scores_are_equal_to_the_last_bit(case):
    for score, adjust in ADJUSTED_SCORES:
        theirs = rank.get_label_quality_scores(*case, method=score, adjust_pred_probs=adjust)
        ours = label_quality(*case, method=score, adjust=adjust)
        np.testing.assert_array_equal(ours, theirs, err_msg=f"{score}, adjust={adjust}")
        assert ours.dtype == theirs.dtype


@small
@given(small_cases() | large_cases(), st.sampled_from(list(METHODS)), st.sampled_from(ADJUSTED_SCORES))
def test_orders(case, method, score_and_adjust):
    """Equal where scores differ; where they tie, theirs is any order and ours is that of the rows."""
    score, adjust = score_and_adjust
    by = {"return_indices_ranked_by": score, "rank_by_kwargs": {"adjust_pred_probs": adjust}}
    theirs = their_issues(case, filter_by=method, **by)
    ours = rank_label_issues(*case, method=method, score=score, adjust=adjust)
    scores = label_quality(*case, method=score, adjust=adjust)
    np.testing.assert_array_equal(scores[ours], scores[theirs])
    np.testing.assert_array_equal(ours, theirs[np.lexsort([theirs, scores[theirs]])])


@small
@given(small_cases() | large_cases())
def test_matrices_are_the_transposes_of_theirs(case):
    joint = count.compute_confident_joint(*case)
    _, noise_matrix, inverse_noise_matrix = count.estimate_latent(joint, case.labels)
    T, posterior = transition_matrix(*case), posterior_matrix(*case)
    seen_true, seen_given = joint.sum(axis=0) > 0, joint.sum(axis=1) > 0
    # they clip noise rates at 0.9999
    np.testing.assert_allclose(T[seen_true], noise_matrix.T[seen_true], atol=2e-4)
    np.testing.assert_allclose(posterior[seen_given], inverse_noise_matrix.T[seen_given], atol=2e-4)
    np.testing.assert_array_equal(T[~seen_true], np.eye(len(T))[~seen_true])
    np.testing.assert_array_equal(posterior[~seen_given], np.eye(len(T))[~seen_given])


@small
@given(st.integers(2, 6), st.integers(0, 2**32 - 1))
def test_closed_forms_are_those_of_their_latent_algebra(K, seed):
    rng = np.random.default_rng(seed)
    T, shares = rng.dirichlet(np.ones(K), size=K), rng.dirichlet(np.ones(K))
    theirs = latent_algebra.compute_inv_noise_matrix(py=shares, noise_matrix=T.T)
    np.testing.assert_allclose(posterior_from_transition(T, shares), theirs.T, atol=2e-4)
    theirs = latent_algebra.compute_noise_matrix_from_inverse(shares, T.T)
    np.testing.assert_allclose(transition_from_posterior(T, shares), theirs.T, atol=2e-4)


@large
@given(small_cases() | large_cases())
def test_noise_rate_is_one_less_the_trace_of_their_joint(case):
    theirs = 1 - count.estimate_joint(*case).trace()
    assert noise_rate(*case, method="confident_joint").value == pytest.approx(theirs, abs=1e-12)


@small
@given(small_cases() | large_cases())
def test_number_of_confident_issues(case):
    theirs = count.num_label_issues(*case)
    assert find_label_issues(*case, method="confident_learning").sum() == theirs
