"""Metrics under noise: scikit-learn is the oracle of values, simulation that of corrections."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as peer

from kiyome.errors import InputError
from kiyome.estimates import proportion
from kiyome.evaluation import metric_under_noise as under_noise
from kiyome.evaluation.metric_on_given import (
    METRICS,
    compare_on_metric,
    mean_auc,
    metric_on_given,
    weighted_score,
)
from kiyome.evaluation.metric_under_noise import metric_under_noise
from kiyome.noise import class_dependent_transition, inject_label_noise

T3 = np.array([[0.8, 0.15, 0.05], [0.1, 0.85, 0.05], [0.1, 0.1, 0.8]])


def predictions(truth: np.ndarray, K: int, rng: np.random.Generator, sure: float = 2.0) -> np.ndarray:
    """Probabilities that know something of the truth, with no ties."""
    logits = rng.normal(size=(len(truth), K)) + sure * np.eye(K)[truth]
    odds = np.exp(logits)
    return odds / odds.sum(axis=1, keepdims=True)


def by_sklearn(metric: str, labels: np.ndarray, probs: np.ndarray) -> float:
    choice, classes = probs.argmax(axis=1), np.arange(probs.shape[1])
    score = {
        "accuracy": lambda: peer.accuracy_score(labels, choice),
        "balanced_accuracy": lambda: peer.balanced_accuracy_score(labels, choice),
        "macro_f1": lambda: peer.f1_score(labels, choice, average="macro", labels=classes),
        "log_loss": lambda: peer.log_loss(labels, probs, labels=classes),
        "auc": lambda: np.mean([peer.roc_auc_score(labels == k, probs[:, k]) for k in classes]),
        "quadratic_kappa": lambda: peer.cohen_kappa_score(labels, choice, weights="quadratic"),
    }
    return float(score[metric]())


@pytest.mark.parametrize("metric", sorted(METRICS))
@given(st.integers(0, 10_000), st.integers(20, 80), st.integers(2, 5), st.booleans())
@settings(derandomize=True, deadline=None, max_examples=8)
def test_values_are_those_of_scikit_learn(metric: str, seed: int, N: int, K: int, tied: bool) -> None:
    rng = np.random.default_rng(seed)
    labels = np.append(np.arange(K), rng.integers(K, size=N - K))
    probs = predictions(labels, K, rng)
    if tied and metric != "log_loss":  # whose floor is our own
        probs = np.array([rng.multinomial(8, row) for row in probs]) / 8
    expected = pytest.approx(by_sklearn(metric, labels, probs))
    found = metric_on_given(metric, labels, probs)
    assert found.value == expected
    assert found.low <= found.value <= found.high
    assert weighted_score(metric, labels, probs, np.eye(K)) == expected


def test_pairs_are_counted_as_a_plain_loop_counts_them() -> None:
    rng = np.random.default_rng(0)
    scores, weights = rng.integers(4, size=(12, 2)).astype(float), rng.normal(0.5, 0.4, size=(12, 2))
    expected = []
    for k in range(2):
        pairs = [(i, j) for i, j in product(range(12), repeat=2) if i != j]
        held = np.array([weights[i, k] * (1 - weights[j, k]) for i, j in pairs])
        order = [np.sign(scores[i, k] - scores[j, k]) / 2 + 0.5 for i, j in pairs]
        expected.append((held @ order) / held.sum())
    own = (weights * (1 - weights)).sum(axis=0)
    found = mean_auc(scores, weights, 1 - weights, own=own)
    assert found == pytest.approx(np.mean(expected))


@pytest.mark.parametrize("metric", sorted(METRICS))
def test_corrected_metric_finds_the_true_one(metric: str) -> None:
    """Noise of a known matrix, unequal classes: no bias, where the metric on given labels is far off."""
    errors, off = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        truth = rng.choice(3, p=[0.6, 0.25, 0.15], size=1500)
        labels, probs = inject_label_noise(truth, T3, rng), predictions(truth, 3, rng)
        right = weighted_score(metric, truth, probs, np.eye(3))
        errors.append(under_noise._true_scores(metric, labels, probs, T3)[0] - right)
        off.append(weighted_score(metric, labels, probs, np.eye(3)) - right)
    assert abs(np.mean(errors)) < 3 * np.std(errors) / np.sqrt(60) + 0.002
    assert abs(np.mean(off)) > 8 * abs(np.mean(errors))


@pytest.mark.slow
@pytest.mark.parametrize("metric", sorted(METRICS))
def test_intervals_cover_the_true_metric(metric: str) -> None:
    """In 200 draws it was 94 to 97 % of them."""
    rng, shares = np.random.default_rng(99), [0.6, 0.25, 0.15]
    world = rng.choice(3, p=shares, size=100_000)
    true = weighted_score(metric, world, predictions(world, 3, rng), np.eye(3))
    covered = []
    for seed in range(1000, 1100):
        rng = np.random.default_rng(seed)
        truth = rng.choice(3, p=shares, size=400)
        labels, probs = inject_label_noise(truth, T3, rng), predictions(truth, 3, rng)
        found = metric_under_noise(metric, labels, probs, transition_matrix=T3, seed=seed).estimated_true
        clean = metric_on_given(metric, truth, probs, seed=seed)
        assert found is not None
        covered.append((found.low <= true <= found.high, clean.low <= true <= clean.high))
    assert (np.mean(covered, axis=0) >= 0.9).all()


@pytest.mark.parametrize("metric", [name for name, each in METRICS.items() if each.of_confusion])
@pytest.mark.parametrize("repeats", [0.0, 0.1, 0.2])
def test_repeated_mistakes_are_undone(metric: str, repeats: float) -> None:
    """A model repeats a share of the wrong labels: the curve at that share gives the true metric."""
    errors = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        truth = rng.choice(3, p=[0.6, 0.25, 0.15], size=3000)
        labels, probs = inject_label_noise(truth, T3, rng), predictions(truth, 3, rng)
        same = (labels != truth) & (rng.random(3000) < repeats)
        probs[same] = 0.1 + 0.7 * np.eye(3)[labels[same]]
        curve = under_noise._true_scores(metric, labels, probs, T3)
        right = weighted_score(metric, truth, probs, np.eye(3))
        errors.append(curve[list(under_noise.SEEN).index(repeats)] - right)
    assert abs(np.mean(errors)) < 3 * np.std(errors) / np.sqrt(20) + 0.003


@pytest.mark.parametrize("metric", sorted(METRICS))
def test_ceiling_is_the_score_of_a_model_that_knows_the_truth(metric: str) -> None:
    rng, shares = np.random.default_rng(0), np.array([0.6, 0.25, 0.15])
    truth = rng.choice(3, p=shares, size=100_000)
    labels = inject_label_noise(truth, T3, rng)
    expected = weighted_score(metric, labels, T3[truth], np.eye(3))
    assert under_noise._ceiling(metric, T3, shares) == pytest.approx(expected, abs=0.01)


def test_what_is_not_determined_is_refused_with_the_reason() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(3, size=500)
    labels, probs = inject_label_noise(truth, T3, rng), predictions(truth, 3, rng)
    found = metric_under_noise("auc", labels, probs, transition_matrix=T3)
    assert found.plausible is None
    assert "mistakes that it repeats" in found.describe()[-1]
    rare = np.append(np.zeros(990, dtype=int), np.ones(10, dtype=int))
    T = np.array([[0.99, 0.01], [0.3, 0.7]])
    lost = metric_under_noise("macro_f1", rare, predictions(rare, 2, rng), transition_matrix=T)
    assert lost.estimated_true is None
    assert lost.plausible is None
    assert "noise alone may move the count of class 1 (from 0) to zero" in lost.describe()[-1]
    assert lost.on_given.value > 0


@pytest.mark.parametrize("metric", ["log_loss", "auc"])
def test_scores_of_probabilities_need_noise_from_elsewhere(metric: str) -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(3, size=500)
    labels, probs = inject_label_noise(truth, T3, rng), predictions(truth, 3, rng)
    found = metric_under_noise(metric, labels, probs)
    assert found.estimated_true is None
    assert "needs noise that was measured" in found.refused[0]
    assert metric_under_noise(metric, labels, probs, measured=proportion(40, 200)).estimated_true is not None


def test_an_impossible_correction_is_refused() -> None:
    """A model that repeats half of the wrong labels would have to be more than perfect."""
    rng = np.random.default_rng(0)
    truth = rng.integers(3, size=2000)
    labels = inject_label_noise(truth, T3, rng)
    repeated = np.where(rng.random(2000) < 0.5, labels, truth)
    probs = 0.05 + 0.85 * np.eye(3)[repeated]
    for metric in ("balanced_accuracy", "auc"):
        found = metric_under_noise(metric, labels, probs, transition_matrix=T3)
        assert found.estimated_true is None
        assert "the model repeats mistakes of the labels" in " ".join(found.describe())
    assert metric_under_noise("macro_f1", labels, probs, transition_matrix=T3).plausible is not None


def test_a_measured_share_and_groups_count() -> None:
    rng = np.random.default_rng(1)
    truth = np.repeat(rng.integers(4, size=150), 4)
    labels = inject_label_noise(truth, class_dependent_transition(4, 0.15, rng), rng)
    probs = np.repeat(predictions(truth[::4], 4, rng), 4, axis=0)
    measured = proportion(45, 300)
    alone = metric_under_noise("balanced_accuracy", labels, probs, measured=measured)
    grouped = metric_under_noise(
        "balanced_accuracy", labels, probs, measured=measured, groups=np.arange(600) // 4
    )
    for name in ("on_given", "estimated_true"):
        before, after = getattr(alone, name), getattr(grouped, name)
        assert after.high - after.low > 1.2 * (before.high - before.low)
    assert alone.noise_rate.value == 0.15


def test_two_models_are_compared_on_the_same_rows() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(3, size=400)
    good, bad = predictions(truth, 3, rng, sure=3.0), predictions(truth, 3, rng, sure=1.0)
    for metric in METRICS:
        found = compare_on_metric(metric, truth, good, bad)
        assert found.verdict == "better", metric
        assert compare_on_metric(metric, truth, bad, good).verdict == "worse"
        assert compare_on_metric(metric, truth, good, good).verdict == "cannot tell"
        assert found.describe().startswith("better: ")


def test_an_unknown_metric_is_refused() -> None:
    with pytest.raises(InputError, match="accuray"):
        metric_on_given("accuray", [0, 1], [[0.5, 0.5], [0.5, 0.5]])


def test_a_class_that_is_alone_has_no_pairs() -> None:
    found = metric_on_given("auc", [0, 0], [[0.6, 0.4], [0.5, 0.5]])
    assert (found.low, found.value, found.high) == (0.0, 0.5, 1.0)
    assert metric_on_given("quadratic_kappa", [0, 0], [[0.6, 0.4], [0.9, 0.1]]).value == 0.0
