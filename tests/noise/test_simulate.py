"""Simulated noise and predictions have the rates that were asked for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kiyome.errors import InputError
from kiyome.noise import class_dependent_transition, inject_label_noise, simulate_pred_probs

examples = settings(derandomize=True, deadline=None, max_examples=100)


@examples
@given(st.integers(2, 12), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_transition_has_the_rate_asked_for(K, rate, seed):
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.ones(K))
    T = class_dependent_transition(K, rate, rng, true_shares=shares)
    assert (T >= -1e-12).all()
    np.testing.assert_allclose(T.sum(axis=1), 1)
    assert shares @ T.diagonal() == pytest.approx(1 - rate, abs=1e-9)


def test_classes_differ_in_noise():
    T = class_dependent_transition(6, 0.3, np.random.default_rng(0))
    assert np.ptp(T.diagonal()) > 0.1
    assert T.diagonal().max() <= 1


def test_injected_labels_follow_the_matrix():
    T = np.array([[0.8, 0.2, 0.0], [0.0, 1.0, 0.0], [0.3, 0.3, 0.4]])
    true_labels = np.repeat([0, 1, 2], [60_000, 10_000, 30_000])
    labels = inject_label_noise(true_labels, T, np.random.default_rng(0))
    counts = np.zeros((3, 3))
    np.add.at(counts, (true_labels, labels), 1)
    np.testing.assert_allclose(counts / counts.sum(axis=1, keepdims=True), T, atol=0.01)
    assert counts[0, 2] == counts[1, 0] == counts[1, 2] == 0
    assert (np.diff(true_labels) >= 0).all()  # the truth is left alone


@pytest.mark.parametrize("K", [2, 3, 10])
@pytest.mark.parametrize("accuracy", [0.6, 0.9, 1.0])
def test_accuracy_dial(K, accuracy):
    rng = np.random.default_rng(0)
    true_labels = rng.integers(0, K, 20_000)
    probs = simulate_pred_probs(true_labels, K, rng, accuracy=accuracy)
    np.testing.assert_allclose(probs.sum(axis=1), 1)
    assert (probs.argmax(axis=1) == true_labels).mean() == pytest.approx(accuracy, abs=0.01)


def test_calibration_dial():
    """At temperature 1 what is said with 60 to 70 % is right that often; below, the model says more."""
    true_labels = np.random.default_rng(0).integers(0, 4, 50_000)
    gap = {}
    for temperature in (0.5, 1.0, 2.0):
        probs = simulate_pred_probs(
            true_labels, 4, np.random.default_rng(1), accuracy=0.8, temperature=temperature
        )
        right = probs.argmax(axis=1) == true_labels
        gap[temperature] = probs.max(axis=1).mean() - right.mean()
        if temperature == 1:
            bins = np.digitize(probs.ravel(), np.linspace(0, 1, 11)[1:-1])
            said = np.bincount(bins, probs.ravel()) / np.bincount(bins)
            came = np.bincount(bins, np.eye(4)[true_labels].ravel()) / np.bincount(bins)
            np.testing.assert_allclose(said, came, atol=0.015)
    assert gap[0.5] > 0.05
    assert abs(gap[1.0]) < 0.01
    assert gap[2.0] < -0.05


def test_the_same_rng_gives_the_same_set():
    def draw():
        rng = np.random.default_rng(5)
        T = class_dependent_transition(3, 0.2, rng)
        labels = inject_label_noise([0, 1, 2] * 10, T, rng)
        return T, labels, simulate_pred_probs(labels, 3, rng)

    for first, second in zip(draw(), draw(), strict=True):
        np.testing.assert_array_equal(first, second)


def test_dials_out_of_range():
    rng = np.random.default_rng(0)
    for arguments in [(1, 0.2), (3, 1.2), (3, -0.1), (3, np.nan)]:
        with pytest.raises(InputError, match="Expected two classes or more"):
            class_dependent_transition(*arguments, rng)
    for dials in [{"accuracy": 0.5}, {"accuracy": 1.1}, {"temperature": 0}]:
        with pytest.raises(InputError, match=r"an accuracy in 0\.5\.\.1"):
            simulate_pred_probs([0, 1], 2, rng, **dials)
    with pytest.raises(InputError, match="Label 5 in row 1"):
        simulate_pred_probs([0, 5], 2, rng)


def test_what_is_no_transition_matrix():
    rng = np.random.default_rng(0)
    for T in ([[0.5, 0.6], [0, 1]], [[1.2, -0.2], [0, 1]], [[1, 0]]):
        with pytest.raises(InputError, match="whose rows sum to one"):
            inject_label_noise([0, 1], T, rng)
    with pytest.raises(InputError, match="Label 2 in row 1"):
        inject_label_noise([0, 2], np.eye(2), rng)
