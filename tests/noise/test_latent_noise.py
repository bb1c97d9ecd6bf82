"""Calibration, anchors and EM against plain loops, and against a truth that was simulated."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from kiyome.noise import class_dependent_transition, inject_label_noise
from kiyome.noise.noise_model import (
    NUM_ROUNDS,
    POWER_RANGE,
    anchors,
    calibrating_power,
    expected_joint,
    fit_noise,
    latent_transition,
    log_probs,
    tempered,
)
from kiyome.noise.top_classes import read_sampled

examples = settings(derandomize=True, deadline=None, max_examples=20)


def learned_set(seed=0, N=400, K=4, sharpness=3.0, rate=0.2):
    """A predictor that knows P(given | photo) exactly: true classes of softmax scores, noise by class."""
    rng = np.random.default_rng(seed)
    scores = sharpness * rng.normal(size=(N, K))
    clean = np.exp(scores - scores.max(axis=1, keepdims=True))
    clean /= clean.sum(axis=1, keepdims=True)
    T = class_dependent_transition(K, rate, rng)
    true_labels = (clean.cumsum(axis=1) < rng.random((N, 1))).sum(axis=1).clip(max=K - 1)
    labels = inject_label_noise(true_labels, T, rng)
    probs = clean @ T
    return T, true_labels, labels, probs / probs.sum(axis=1, keepdims=True)


def sample_of(labels, probs):
    return log_probs(read_sampled(labels, probs).sample, probs.shape[1])


def unsorted(labels, probs, sample):
    """All K probabilities of the sample's rows, in its order: K up to 16, so nothing is lumped."""
    full = np.empty((len(labels), probs.shape[1]))
    np.put_along_axis(full, sample.classes.T, np.exp(sample.logs[:-1].T), axis=1)
    return sample.given, full


@examples
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.3, 1.0, 4.0]), st.integers(2, 6))
def test_power_is_where_the_likelihood_is_largest(seed, temperature, K):
    _, _, labels, probs = learned_set(seed, K=K)
    probs = probs ** (1 / temperature)
    sample = sample_of(labels, probs / probs.sum(axis=1, keepdims=True))

    def surprise(log_power):
        q, _ = tempered(sample, np.exp(log_power))
        return -np.log(q[0]).sum()

    best = minimize_scalar(surprise, bounds=np.log(POWER_RANGE), method="bounded", options={"xatol": 1e-6})
    assert calibrating_power(sample) == pytest.approx(np.exp(best.x), rel=1e-4)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_power_undoes_a_temperature(temperature):
    _, _, labels, probs = learned_set(N=10_000)
    probs = probs ** (1 / temperature)
    sample = sample_of(labels, probs / probs.sum(axis=1, keepdims=True))
    assert calibrating_power(sample) == pytest.approx(temperature, rel=0.05)


def test_a_predictor_that_is_always_right_keeps_the_power_finite():
    labels = np.arange(60) % 3
    assert POWER_RANGE[0] <= calibrating_power(sample_of(labels, np.eye(3)[labels])) <= POWER_RANGE[1]
    assert POWER_RANGE[0] <= calibrating_power(sample_of(labels, np.eye(3)[labels - 1])) <= POWER_RANGE[1]


@examples
@given(st.integers(0, 2**32 - 1), st.integers(2, 6))
def test_anchors_by_plain_loops(seed, K):
    _, _, labels, probs = learned_set(seed, N=80, K=K)
    sample = sample_of(labels, probs)
    given_labels, q = unsorted(labels, probs, sample)
    t, A = anchors(sample, tempered(sample, 1.0)[0])
    for k in range(K):
        own = [q[i, k] for i in range(80) if given_labels[i] == k]
        assert t[k] == pytest.approx(np.mean(own) if own else 1 / K)
    bars = [
        np.mean([q[i, k] for i in range(80) if given_labels[i] == k and q[i, k] >= t[k] - 1e-9] or [t[k]])
        for k in range(K)
    ]
    for k in range(K):
        sure = [i for i in range(80) if (q[i] / t).argmax() == k and q[i, k] >= bars[k] - 1e-12]
        for j in range(K):
            if sure:
                mean, square = np.mean([q[i, j] for i in sure]), np.mean([q[i, j] ** 2 for i in sure])
                assert A[k, j] == pytest.approx(mean * mean**2 / square)
            else:
                assert A[k, j] == (k == j)


