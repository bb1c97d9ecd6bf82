"""Statistics that need no truth, the sharpness they suggest, and what may be stated."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kiyome.noise.sharpness import (
    BY_CHANCE,
    SHARPNESS_RANGE,
    WEAK_KAPPA,
    NoiseStatistics,
    noise_statistics,
)

examples = settings(derandomize=True, deadline=None, max_examples=60)
seeds = st.integers(0, 2**32 - 1)
shares = st.floats(0, 1)


@examples
@given(seeds, st.integers(2, 6), st.integers(1, 40))
def test_statistics_by_plain_loops(seed, K, N):
    rng = np.random.default_rng(seed)
    given_labels, predicted = rng.integers(0, K, N), rng.integers(0, K, N)
    A = rng.dirichlet(np.ones(K), K)
    found = noise_statistics(given_labels, predicted, given_labels == predicted, A)
    share = [sum(label == k for label in given_labels) / N for k in range(K)]
    by_chance = sum(share[k] * sum(label == k for label in predicted) / N for k in range(K))
    agreement = sum(map(int.__eq__, given_labels.tolist(), predicted.tolist())) / N
    assert found.kappa == pytest.approx(1 if by_chance == 1 else (agreement - by_chance) / (1 - by_chance))
    flow = {(k, j): share[k] * A[k, j] for k in range(K) for j in range(K) if k != j}
    assert found.steady == pytest.approx(sum(flow.values()))
    one_sided = 0.0
    for k in range(K):
        into = sum(value for (_, j), value in flow.items() if j == k)
        out_of = sum(value for (j, _), value in flow.items() if j == k)
        one_sided += abs(into - out_of) / 2 - BY_CHANCE * ((into + out_of) / N) ** 0.5
    assert found.one_sided == pytest.approx(max(one_sided, 0), abs=1e-12)


@examples
@given(seeds, st.integers(2, 6))
def test_names_of_classes_mean_nothing(seed, K):
    rng = np.random.default_rng(seed)
    given_labels, predicted = rng.integers(0, K, 50), rng.integers(0, K, 50)
    A, names = rng.dirichlet(np.ones(K), K), rng.permutation(K)
    other = np.empty_like(A)
    other[np.ix_(names, names)] = A
    once = noise_statistics(given_labels, predicted, given_labels == predicted, A)
    again = noise_statistics(names[given_labels], names[predicted], given_labels == predicted, other)
    for name in ("kappa", "steady", "one_sided", "sharpness"):
        assert getattr(again, name) == pytest.approx(getattr(once, name))


def test_doubt_between_two_classes_goes_both_ways():
    """Nothing flows one way between classes that are confused with each other."""
    labels = np.arange(3000) % 3
    confused = np.array([[0.8, 0.2, 0], [0.2, 0.8, 0], [0, 0, 1]])
    assert noise_statistics(labels, labels, labels == labels, confused).one_sided == 0
    taking = np.array([[0.8, 0, 0.2], [0, 0.8, 0.2], [0, 0, 1]])
    found = noise_statistics(labels, labels, labels == labels, taking)
    assert found.steady == pytest.approx(0.4 / 3)
    assert found.one_sided == pytest.approx(0.4 / 3, rel=0.15)
    assert found.unmixing == 1


@examples
@given(st.floats(-1, 1), shares, shares, st.sampled_from(["kappa", "steady", "one_sided"]), shares)
def test_each_statistic_raises_the_sharpness(kappa, steady, one_sided, name, more):
    values = {"kappa": kappa, "steady": steady, "one_sided": one_sided}
    lower = NoiseStatistics(**values).sharpness
    higher = NoiseStatistics(**values | {name: min(values[name] + more, 1)}).sharpness
    assert SHARPNESS_RANGE[0] <= lower <= higher <= SHARPNESS_RANGE[1]


@examples
@given(st.floats(-1, 1), st.sampled_from([0.0, 0.03, 0.2]), st.lists(shares, min_size=2, max_size=20))
def test_what_is_stated_keeps_the_order_and_never_comes_nearer_to_certainty(kappa, one_sided, values):
    found = NoiseStatistics(kappa=kappa, steady=0.1, one_sided=one_sided)
    p = np.sort(values)
    stated = found.stated(p)
    assert (np.diff(stated) >= 0).all()
    assert ((stated >= 0) & (stated <= np.maximum(p, 0.5) + 1e-12)).all()
    if found.unmixing < 1 and kappa < WEAK_KAPPA:
        assert found.stated(np.ones(1)) < 0.99
    assert found.is_weak == (kappa < WEAK_KAPPA)
