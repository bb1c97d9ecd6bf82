"""Suspicion, the monotone fit and the masks against plain loops and brute force."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from kiyome.noise.noise_model import NoiseModel
from kiyome.noise.sharpness import NoiseStatistics
from kiyome.noise.suspicion import (
    LEAST_PROBABILITY,
    LEAST_UNMIXED,
    MARGIN,
    NONE,
    POWER,
    along_curve,
    best_f1_mask,
    monotone_fit,
    precise_mask,
    probability_wrong,
    suspicion,
)
from kiyome.noise.top_classes import NUM_TOP, likeliest

examples = settings(derandomize=True, deadline=None, max_examples=60)
seeds = st.integers(0, 2**32 - 1)


def made_model(K, rng, power=1.7, steady=0.1, one_sided=0.035):
    weights = rng.dirichlet(np.ones(K), K) + 0.05
    anchors = 0.7 * np.eye(K) + 0.3 * rng.dirichlet(np.ones(K), K)
    return NoiseModel(
        power=power,
        self_confidence=rng.uniform(0.3, 0.9, K),
        weights=weights,
        leak=0.05,
        transition=weights / weights.sum(axis=1, keepdims=True),
        anchors=anchors,
        statistics=NoiseStatistics(kappa=0.7, steady=steady, one_sided=one_sided),
    )


@examples
@given(seeds, st.integers(2, 8), st.sampled_from([0.0, 0.1, 0.5]), st.sampled_from([0.0, 0.035, 0.2]))
def test_suspicion_by_a_plain_loop(seed, K, steady, one_sided):
    rng = np.random.default_rng(seed)
    labels, probs = rng.integers(0, K, 20), rng.dirichlet(np.ones(K), 20)
    model = made_model(K, rng, steady=steady, one_sided=one_sided)
    found = suspicion(*likeliest(labels, probs, NUM_TOP), model)
    t, W, A = model.self_confidence, model.weights, model.anchors
    flow, share = min(steady / 0.2, 1) ** 2, min(max(one_sided - 0.02, 0) / 0.03, 1)
    inverse = np.linalg.inv(0.97 * A + 0.03 * np.eye(K))
    for i, j in enumerate(labels):
        others = sorted((k for k in range(K) if k != j), key=lambda k: -probs[i, k])
        p = probs[i].copy()
        if lumped := others[2:]:
            p[lumped] = p[lumped].mean()
        q = p**model.power / (p**model.power).sum()
        terms = [q[k] * W[k, j] / t[k] for k in others[:2]]
        if lumped:
            terms.append(len(lumped) * q[lumped[0]] * model.leak / t.mean())
        terms.append(NONE * (1 - flow) * (1 - 2 / K))
        evidence = sum(term**POWER for term in terms) ** (1 / POWER)
        z = math.log(evidence) - math.log(q[j] * W[j, j] / t[j])
        margin = max(q[k] - t[k] for k in others[:2]) - (q[j] - t[j])
        unmixed = [max((q @ inverse)[k], LEAST_UNMIXED) * A[k, j] for k in [j, *others[:2]]]
        log_odds = math.log(sum(unmixed[1:])) - math.log(unmixed[0])
        expected = (1 - share) * (math.asinh(z) + flow * MARGIN * margin) + share * math.asinh(log_odds)
        assert found[i] == pytest.approx(expected, abs=1e-7)


@examples
@given(seeds)
def test_no_zero_and_no_power_makes_it_infinite(seed):
    rng = np.random.default_rng(seed)
    probs = np.eye(5)[rng.integers(0, 5, 20)]
    z = suspicion(*likeliest(rng.integers(0, 5, 20), probs, 3), made_model(5, rng, power=50.0))
    assert np.isfinite(z).all()


@examples
@given(seeds, st.integers(1, 40), st.integers(1, 300))
def test_along_the_curve_as_numpy_and_as_compiled(seed, num_knots, N):
    rng = np.random.default_rng(seed)
    knots, values = np.sort(rng.permutation(99)[:num_knots] / 7), np.sort(rng.random(num_knots))
    slopes = np.append(np.diff(values) / np.diff(knots), 0.0)
    z = np.concatenate([rng.uniform(-3, 17, N), knots])
    found = along_curve(z, knots, values, slopes)
    np.testing.assert_allclose(found, np.interp(z, knots, values), rtol=1e-12)
    kernels = pytest.importorskip("kiyome.noise.kernels")
    compiled = np.empty_like(found)
    kernels.along_curve(z, knots, values, slopes, compiled)
    np.testing.assert_array_equal(compiled, found)


@examples
@given(seeds, st.integers(1, 400))
def test_the_fit_is_scikit_learns_where_every_value_has_its_bin(seed, N):
    rng = np.random.default_rng(seed)
    x, y = rng.permutation(N) / N, rng.random(N)
    curve = monotone_fit(x, y)
    np.testing.assert_allclose(
        probability_wrong(x, curve), IsotonicRegression().fit_transform(x, y), atol=1e-12
    )
    assert curve.mean == pytest.approx(y.mean())
    assert curve.probability.mean() == pytest.approx(y.mean())


@examples
@given(seeds, st.integers(2, 5000), st.sampled_from([2, 30, 10**9]))
def test_the_fit_rises_and_keeps_the_mean(seed, N, num_values):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, num_values, N).astype(float)
    y = (rng.random(N) < x / num_values).astype(float)
    curve = monotone_fit(x, y)
    assert (np.diff(curve.suspicion) > 0).all()
    assert (np.diff(curve.probability) >= 0).all()
    order = rng.permutation(N)
    np.testing.assert_allclose(monotone_fit(x[order], y[order]).probability, curve.probability, atol=1e-9)


@examples
@given(seeds, st.integers(1, 40))
def test_best_f1_by_trying_every_cut(seed, N):
    rng = np.random.default_rng(seed)
    z = rng.integers(0, 12, N) / 4
    chances = np.interp(z, [0, 3], [LEAST_PROBABILITY, 1])
    flagged = best_f1_mask(z, chances)

    def expected_f1(cut):
        head = z >= cut
        return 2 * chances[head].sum() / (head.sum() + chances.sum())

    assert expected_f1(z[flagged].min()) == pytest.approx(max(expected_f1(cut) for cut in z))
    assert flagged.sum() == (z >= z[flagged].min()).sum()


def test_rows_that_are_likely_right_are_not_flagged():
    assert not best_f1_mask(np.arange(5.0), np.full(5, 0.1)).any()


@examples
@given(seeds, st.integers(1, 40), st.sampled_from([0.3, 0.6, 0.9]))
def test_precision_by_trying_every_cut(seed, N, precision):
    rng = np.random.default_rng(seed)
    z = rng.integers(0, 12, N) / 4
    chances = np.interp(z, [0, 3], [0, 1])
    sizes = [(z >= cut).sum() for cut in z if chances[z >= cut].mean() >= precision - 1e-12]
    assert precise_mask(z, chances, precision).sum() == max(sizes, default=0)
