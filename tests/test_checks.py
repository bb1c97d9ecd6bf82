"""What is refused, with which words, and that sound arrays pass untouched."""

import numpy as np
import pytest

from kiyome.checks import check_arrays
from kiyome.errors import InputError
from kiyome.noise import (
    confident_joint,
    confident_thresholds,
    find_label_issues,
    label_quality,
    noise_rate,
    posterior_matrix,
    rank_label_issues,
    transition_matrix,
)
from kiyome.noise.top_classes import read_top_classes


def read(labels, pred_probs):
    """Check shapes, types and labels, then read: what every public function does first."""
    return read_top_classes(*check_arrays(labels, pred_probs))


LABELS = np.array([0, 1, 2, 0])
PROBS = np.array([[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.3, 0.3, 0.4], [0.6, 0.2, 0.2]])

PUBLIC = [
    confident_joint,
    confident_thresholds,
    find_label_issues,
    label_quality,
    noise_rate,
    posterior_matrix,
    rank_label_issues,
    transition_matrix,
]


def with_entry(row, column, value):
    probs = PROBS.copy()
    probs[row, column] = value
    return probs


BAD = {
    "NaN": (LABELS, with_entry(2, 1, np.nan), "has nan in row 2, column 1. Expected finite numbers"),
    "infinity": (LABELS, with_entry(1, 0, np.inf), "has inf in row 1, column 0. Expected finite numbers"),
    "both infinities": (
        LABELS % 2,
        np.array([[0.5, 0.5], [0.1, 0.9], [np.inf, -np.inf], [1, 0]]),
        "has inf in row 2, column 0",
    ),
    "negative": (
        LABELS,
        np.array([[0.5, 0.4, 0.1], [1.1, -0.2, 0.1], [0, 0, 1], [2, -1, 0]]),
        "has -0.2 in row 1, column 1. Expected probabilities of 0 or more",
    ),
    "sum": (LABELS, with_entry(3, 0, 0.5), "Row 3 of pred_probs sums to 0.9. Expected rows that sum to one"),
    "logits": (LABELS, PROBS * 5, "Row 0 of pred_probs sums to 5."),
    "too few labels": (LABELS[:3], PROBS, "labels have shape (3,), pred_probs has 4 rows."),
    "column of labels": (LABELS[:, None], PROBS, "labels have shape (4, 1), pred_probs has 4 rows."),
    "label too large": ([0, 1, 3, 7], PROBS, "has no column in pred_probs. Expected labels in 0..2."),
    "its row": ([0, 1, 3, 7], PROBS, "Label 3 in row 2"),
    "label below zero": ([0, -1, 2, 0], PROBS, "Label -1 in row 1"),
    "huge label": (
        np.array([0, 1, 2**63, 0], dtype=np.uint64),
        PROBS,
        "Label 9223372036854775808 in row 2",
    ),
    "fraction": (
        [0, 1, 1.5, 0],
        PROBS,
        "Label np.float64(1.5) in row 2 is not a whole number of an integer type",
    ),
    "missing label": ([0, np.nan, 2, 0], PROBS, "Label np.float64(nan) in row 1"),
    "whole floats": ([0.0, 1.0, 2.0, 0.0], PROBS, "Label np.float64(0.0) in row 0"),
    "names": (
        ["a", "b", "c", "a"],
        PROBS,
        "in row 0 is not a whole number of an integer type. Correct that row",
    ),
    "None": ([0, 1, None, 0], PROBS, "Label None in row 2"),
    "booleans": ([True, False, True, True], PROBS, "Label np.True_ in row 0"),
    "no rows": (
        [],
        np.zeros((0, 3)),
        "has shape (0, 3). Expected (N, K): one row a photo, at least one, and one column a class",
    ),
    "one class": ([0, 0], np.ones((2, 1)), "pred_probs has shape (2, 1)"),
    "one dimension": (LABELS, PROBS[:, 0], "pred_probs has shape (4,)"),
    "whole numbers": (
        [0, 1],
        np.eye(2, dtype=int),
        "pred_probs has type int64. Expected float16, float32 or float64.",
    ),
    "ragged": (
        LABELS,
        [[0.5, 0.5], [1.0]],
        "pred_probs is a list that is no array: setting an array element",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arrays_are_refused_by_the_first_bad_row(name):
    labels, pred_probs, message = BAD[name]
    with pytest.raises(InputError) as error:
        read(labels, pred_probs)
    assert message in str(error.value)


@pytest.mark.parametrize("function", PUBLIC)
def test_every_public_function_refuses_them(function):
    with pytest.raises(InputError, match="has nan in row 2, column 1"):
        function(LABELS, BAD["NaN"][1])
    with pytest.raises(InputError, match="Label 3 in row 2"):
        function([0, 1, 3, 7], PROBS)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_pred_probs_are_not_copied(dtype):
    probs = PROBS.astype(dtype)
    assert check_arrays(LABELS, probs)[1] is probs


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float16, 1e-2), (np.float32, 1e-3), (np.float64, 1e-3)])
def test_tolerance_follows_the_type(dtype, tolerance):
    inside, outside = ([[0.5, 0.5 + tolerance * factor]] for factor in (0.8, 1.3))
    read([0], np.array(inside, dtype=dtype))
    with pytest.raises(InputError, match="sum to one"):
        read([0], np.array(outside, dtype=dtype))


def test_half_precision_of_many_classes_passes():
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.full(1000, 0.05), 200).astype(np.float16)
    kept = read(rng.integers(0, 1000, 200), probs)
    assert kept.num_entries == 200 * 1000
    assert kept.probs.max(axis=1).tolist() == probs.max(axis=1).tolist()


@pytest.mark.parametrize("labels", [[0, 1, 2, 0], (0, 1, 2, 0), np.array([0, 1, 2, 0], dtype=object)])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, np.uint64])
def test_labels_of_any_integer_type(labels, dtype):
    for given in (labels, np.array(labels, dtype=dtype)):
        checked, _ = check_arrays(given, PROBS)
        assert checked.dtype == np.intp
        np.testing.assert_array_equal(checked, LABELS)


def test_small_label_types_do_not_overflow():
    """Row 300 of a uint8 array, class 200 of 256: products of the two pass 255."""
    labels = np.arange(512).astype(np.uint8)
    joint = confident_joint(labels, np.eye(256)[labels])
    np.testing.assert_array_equal(joint, np.diag(np.full(256, 2)))


def test_memory_mapped_predictions(tmp_path):
    np.save(tmp_path / "probs.npy", PROBS)
    mapped = np.load(tmp_path / "probs.npy", mmap_mode="r")
    np.testing.assert_array_equal(find_label_issues(LABELS, mapped), find_label_issues(LABELS, PROBS))
