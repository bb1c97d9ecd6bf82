"""Statistics that need no truth, the sharpness they suggest, and what may be stated."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kiyome.noise.sharpness import (
    BY_CHANCE,
    FEW,
    SHARPNESS_RANGE,
    WEAK_KAPPA,
    NoiseStatistics,
    noise_statistics,
)

examples = settings(derandomize=True, deadline=None, max_examples=60)
seeds = st.integers(0, 2**32 - 1)
shares = st.floats(0, 1)


def drawn(seed, K, N):
    """Given and predicted labels, how sure each prediction is, and anchors."""
    rng = np.random.default_rng(seed)
    given_labels, predicted = rng.integers(0, K, (2, N))
    return given_labels, predicted, rng.uniform(1 / K, 1, N).round(2), rng.dirichlet(np.ones(K), K)


@examples
@given(seeds, st.integers(2, 6), st.integers(1, 40))
def test_statistics_by_plain_loops(seed, K, N):
    given_labels, predicted, sureness, A = drawn(seed, K, N)
    found = noise_statistics(given_labels, predicted, sureness, given_labels == predicted, A)
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
@given(seeds, st.integers(2, 6), st.integers(1, 40))
def test_disagreement_of_the_surer_half_by_plain_loops(seed, K, N):
    given_labels, predicted, sureness, A = drawn(seed, K, N)
    found = noise_statistics(given_labels, predicted, sureness, given_labels == predicted, A)
    surer, variance, largest = [], 0.0, 0.0
    for k in set(predicted.tolist()):
        mine = sureness[predicted == k]
        surer += [
            row for row in range(N) if predicted[row] == k and sureness[row] >= np.sort(mine)[len(mine) // 2]
        ]
        variance += len(mine) * mine.var()
        largest += len(mine) * mine.mean() * (1 - mine.mean())
    wrong, doubt = (given_labels != predicted).astype(float), 1 - sureness
    expected = 0.0
    if wrong.any() and doubt.any():
        expected = wrong[surer].mean() / wrong.mean() - doubt[surer].mean() / doubt.mean()
        expected *= wrong.sum() / (wrong.sum() + FEW)
    assert found.unforeseen == pytest.approx(expected)
    assert found.uneven == pytest.approx(variance / largest if largest else 0)


@examples
@given(seeds, st.integers(2, 6))
def test_names_of_classes_and_the_order_of_rows_mean_nothing(seed, K):
    given_labels, predicted, sureness, A = drawn(seed, K, 50)
    rng = np.random.default_rng(seed)
    names, rows = rng.permutation(K), rng.permutation(50)
    other = np.empty_like(A)
    other[np.ix_(names, names)] = A
    agrees = given_labels == predicted
    once = noise_statistics(given_labels, predicted, sureness, agrees, A)
    again = noise_statistics(
        names[given_labels][rows], names[predicted][rows], sureness[rows], agrees[rows], other
    )
    for name in ("kappa", "steady", "one_sided", "unforeseen", "uneven", "sharpness"):
        assert getattr(again, name) == pytest.approx(getattr(once, name))


def test_labels_that_disagree_with_sure_predictions_were_not_doubted():
    """Noise in all photos is unforeseen; disagreement where the predictor doubts is not."""
    rng = np.random.default_rng(0)
    sureness = rng.uniform(0.5, 1, 5000)
    predicted, A = np.arange(5000) % 4, np.eye(4)
    for disagrees, low, high in (
        (rng.random(5000) < 1 - sureness, -0.1, 0.1),
        (rng.random(5000) < 0.25, 0.4, 0.6),
    ):
        found = noise_statistics((predicted + disagrees) % 4, predicted, sureness, ~disagrees, A)
        assert low < found.unforeseen < high


def test_doubt_between_two_classes_goes_both_ways():
    """Nothing flows one way between classes that are confused with each other."""
    labels, sureness = np.arange(3000) % 3, np.full(3000, 0.9)
    confused = np.array([[0.8, 0.2, 0], [0.2, 0.8, 0], [0, 0, 1]])
    assert noise_statistics(labels, labels, sureness, labels == labels, confused).one_sided == 0
    taking = np.array([[0.8, 0, 0.2], [0, 0.8, 0.2], [0, 0, 1]])
    found = noise_statistics(labels, labels, sureness, labels == labels, taking)
    assert found.steady == pytest.approx(0.4 / 3)
    assert found.one_sided == pytest.approx(0.4 / 3, rel=0.15)
    assert found.unmixing == 1


@examples
@given(st.floats(-1, 1), shares, st.floats(-1, 1), shares, shares)
def test_each_statistic_but_one_raises_the_sharpness(kappa, steady, unforeseen, uneven, more):
    values = {"kappa": kappa, "steady": steady, "unforeseen": unforeseen, "uneven": uneven}
    once = NoiseStatistics(**values, one_sided=0.0).sharpness
    assert SHARPNESS_RANGE[0] <= once <= SHARPNESS_RANGE[1]
    for name, value in values.items():
        again = NoiseStatistics(**values | {name: min(value + more, 1)}, one_sided=0.0).sharpness
        assert again <= once if name == "uneven" else again >= once


@examples
@given(
    st.floats(-1, 1),
    st.sampled_from([0.0, 0.03, 0.2]),
    st.floats(-2, 2),
    st.lists(shares, min_size=2, max_size=20),
)
def test_what_is_stated_keeps_the_order_and_never_comes_nearer_to_certainty(
    kappa, one_sided, unforeseen, values
):
    found = NoiseStatistics(kappa=kappa, steady=0.1, one_sided=one_sided, unforeseen=unforeseen)
    p = np.sort(values)
    stated = found.stated(p)
    assert (np.diff(stated) >= 0).all()
    assert ((stated >= 0) & (stated <= np.maximum(p, 0.5) + 1e-12) & (stated <= found.most)).all()
    if found.unmixing == 0 and kappa < WEAK_KAPPA and unforeseen <= 0:
        assert found.stated(np.ones(1)) < 0.9
    assert found.is_weak == (kappa < WEAK_KAPPA)
