"""Shift between splits: scikit-learn is the oracle of areas and scores, random splits that of intervals."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter
from sklearn.datasets import load_digits
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score

from kiyome.errors import InputError
from kiyome.evaluation import shift as shift_module
from kiyome.evaluation.class_shares import compare_class_shares, shuffled_splits
from kiyome.evaluation.shift import _auc, _pairs, _Rows, compare_splits
from kiyome.features.split_scores import GRID, cross_fit_scores

DIGITS = load_digits()
IMAGES, LABELS = DIGITS.images[:600], DIGITS.target[:600]


def random_split(seed: int, num_rows: int = 600, num_test: int = 200) -> np.ndarray:
    return np.random.default_rng(seed).permutation(num_rows) < num_test


@given(st.integers(0, 10_000))
@settings(derandomize=True, deadline=None, max_examples=30)
def test_areas_are_those_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, in_test = rng.integers(0, 12, size=60) / 12, rng.random(60) < 0.4
    segments, alone = rng.integers(0, 3, size=60), np.arange(60)
    pairs = _pairs(scores, in_test, segments)
    areas, errors = _auc(pairs, _Rows(in_test, alone, np.zeros(60, int)), segments, 3)
    for k in range(3):
        rows = segments == k
        if len(set(in_test[rows])) == 2:
            assert areas[k] == pytest.approx(roc_auc_score(in_test[rows], scores[rows]))
            assert errors[k] >= delong_error(in_test[rows], scores[rows])
        else:
            assert np.isnan(areas[k])


def delong_error(in_test: np.ndarray, scores: np.ndarray) -> float:
    """Pair by pair, with variances of whole samples."""
    test, train = scores[in_test][:, None], scores[~in_test]
    wins = (test > train) + 0.5 * (test == train)
    return float(np.sqrt(wins.mean(axis=1).var() / len(test) + wins.mean(axis=0).var() / len(train)))


def test_scores_are_those_of_ridge_regression_with_the_best_penalty() -> None:
    rng = np.random.default_rng(0)
    components = rng.normal(size=(50, 6)).astype(np.float32)
    targets = (rng.random((50, 4)) < 0.3).astype(np.float32)
    folds = np.arange(50) % 5
    scores = cross_fit_scores(components, targets, folds)
    for fold in range(5):
        fitted, held_out = folds != fold, folds == fold
        for target in range(4):
            x, y = components[fitted].astype(float), targets[fitted, target]
            models = [Ridge(alpha=penalty * 40).fit(x, y) for penalty in GRID]
            centered = x - x.mean(axis=0)
            freedom = [
                np.trace(centered @ np.linalg.solve(centered.T @ centered + p * 40 * np.eye(6), centered.T))
                for p in GRID
            ]
            errors = [
                ((model.predict(x) - y) ** 2).sum() / (39 - df) ** 2
                for model, df in zip(models, freedom, strict=True)
            ]
            best = models[int(np.argmin(errors))]
            found = scores[held_out, target] + y.mean()
            assert found == pytest.approx(best.predict(components[held_out]), abs=1e-4)


@pytest.mark.parametrize("fault", ["brighter", "blurred"])
def test_a_planted_shift_of_photos_is_found_within_classes_too(fault: str) -> None:
    in_test = random_split(0)
    images = IMAGES.copy()
    changed = np.flatnonzero(in_test)[::2]
    images[changed] = (
        images[changed] * 0.8 + 3 if fault == "brighter" else gaussian_filter(images[changed], (0, 0.7, 0.7))
    )
    shift = compare_splits(images.reshape(600, -1), in_test, labels=LABELS, num_classes=10)
    assert shift.auc.low > 0.6
    assert shift.auc_within_classes.low > 0.6
    assert shift.verdict == "differs"
    assert shift.advice().startswith("test does not look like train (AUC")
    assert set(np.argsort(-np.where(in_test, shift.row_scores, 0))[:50]) <= set(changed)


def test_one_changed_class_is_named() -> None:
    in_test = random_split(1)
    images = IMAGES.copy()
    images[in_test & (LABELS == 3)] *= 0.7
    shift = compare_splits(images.reshape(600, -1), in_test, labels=LABELS, num_classes=10)
    assert shift.differing_classes == [3]


def test_other_class_shares_are_found_and_told_from_other_photos() -> None:
    rng = np.random.default_rng(2)
    in_test = rng.random(600) < np.where(LABELS < 3, 0.6, 0.15)
    shift = compare_splits(IMAGES.reshape(600, -1), in_test, labels=LABELS, num_classes=10)
    assert shift.auc.low > 0.6
    assert shift.auc_within_classes.low < 0.5
    assert not shift.differing_classes
    shares = compare_class_shares(LABELS, in_test, num_classes=10)
    assert set(shares.differing_classes) >= {0, 1, 2}
    for k in range(3):
        counted = (LABELS[in_test] == k).mean() - (LABELS[~in_test] == k).mean()
        assert shares.difference[k].value == pytest.approx(counted)


def covered(num_splits: int, num_rows: int, num_test: int) -> tuple[int, int, int]:
    """Random splits: how many intervals hold 0.5; how many have a class that differs by photos, by shares."""
    held, photos, shares = 0, 0, 0
    for seed in range(num_splits):
        rows = np.random.default_rng(seed).permutation(1797)[:num_rows]
        features, labels, in_test = DIGITS.data[rows], DIGITS.target[rows], np.arange(num_rows) < num_test
        shift = compare_splits(features, in_test, labels=labels, num_classes=10, seed=seed)
        held += shift.auc.low <= 0.5 <= shift.auc.high
        photos += bool(shift.differing_classes)
        shares += bool(compare_class_shares(labels, in_test, num_classes=10, seed=seed).differing_classes)
    return held, photos, shares


def test_random_splits_are_rarely_told_apart() -> None:
    held, photos, shares = covered(12, 120, 30)
    assert held >= 10
    assert photos <= 2
    assert shares <= 2


@pytest.mark.slow
def test_intervals_of_random_splits_hold_a_half_in_95_percent() -> None:
    """Of 200: 181 or more in 99.5 % of experiments."""
    held, photos, shares = covered(200, 200, 40)
    assert 181 <= held <= 199
    assert photos <= 19
    assert shares <= 19


def test_whole_groups_that_differ_by_nature_are_no_shift() -> None:
    """Photos of a patient look alike; a test set of other patients is no shift."""
    told, told_by_rows = 0, 0
    for seed in range(4):
        rng = np.random.default_rng(seed)
        patients = np.repeat(np.arange(24), 6)
        features = rng.normal(size=(24, 5))[patients] + 0.3 * rng.normal(size=(144, 5))
        in_test = patients < 6
        told += compare_splits(features, in_test, groups=patients, seed=seed).auc.low > 0.5
        told_by_rows += compare_splits(features, in_test, seed=seed).auc.low > 0.5
    assert told <= 1
    assert told_by_rows >= 3


def test_shuffles_keep_groups_whole_and_sizes_as_they_were() -> None:
    groups = np.array([0, 0, 1, 1, 2, 2, 3, 4, 5, 6])
    in_test = np.array([1, 1, 0, 0, 1, 0, 1, 0, 0, 0], bool)  # group 2 lies in both
    shuffled = shuffled_splits(in_test, groups, np.random.default_rng(0))
    assert (shuffled.sum(axis=0) == 4).all()
    assert (shuffled[0] == shuffled[1]).all()
    assert (shuffled[2] == shuffled[3]).all()
    assert (shuffled[4] != shuffled[5]).all()
    assert (shuffled[0] != shuffled[2]).all()
    assert len({column.tobytes() for column in shuffled.T}) == 2 * 2 * 4


def test_copies_of_train_rows_in_test_tell_nothing() -> None:
    features = np.tile(np.random.default_rng(0).normal(size=(100, 8)), (2, 1))
    shift = compare_splits(features, np.arange(200) < 100, groups=np.tile(np.arange(100), 2))
    assert shift.auc.value == pytest.approx(0.5, abs=0.05)
    assert shift.verdict != "differs"


def test_few_rows_say_that_nothing_can_be_told() -> None:
    shift = compare_splits(DIGITS.data[:300], random_split(3, 300, 12))
    assert shift.verdict == "cannot tell"
    assert shift.advice("val").startswith("Cannot tell with 12 val rows whether they look like train (AUC")
    assert (
        compare_splits(DIGITS.data[:9], np.arange(9) < 1, groups=np.arange(9) // 5).verdict == "cannot tell"
    )


def test_data_that_show_nothing_say_so() -> None:
    in_test = np.arange(30) < 10
    features = np.random.default_rng(0).normal(size=(30, 4))
    for shift in (
        compare_splits(features, in_test, groups=np.zeros(30, int)),
        compare_splits(np.ones((30, 4)), in_test, labels=np.arange(30) % 2, num_classes=2),
        compare_splits(features[:2], in_test[:2] ^ np.array([True, False])),
    ):
        assert (shift.auc, shift.verdict) == (None, "cannot tell")
        assert shift.advice() == "Cannot tell whether test looks like train: no rows of both can be compared."


def test_perfect_order_is_no_certainty() -> None:
    in_test = np.arange(100) < 20
    auc = compare_splits(np.random.default_rng(0).normal(size=(100, 3)) + 20 * in_test[:, None], in_test).auc
    assert auc.value == 1
    assert 0.85 < auc.low < 0.98
    assert auc.high == 1


def test_rows_without_a_label_are_compared_but_have_no_class() -> None:
    in_test = random_split(4)
    shift = compare_splits(
        IMAGES.reshape(600, -1), in_test, labels=np.where(in_test, -1, LABELS), num_classes=10
    )
    assert shift.auc is not None
    assert shift.auc_within_classes is None
    assert set(shift.class_auc) == {None}
    assert compare_class_shares(np.where(in_test, -1, LABELS), in_test, num_classes=10) is None


def test_of_very_many_rows_some_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shift_module, "MOST_ROWS", 150)
    in_test = random_split(5)
    shift = compare_splits(IMAGES.reshape(600, -1), in_test)
    compared = ~np.isnan(shift.row_scores)
    assert (in_test & compared).sum() == 150
    assert (~in_test & compared).sum() == 150
    assert (shift.num_train, shift.num_test, shift.auc.num_rows) == (400, 200, 300)


def test_the_same_seed_gives_the_same_answer() -> None:
    in_test = random_split(6)
    first, again = (compare_splits(IMAGES.reshape(600, -1), in_test, seed=3) for _ in range(2))
    assert first.auc == again.auc
    assert np.array_equal(first.row_scores, again.row_scores)


def test_unsuitable_arrays_are_named() -> None:
    features, in_test = np.zeros((4, 2)), np.array([True, False, False, False])
    with pytest.raises(InputError, match="of bool, 0 of its rows are in test"):
        compare_splits(features, np.zeros(4, bool))
    with pytest.raises(InputError, match="There are 3 labels for 4 rows"):
        compare_class_shares([0, 1, 1], in_test, num_classes=2)
    for labels in ([0, 1, 2, 0], [0, 1, -2, 0]):
        with pytest.raises(InputError, match="Expected 0 to 1, or -1 for a row without a label"):
            compare_class_shares(labels, in_test, num_classes=2)
        with pytest.raises(InputError, match="Expected 0 to 1, or -1 for a row without a label"):
            compare_splits(features, in_test, labels=labels, num_classes=2)
    with pytest.raises(InputError, match=r"The features have shape \(4,\)"):
        compare_splits(features[:, 0], in_test)
    with pytest.raises(InputError, match="NaN or infinity"):
        compare_splits(np.full((4, 2), np.nan), in_test)


def test_rows_that_no_row_of_train_resembles_are_ordered_by_margin() -> None:
    in_test, rng = random_split(7), np.random.default_rng(0)
    strength = np.where(in_test, 5 + 10 * rng.random(600), 0)
    features = rng.normal(size=(600, 4))
    features[:, 0] += strength
    shift = compare_splits(features, in_test)
    told = np.flatnonzero(in_test)
    assert (shift.row_scores[told] == 1).mean() > 0.9
    assert np.corrcoef(shift.row_margins[told], strength[told])[0, 1] > 0.7