def slow_em(given_labels, q, num_rounds=NUM_ROUNDS):
    """Expectation maximization as one would write it on paper."""
    N, K = q.shape
    T = np.array([[0.9 if k == j else 0.1 / (K - 1) for j in range(K)] for k in range(K)])
    for step in range(num_rounds + 1):
        blame = np.zeros((N, K))
        for i in range(N):
            for k in range(K):
                blame[i, k] = q[i, k] * T[k, given_labels[i]]
            blame[i] /= blame[i].sum()
        if step == num_rounds:
            return T, blame[np.arange(N), given_labels], blame
        counts = np.full((K, K), 1 / K)
        for i in range(N):
            counts[:, given_labels[i]] += blame[i]
        T = np.array([counts[k] / counts[k].sum() for k in range(K)])
    raise AssertionError


@examples
@given(st.integers(0, 2**32 - 1), st.integers(2, 6))
def test_em_by_plain_loops(seed, K):
    _, _, labels, probs = learned_set(seed, N=60, K=K)
    sample = sample_of(labels, probs)
    given_labels, full = unsorted(labels, probs, sample)
    q = full**2.5 / (full**2.5).sum(axis=1, keepdims=True)
    T, right, blame = slow_em(given_labels, q)
    ours, our_right = latent_transition(sample, 2.5)
    np.testing.assert_allclose(ours, T, atol=1e-12)
    np.testing.assert_allclose(our_right, right, atol=1e-12)
    joint = np.stack([blame[given_labels == j].sum(axis=0) for j in range(K)], axis=1)
    np.testing.assert_allclose(expected_joint(sample, ours, 2.5), joint, atol=1e-10)


def test_a_row_drawn_twice_weighs_as_two_rows():
    _, _, labels, probs = learned_set(N=50)
    twice = np.arange(50) % 3 == 0
    order = np.concatenate([np.arange(50), np.flatnonzero(twice)])
    sample = sample_of(labels, probs)
    # the sample is in the order of its keys, not of the rows
    rows = [np.abs(probs - row).sum(axis=1).argmin() for row in unsorted(labels, probs, sample)[1]]
    weighted, _ = latent_transition(sample, 2.0, row_weights=1.0 + twice[rows])
    repeated, _ = latent_transition(sample_of(labels[order], probs[order]), 2.0)
    np.testing.assert_allclose(weighted, repeated, atol=1e-10)


def test_what_is_not_kept_counts_as_one_lump():
    """Of 40 classes 16 are kept; the others' mass is spread evenly, so evenly spread mass loses nothing."""
    rng, K, N = np.random.default_rng(0), 40, 500
    labels = rng.integers(0, K, N)
    probs = np.full((N, K), 0.3 / (K - 2))
    probs[np.arange(N), labels] = 0.5
    probs[np.arange(N), (labels + 1) % K] = 0.2
    sample = sample_of(labels, probs)
    q, rest = tempered(sample, 2.0)
    full = probs**2 / (probs**2).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(q[0], full[np.arange(N), labels], rtol=1e-9)
    np.testing.assert_allclose(rest, (0.3 / (K - 2)) ** 2 / (probs[0] ** 2).sum(), rtol=1e-9)
    np.testing.assert_allclose(q.sum(axis=0) + rest * sample.num_rest, 1)


def test_zeros_get_half_of_the_smallest_positive_probability():
    labels, probs = np.array([0, 1, 0]), np.array([[0.75, 0.25, 0], [0, 0.5, 0.5], [0.5, 0, 0.5]])
    logs = sample_of(labels, probs).logs[:-1]
    assert np.exp(logs).min() == pytest.approx(0.125)
    # without zeros nothing is raised, however small
    assert np.exp(sample_of(labels, np.array([[1 - 1e-9, 1e-9]] * 3)).logs).min() <= 1e-9


@pytest.mark.parametrize("rate", [0.1, 0.3])
def test_a_known_transition_is_found_to_a_tenth(rate):
    """In half the sum of absolute differences, averaged over classes; one class alone may be off by 0.13."""
    T, true_labels, labels, probs = learned_set(N=10_000, sharpness=8.0, rate=rate)
    seen = np.array([np.bincount(labels[true_labels == k], minlength=4) for k in range(4)], dtype=float)
    seen /= seen.sum(axis=1, keepdims=True)
    model, _ = fit_noise(sample_of(labels, probs))
    assert (np.abs(model.transition - seen).sum(axis=1) / 2).mean() < 0.1
    np.testing.assert_allclose(model.transition.sum(axis=1), 1)
    off = ~np.eye(4, dtype=bool)
    assert (model.weights[off] >= model.leak).all()
    # the pair that errs most weighs most
    assert model.weights[off].argmax() == T[off].argmax()
