"""Scores: scikit-learn is the oracle of values, simulation that of intervals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as peer

from kiyome.ensemble import validation as ensemble
from kiyome.errors import InputError
from kiyome.evaluation.metrics import mean_of_rows, score_predictions
from kiyome.features import head
from kiyome.training.member import agreement


def rows_of(seed: int, N: int, K: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(K, size=N)
    return labels, rng.dirichlet(np.full(K, 0.4), size=N) * 0.4 + 0.6 * np.eye(K)[rng.permuted(labels)]


@given(st.integers(0, 10_000), st.integers(8, 60), st.integers(2, 6))
@settings(derandomize=True, deadline=None, max_examples=30)
@pytest.mark.filterwarnings("ignore:y_pred contains classes:UserWarning")
def test_values_are_those_of_scikit_learn(seed: int, N: int, K: int) -> None:
    labels, probs = rows_of(seed, N, K)
    choice, scores = probs.argmax(axis=1), score_predictions(labels, probs)
    assert scores.accuracy_on_given.value == pytest.approx(peer.accuracy_score(labels, choice))
    assert scores.macro_f1.value == pytest.approx(peer.f1_score(labels, choice, average="macro"))
    assert scores.log_loss.value == pytest.approx(peer.log_loss(labels, probs, labels=range(K)))
    balanced = scores.balanced_accuracy.value
    assert balanced == pytest.approx(peer.balanced_accuracy_score(labels, choice))
    recall = peer.recall_score(labels, choice, average=None, labels=range(K), zero_division=0)
    for k, each in enumerate(scores.by_class):
        assert (each.recall is None) == (not (labels == k).any())
        assert each.recall is None or each.recall.value == pytest.approx(recall[k])


def test_every_log_loss_has_one_floor() -> None:
    """Half of the rows give nothing to their label; each place that takes a log loss says 8.06."""
    labels = np.array([0, 0, 1, 1] * 5)
    probs = np.tile(np.eye(2), (10, 1))
    expected = pytest.approx(8.059048, abs=1e-6)
    assert score_predictions(labels, probs).log_loss.value == expected
    assert ensemble.log_loss(labels, probs) == expected
    of_member = agreement(probs.astype(np.float32), labels.astype(np.int32), "held_out")
    assert of_member["held_out_log_loss"] == expected
    assert head._log_loss(probs.astype(np.float32), labels) == expected


def test_intervals_cover_under_unequal_classes() -> None:
    rng, covered = np.random.default_rng(0), np.zeros(3)
    recalls, truth_shares = np.array([0.95, 0.7, 0.5]), np.array([0.7, 0.2, 0.1])
    for seed in range(150):
        labels = rng.choice(3, p=truth_shares, size=400)
        right = rng.random(400) < recalls[labels]
        probs = np.full((400, 3), 0.1) + 0.7 * np.eye(3)[np.where(right, labels, (labels + 1) % 3)]
        scores = score_predictions(labels, probs, seed=seed)
        true_loss = -(truth_shares @ (recalls * np.log(0.8) + (1 - recalls) * np.log(0.1)))
        wanted = (
            (scores.accuracy_on_given, truth_shares @ recalls),
            (scores.balanced_accuracy, recalls.mean()),
        )
        for place, (estimate, truth) in enumerate((*wanted, (scores.log_loss, true_loss))):
            covered[place] += estimate.low <= truth <= estimate.high
    assert (covered / 150 >= 0.9).all()


def test_groups_that_err_together_widen_every_interval() -> None:
    labels, probs = rows_of(1, 80, 3)
    labels, probs, groups = labels.repeat(5), probs.repeat(5, axis=0), np.arange(400) // 5
    alone, grouped = score_predictions(labels, probs), score_predictions(labels, probs, groups=groups)
    for name in ("accuracy_on_given", "balanced_accuracy", "macro_f1", "log_loss"):
        before, after = getattr(alone, name), getattr(grouped, name)
        assert before.value == pytest.approx(after.value)
        assert 1.7 < (after.high - after.low) / (before.high - before.low) < 2.8


def test_the_truth_is_scored_where_it_is_known() -> None:
    probs = [[0.9, 0.1], [0.9, 0.1], [0.1, 0.9]]
    scores = score_predictions([0, 1, 1], probs, true_labels=[0, 0, -1])
    assert scores.accuracy_on_true is not None
    assert (scores.accuracy_on_true.value, scores.accuracy_on_true.num_rows) == (1.0, 2)
    assert score_predictions([0, 1, 1], probs, true_labels=[-1] * 3).accuracy_on_true is None


def test_one_row_has_no_spread_to_tell() -> None:
    assert mean_of_rows([0.3]).high == float("inf")


@pytest.mark.parametrize(
    ("labels", "probs", "options", "message"),
    [
        ([0, 2], [[0.5, 0.5]] * 2, {}, "Label 2 in row 1 has no column"),
        ([0], [[0.5, 0.6]], {}, "Row 0 of pred_probs sums to 1.1"),
        ([0], [[0.5, 0.5]], {"confidence": 1}, "confidence=1 is no confidence level"),
        ([0], [[0.5, 0.5]], {"true_labels": [5]}, "Label 5 in row 0"),
        ([0], [[0.5, 0.5]], {"groups": ["a", "b"]}, "Expected one group for each row"),
    ],
)
def test_bad_input_is_told(labels, probs, options, message) -> None:
    with pytest.raises(InputError, match=message):
        score_predictions(labels, probs, **options)
