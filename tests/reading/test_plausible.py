"""Looking twice: what contradicts the reading stops, and what is only noise does not."""

import numpy as np
import pytest

from kiyome.errors import InputError
from kiyome.reading.plausible import (
    check_class_order,
    check_duplicate_labels,
    check_matched_by_id,
    check_not_constant,
)


def counts_of(predicted: np.ndarray, labels: np.ndarray, num_classes: int) -> np.ndarray:
    counts = np.zeros((num_classes, num_classes), int)
    np.add.at(counts, (predicted, labels), 1)
    return counts


def classes(number: int) -> list[str]:
    return [f"class {k}" for k in range(number)]


def some_right(rng, true: np.ndarray, num_classes: int, share: float) -> np.ndarray:
    """The classes, but for a share of rows any class."""
    return np.where(rng.random(len(true)) < share, true, rng.integers(0, num_classes, len(true)))


@pytest.mark.parametrize("num_classes", [2, 3, 10, 100])
@pytest.mark.parametrize("accuracy", [0.7, 0.9, 0.99])
def test_columns_in_another_order_are_found(num_classes: int, accuracy: float) -> None:
    rng = np.random.default_rng(0)
    true = rng.integers(0, num_classes, 60 * num_classes)
    order = np.roll(np.arange(num_classes), 1)
    predicted = order[some_right(rng, true, num_classes, accuracy)]
    with pytest.raises(InputError, match=r"columns of p\.csv are probably in another order"):
        check_class_order(counts_of(predicted, true, num_classes), classes(num_classes), source="p.csv")


def test_two_columns_of_a_hundred_are_found_and_named() -> None:
    rng = np.random.default_rng(1)
    true = rng.integers(0, 100, 6_000)
    predicted = some_right(rng, true, 100, 0.8)
    exchanged = np.where(predicted == 3, 7, np.where(predicted == 7, 3, predicted))
    with pytest.raises(InputError, match="if class 3 is class 7 and class 7 is class 3"):
        check_class_order(counts_of(exchanged, true, 100), classes(100), source="p.csv")


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("num_classes", [2, 3, 10, 100])
@pytest.mark.parametrize("num_rows", [30, 200, 3_000])
def test_noise_and_weak_predictors_never_look_like_it(num_classes: int, num_rows: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    true = rng.integers(0, num_classes, num_rows)
    flow = (true + 1) % num_classes if num_classes > 2 else rng.integers(0, 2, num_rows)
    lopsided = np.where(rng.random(num_rows) < 0.7, 0, true)
    predicted = some_right(rng, true, num_classes, 0.9)
    worlds = {
        "nothing learned": (rng.integers(0, num_classes, num_rows), true),
        "uniform noise of 70 %": (predicted, some_right(rng, true, num_classes, 0.3)),
        "flow of 70 % into one class": (predicted, lopsided),
        "flow of 60 % into the next class": (true, np.where(rng.random(num_rows) < 0.6, flow, true)),
        "one class predicted": (np.zeros(num_rows, int), true),
    }
    for guessed, labels in worlds.values():
        check_class_order(counts_of(guessed, labels, num_classes), classes(num_classes), source="p.csv")


def test_constant_predictions_are_refused_and_near_ones_are_not() -> None:
    probs = np.full((200_000, 4), 0.25, np.float32)
    with pytest.raises(InputError, match=r"All 200,000 rows of p\.npy hold the same probabilities"):
        check_not_constant(probs, source="p.npy")
    probs[-1] = 0.1, 0.3, 0.3, 0.3
    check_not_constant(probs, source="p.npy")


def test_ids_beside_other_rows_are_found() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 500)
    predicted = some_right(rng, labels, 5, 0.8)
    shuffled = predicted[rng.permutation(500)]
    with pytest.raises(InputError, match=r"The ids in p\.csv probably belong to other rows"):
        check_matched_by_id(labels, shuffled, predicted, source="p.csv")
    check_matched_by_id(labels, predicted, shuffled, source="p.csv")
    check_matched_by_id(labels, predicted, predicted, source="p.csv")
    check_matched_by_id(labels, shuffled, shuffled, source="p.csv")


def test_some_duplicates_with_other_labels_are_ordinary() -> None:
    labels = np.arange(100) % 2
    alike = [np.array([row, row + 2]) for row in range(0, 40, 4)]
    differing = [np.array([row, row + 1]) for row in range(50, 80, 2)]
    check_duplicate_labels(alike + differing, labels)
    check_duplicate_labels(differing[:5], labels)
    with pytest.raises(InputError, match="20 of 20 groups of identical photos"):
        check_duplicate_labels([np.array([row, row + 1]) for row in range(0, 40, 2)], labels)
