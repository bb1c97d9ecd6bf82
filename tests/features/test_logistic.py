"""Logistic regression in the basis of principal components against scikit-learn's."""

import numpy as np
import pytest

from kiyome.features import logistic
from kiyome.features.inputs import fit_input_map


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 400)
    features = (rng.normal(size=(4, 30))[labels] + 2 * rng.normal(size=(400, 30))).astype(np.float32)
    input_map = fit_input_map(features, np.arange(400))
    weights = rng.integers(1, 4, 400).astype(np.float32)
    components = input_map(features).components
    return input_map.clipped(features), logistic.Training(components, labels, weights, input_map.variances)


@pytest.mark.parametrize("strength", [1e-3, 1e-2, 1.0])
def test_equals_scikit_learn(monkeypatch, problem, strength):
    from sklearn.linear_model import LogisticRegression

    monkeypatch.setattr(logistic, "TOLERANCE", 1e-9)
    clipped, training = problem
    _, labels, weights, _ = training
    start = logistic.start(training, 4)
    coefficients = logistic.fit(training, strength, start)
    theirs = LogisticRegression(C=strength, tol=1e-8, max_iter=5000).fit(clipped, labels, weights)
    logits = training.components @ coefficients
    probs = np.exp(logits - logits.max(axis=1, keepdims=True))
    probs /= probs.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probs, theirs.predict_proba(clipped), atol=2e-3)


def test_the_shipped_tolerance_costs_little(problem):
    _, training = problem
    path = dict(zip(logistic.GRID, logistic.path(training, 4), strict=True))
    for strength in (1e-4, 1e-3, 1e-2):
        start = logistic.start(training, 4)
        exact = start
        for _ in range(5):
            exact = logistic.fit(training, strength, exact)
        found, best = (logistic.mean_loss(training, each)[0] for each in (path[strength], exact))
        assert found == pytest.approx(best, rel=3e-3)


def test_the_gradient_is_that_of_the_loss(problem):
    _, training = problem
    rng = np.random.default_rng(1)
    at, step = rng.normal(size=(2, training.components.shape[1], 4)).astype(np.float32) * [[[0.1]], [[1e-2]]]
    at, step = at.astype(np.float32), step.astype(np.float32)
    _, gradient = logistic.mean_loss(training, at)
    up, down = (logistic.mean_loss(training, at + sign * step)[0] for sign in (1, -1))
    assert (up - down) / 2 == pytest.approx(float((gradient * step).sum()), rel=0.02)


def test_a_class_without_rows_has_probability_zero(problem):
    _, training = problem
    start = logistic.start(training, 6)
    logits = training.components @ logistic.fit(training, 0.01, start)
    assert (np.exp(logits - logits.max(axis=1, keepdims=True))[:, 4:] == 0).all()
