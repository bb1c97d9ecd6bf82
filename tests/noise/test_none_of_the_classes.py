"""Photos that show none of the classes, among real scans of digits: foreign ones, and of a hidden class."""

from functools import cache

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.metrics import average_precision_score
from threadpoolctl import threadpool_limits

from kiyome.errors import InputError
from kiyome.features import cross_fit_head
from kiyome.folds import assign_folds
from kiyome.noise.none_of_the_classes import probability_none

NUM_NONE = 30


@cache
def digits_and(kind, labels="random"):
    """Scans of digits, the last rows of none of the classes: labels, pred_probs, features, folds."""
    rng = np.random.default_rng(0)
    digits = load_digits()
    hidden = digits.target == 0
    rows = rng.permutation(np.flatnonzero(~hidden))[:600]
    given = digits.target[rows] - 1
    others = {
        "clean": digits.data[:0],
        "hidden": digits.data[hidden][:NUM_NONE],
        "inverted": 16 - digits.data[-NUM_NONE:],
    }[kind]
    theirs = rng.integers(0, 9, len(others)) if labels == "random" else np.full(len(others), 3)
    features = np.concatenate([digits.data[rows], others]).astype(np.float32)
    given = np.concatenate([given, theirs])
    folds = assign_folds(given)
    pred_probs = cross_fit_head(features, given, folds, num_classes=9).pred_probs
    return given, pred_probs, features, folds


@cache
def found(kind, labels="random", *, with_features=True):
    """Average precision, and the probabilities of ordinary rows and of those of none of the classes."""
    given, pred_probs, features, folds = digits_and(kind, labels)
    probability = probability_none(
        given, pred_probs, features=features if with_features else None, folds=folds
    )
    assert ((probability >= 0) & (probability <= 1)).all()
    none = np.arange(len(given)) >= 600
    precision = average_precision_score(none, probability) if none.any() else None
    return precision, probability[~none], probability[none]


@pytest.mark.parametrize("labels", ["random", "one"])
def test_foreign_photos_are_found_whatever_their_labels(labels):
    precision, ordinary, none = found("inverted", labels)
    assert precision > 0.99
    assert (none > 0.5).mean() > 0.95
    assert (ordinary > 0.5).mean() < 0.005


def test_a_hidden_class_is_found():
    precision, ordinary, none = found("hidden")
    assert precision > 0.9
    assert (none > 0.5).mean() > 0.6
    assert (ordinary > 0.5).mean() < 0.005


def test_where_every_photo_has_a_class_few_are_doubted():
    _, ordinary, _ = found("clean")
    assert (ordinary > 0.5).mean() < 0.005


def test_predictions_alone_find_a_hidden_class_less_well():
    precision, ordinary, _ = found("hidden", with_features=False)
    assert 0.4 < precision < found("hidden")[0]
    assert (ordinary > 0.5).mean() < 0.03
    _, ordinary, _ = found("clean", with_features=False)
    assert (ordinary > 0.5).mean() < 0.005


def test_a_wrong_label_is_not_a_photo_of_none_of_the_classes():
    """Its photo lies among its true class, and its own label is heard only by way of its neighbors."""
    given, pred_probs, features, folds = digits_and("clean")
    wrong = given.copy()
    changed = np.random.default_rng(1).permutation(len(given))[:30]
    wrong[changed] = (wrong[changed] + 1) % 9
    before = probability_none(given, pred_probs, features=features, folds=folds)
    after = probability_none(wrong, pred_probs, features=features, folds=folds)
    assert after[changed].max() < 0.5
    assert np.abs(after - before)[changed].mean() < 0.01


def test_the_order_of_rows_does_not_matter():
    given, pred_probs, features, folds = digits_and("hidden")
    order = np.random.default_rng(2).permutation(len(given))
    expected = probability_none(given, pred_probs, features=features, folds=folds)[order]
    shuffled = probability_none(given[order], pred_probs[order], features=features[order], folds=folds[order])
    np.testing.assert_allclose(shuffled, expected, atol=0.01)


def test_the_same_arrays_give_the_same_bits():
    given, pred_probs, features, folds = digits_and("hidden")
    first, second = (
        probability_none(given, pred_probs, features=values, folds=folds)
        for values in (features, features.copy())
    )
    assert first.tobytes() == second.tobytes()


@pytest.mark.parametrize("num_threads", [1, 2])
def test_the_number_of_threads_changes_no_bit(num_threads):
    given, pred_probs, features, folds = digits_and("hidden")
    expected = probability_none(given, pred_probs, features=features, folds=folds)
    with threadpool_limits(num_threads):
        same = probability_none(given, pred_probs, features=features, folds=folds)
    assert same.tobytes() == expected.tobytes()


def test_half_precision_features_will_do():
    given, pred_probs, features, folds = digits_and("hidden")
    exact = probability_none(given, pred_probs, features=features, folds=folds)
    half = probability_none(given, pred_probs, features=features.astype(np.float16), folds=folds)
    np.testing.assert_allclose(half, exact, atol=0.02)


@pytest.mark.parametrize("num_rows", [2, 49])
def test_of_few_rows_nothing_is_said(num_rows):
    labels = np.arange(num_rows) % 2
    assert not probability_none(labels, np.full((num_rows, 2), 0.5), features=np.eye(num_rows)).any()


@pytest.mark.parametrize(
    "features", [np.zeros((60, 4)), np.ones((60, 1)), np.eye(60)], ids=["zeros", "ones", "all alike"]
)
def test_features_that_tell_nothing_call_no_row_foreign(features):
    labels = np.arange(60) % 3
    probability = probability_none(labels, np.eye(3)[labels] * 0.7 + 0.1, features=features)
    assert probability.max() < 0.5


def test_a_single_fold_is_as_none():
    given, pred_probs, features, _ = digits_and("hidden")
    one = probability_none(given, pred_probs, features=features, folds=np.zeros(len(given)))
    assert one.tobytes() == probability_none(given, pred_probs, features=features).tobytes()


def test_classes_without_rows_and_folds_of_one_row_pass():
    labels = np.arange(60) % 2 * 4
    pred_probs = np.full((60, 6), 1 / 6)
    features = np.random.default_rng(0).normal(size=(60, 5))
    folds = np.r_[np.zeros(58), 1, 2]
    assert np.isfinite(probability_none(labels, pred_probs, features=features, folds=folds)).all()


LABELS = np.arange(60) % 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"features": np.ones((59, 3))}, r"features have the shape \(59, 3\); \(60, D\) is expected"),
        ({"features": np.ones(60)}, r"features have the shape \(60,\)"),
        ({"folds": np.arange(59)}, r"folds have the shape \(59,\)"),
        ({"features": np.full((60, 3), np.nan)}, "hold NaN or infinity. Leave out"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(options, words):
    with pytest.raises(InputError, match=words):
        probability_none(LABELS, np.full((60, 2), 0.5), **options)
