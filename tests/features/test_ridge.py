"""Kernel ridge regression from sums of likeness, against the plain formula."""

import numpy as np
import pytest

from kiyome.features import ridge
from kiyome.features.inputs import fit_input_map


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 240)
    features = rng.normal(size=(3, 12))[labels] + 2 * rng.normal(size=(240, 12))
    input_map = fit_input_map(features.astype(np.float32), np.arange(240))
    likeness = input_map(features.astype(np.float32)).likeness
    return likeness, labels, likeness[input_map.landmark_rows].astype(float), np.arange(240) % 4


@pytest.mark.parametrize("weighted", [False, True])
def test_is_exact_kernel_ridge_where_every_row_is_a_landmark(problem, weighted):
    """The held-out rows among the landmarks change nothing: the best function does not need them."""
    from sklearn.kernel_ridge import KernelRidge

    likeness, labels, between, folds = problem
    train = folds != 0
    weights = np.random.default_rng(1).uniform(0.5, 2, 240) if weighted else np.ones(240)
    sums = ridge.sums_of(likeness, np.flatnonzero(train), labels, weights.astype(np.float32), 3)
    solved = ridge.solve(sums, 0.5, between)
    of_row = likeness.argmax(axis=1)  # the landmark that each row is
    kernel = likeness[:, of_row].astype(float)
    shares = np.bincount(labels[train], weights[train], 3) / weights[train].sum()
    targets = np.eye(3)[labels[train]] - shares
    theirs = KernelRidge(alpha=0.5, kernel="precomputed")
    theirs.fit(kernel[np.ix_(train, train)], targets, sample_weight=weights[train])
    expected = theirs.predict(kernel[np.ix_(~train, train)]) + shares
    found = likeness[~train] @ solved.coefficients + solved.shares
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_the_sums_of_folds_are_those_of_all_rows(monkeypatch, problem):
    likeness, labels, _, folds = problem
    ones = np.ones(240, np.float32)
    whole = ridge.sums_of(likeness, np.arange(240), labels, ones, 3)
    monkeypatch.setattr(ridge, "BLOCK", 17)
    parts = [ridge.sums_of(likeness, np.flatnonzero(folds == k), labels, ones, 3) for k in range(4)]
    for mine, theirs in zip(ridge.total(parts), whole, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5)


def test_fewer_landmarks_come_near(problem):
    likeness, labels, between, _ = problem
    sums = ridge.sums_of(likeness, np.arange(240), labels, np.ones(240, np.float32), 3)
    whole, few = ridge.solve(sums, 1.0, between), ridge.solve(sums.first(120), 1.0, between)
    scores = [likeness[:, : len(each.coefficients)] @ each.coefficients for each in (whole, few)]
    assert np.corrcoef(scores[0].ravel(), scores[1].ravel())[0, 1] > 0.95


def test_the_same_photo_many_times_is_solved():
    likeness = np.ones((50, 50), np.float32)
    sums = ridge.sums_of(likeness, np.arange(50), np.arange(50) % 2, np.ones(50, np.float32), 2)
    solved = ridge.solve(sums, 0.3, np.ones((50, 50)))
    np.testing.assert_allclose(likeness @ solved.coefficients + solved.shares, 0.5, atol=1e-3)
