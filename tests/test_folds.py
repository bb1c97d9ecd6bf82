import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from kiyome.errors import InputError
from kiyome.folds import assign_folds, check_classes_fill_folds, join_groups

repeatable = settings(derandomize=True, deadline=None, max_examples=150)


def shares(labels, folds, num_folds):
    """(F, K) the share of each class that each fold holds, by a plain loop."""
    table = np.zeros((num_folds, max(labels) + 1))
    for label, fold in zip(labels, folds, strict=True):
        table[fold, label] += 1
    return table / np.maximum(table.sum(axis=0), 1)


@repeatable
@given(st.lists(st.integers(0, 3), min_size=8, max_size=80), st.integers(2, 5), st.integers(0, 9))
def test_without_groups_folds_differ_by_at_most_one_row_a_class(labels, num_folds, seed):
    counts = np.bincount(labels)
    assume(counts[counts > 0].min() >= num_folds)
    folds = assign_folds(labels, num_folds=num_folds, seed=seed)
    assert folds.dtype == np.int16
    counts_by_fold = [
        np.bincount(np.array(labels)[folds == f], minlength=len(counts)) for f in range(num_folds)
    ]
    assert np.ptp(counts_by_fold, axis=0).max() <= 1
    assert np.ptp(np.bincount(folds, minlength=num_folds)) <= 1
    assert np.array_equal(folds, assign_folds(np.array(labels), num_folds=num_folds, seed=seed))


@settings(derandomize=True, deadline=None, max_examples=200)
@given(st.integers(0, 10**6), st.integers(2, 5), st.integers(2, 5))
def test_groups_stay_together_and_balance_is_no_worse_than_scikit_learn(seed, num_folds, num_classes):
    rng = np.random.default_rng(seed)
    labels = rng.integers(num_classes, size=rng.integers(10, 100))
    groups = rng.integers(max(2 * num_folds, len(labels) // rng.integers(1, 6)), size=len(labels))
    try:
        folds = assign_folds(labels, num_folds=num_folds, groups=groups)
    except InputError:
        assume(False)
    peer = np.empty_like(folds)
    for fold, (_, held_out) in enumerate(StratifiedGroupKFold(num_folds).split(labels, labels, groups)):
        peer[held_out] = fold
    assert all(len(set(folds[groups == g].tolist())) == 1 for g in set(groups.tolist()))
    ours, theirs = (shares(labels, split, num_folds).var(axis=0).sum() for split in (folds, peer))
    assert ours <= theirs + 1e-12


def test_a_big_group_is_evened_out_by_the_rows_that_are_alone():
    labels = [0] * 150
    folds = assign_folds(labels, groups=["big"] * 50 + [""] * 100)
    assert np.bincount(folds).tolist() == [50, 25, 25, 25, 25]


def test_another_seed_gives_another_split():
    labels = np.arange(100) % 2
    assert not np.array_equal(assign_folds(labels, seed=0), assign_folds(labels, seed=1))


@pytest.mark.parametrize(
    ("size", "num_groups"), [(100_000, 30_000), pytest.param(1_000_000, 300_000, marks=pytest.mark.slow)]
)
def test_many_rows_in_groups_stay_even(size, num_groups):
    rng = np.random.default_rng(0)
    labels, groups = rng.integers(20, size=size), rng.integers(num_groups, size=size)
    folds = assign_folds(labels, groups=groups)
    fold_of_group = np.full(num_groups, -1)
    fold_of_group[groups] = folds
    assert np.array_equal(fold_of_group[groups], folds)
    assert np.ptp(shares(labels, folds, 5), axis=0).max() < 1e-3


@repeatable
@given(st.lists(st.tuples(st.integers(-1, 6), st.sampled_from(["", "a", "b", "c"])), min_size=1, max_size=30))
def test_joined_groups_are_the_connected_components(pairs):
    numbers, texts = [n for n, _ in pairs], [t for _, t in pairs]
    joined = join_groups(numbers, texts)
    component = list(range(len(pairs)))
    for _ in pairs:  # the plain loop: spread the lowest row until nothing changes
        for i, (n, t) in enumerate(pairs):
            for j, (m, u) in enumerate(pairs):
                if (n == m != -1) or (t == u != ""):
                    component[i] = component[j] = min(component[i], component[j])
    assert joined.tolist() == [sorted(set(component)).index(c) for c in component]


def test_a_class_with_fewer_rows_than_folds_is_named():
    with pytest.raises(InputError, match=r"too few rows for 5 folds: 2 in class 'blight'."):
        assign_folds([0] * 9 + [1] * 2, class_names=("healthy", "blight"))


def test_a_class_with_fewer_groups_than_folds_is_named():
    with pytest.raises(InputError, match=r"too few groups for 2 folds: 1 in class 1."):
        assign_folds([0, 0, 0, 1, 1], num_folds=2, groups=["", "", "", "same", "same"])


def test_a_class_without_rows_passes():
    check_classes_fill_folds([0, 0, 2, 2], num_folds=2)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([], "shape \\(0,\\)"),
        ([0, -100], "lowest -100"),
        ([0.0, 1.0], "float64"),
        ([[0, 1]], "shape \\(1, 2\\)"),
    ],
)
def test_labels_that_are_no_classes_are_refused(labels, message):
    with pytest.raises(InputError, match="Labels have .*" + message):
        assign_folds(labels)


def test_one_fold_is_refused():
    with pytest.raises(InputError, match=r"num_folds=1 is out of range\. Expected 2 or more"):
        assign_folds([0, 0, 1, 1], num_folds=1)


def test_groupings_of_unequal_length_are_refused():
    with pytest.raises(InputError, match=r"The groupings have the lengths"):
        join_groups(["a"], ["a", "b"])
    with pytest.raises(InputError, match=r"Give one entry a row in each"):
        assign_folds([0, 0, 1, 1], num_folds=2, groups=["a", "b"])
