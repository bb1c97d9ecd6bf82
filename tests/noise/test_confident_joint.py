"""The joint against a plain loop, and its corners: absent classes, rows that are placed nowhere."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kiyome.noise import confident_joint, confident_thresholds, posterior_matrix, transition_matrix

examples = settings(derandomize=True, deadline=None, max_examples=60)


def loop_joint(labels, probs):
    """The definition, row by row: over several thresholds, the likeliest class of all."""
    K = probs.shape[1]
    thresholds = [
        np.mean([p[k] for p, s in zip(probs, labels, strict=True) if s == k] or [2]) for k in range(K)
    ]
    counts = np.zeros((K, K), dtype=int)
    for p, given_label in zip(probs, labels, strict=True):
        confident = [k for k in range(K) if p[k] >= max(thresholds[k], 2e-6) - 1e-6]
        if confident:
            true = confident[0] if len(confident) == 1 else max(range(K), key=lambda k, p=p: p[k])
            counts[true, given_label] += 1
    for k in range(K):
        counts[k, k] = max(counts[k, k], 1)
    return counts


@examples
@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.integers(1, 60))
def test_raw_joint_is_the_loop(seed, K, N):
    rng = np.random.default_rng(seed)
    labels, probs = rng.integers(0, K, N), rng.dirichlet(np.full(K, 0.7), N)
    np.testing.assert_array_equal(confident_joint(labels, probs, calibrate=False), loop_joint(labels, probs))


@examples
@given(st.integers(0, 2**32 - 1), st.integers(2, 30), st.integers(1, 300))
def test_calibrated_columns_sum_to_the_label_counts(seed, K, N):
    rng = np.random.default_rng(seed)
    labels, probs = rng.integers(0, rng.integers(1, K + 1), N), rng.dirichlet(np.full(K, 0.3), N)
    joint = confident_joint(labels, probs)
    assert (joint >= 0).all()
    np.testing.assert_array_equal(joint.sum(axis=0), np.bincount(labels, minlength=K))


def test_rows_are_true_classes():
    """Ten rows of class 0, three of them labeled 1: they stand in row 0, column 1."""
    labels = np.array([0] * 7 + [1] * 3 + [1] * 10)
    probs = np.where(np.arange(20)[:, None] < 10, [0.9, 0.1], [0.1, 0.9])
    np.testing.assert_array_equal(confident_joint(labels, probs), [[7, 3], [0, 10]])


def test_a_class_that_nobody_was_given():
    labels, probs = np.array([0, 0, 2, 2]), np.eye(3)[[0, 0, 2, 1]]
    np.testing.assert_array_equal(confident_thresholds(labels, probs), [1.0, 2.0, 0.5])
    joint = confident_joint(labels, probs)
    np.testing.assert_array_equal(joint, [[2, 0, 0], [0, 0, 0], [0, 0, 2]])
    for matrix in (transition_matrix(labels, probs), posterior_matrix(labels, probs)):
        np.testing.assert_array_equal(matrix, np.eye(3))


def test_all_rows_of_one_class():
    joint = confident_joint([2, 2, 2], [[0.2, 0.3, 0.5]] * 3)
    np.testing.assert_array_equal(joint, np.diag([0, 0, 3]))


def test_a_class_that_no_row_is_placed_in():
    """Rows labeled 1 look like class 0 throughout, and class 1's threshold is theirs alone."""
    labels = np.array([0, 0, 0, 1, 1])
    probs = np.array([[0.9, 0.1]] * 3 + [[0.95, 0.05], [0.7, 0.3]])
    T = transition_matrix(labels, probs)
    np.testing.assert_allclose(T.sum(axis=1), 1)
    assert confident_joint(labels, probs).sum() == 5


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_thresholds_keep_the_type(dtype):
    probs = np.array([[0.75, 0.25], [0.25, 0.75]], dtype=dtype)
    thresholds = confident_thresholds([0, 1], probs)
    assert thresholds.dtype == dtype
    np.testing.assert_array_equal(thresholds, [0.75, 0.75])


def test_more_rows_than_a_block_holds():
    rng = np.random.default_rng(0)
    labels, probs = rng.integers(0, 3, 100_000), rng.dirichlet(np.ones(3), 100_000)
    halves = [loop_free(labels, probs, rows) for rows in (slice(0, 50_000), slice(50_000, None))]
    np.testing.assert_array_equal(confident_joint(labels, probs, calibrate=False), sum(halves))


def loop_free(labels, probs, rows):
    """The paper's rule in one piece, with all rows' thresholds."""
    confident = probs[rows] >= confident_thresholds(labels, probs) - 1e-6
    place = np.where(confident.sum(axis=1) > 1, probs[rows].argmax(axis=1), confident.argmax(axis=1))
    placed = confident.any(axis=1)
    return np.histogram2d(place[placed], labels[rows][placed], bins=(range(4), range(4)))[0]
