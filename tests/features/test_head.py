"""Cross-fitted heads against a plain loop, and proof that no row has a say in its own probabilities."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kiyome.errors import InputError
from kiyome.features import cross_fit_head, head


def blobs(num_rows=150, num_classes=3, num_features=8, num_folds=5, seed=0, overlap=1.0):
    rng = np.random.default_rng(seed)
    labels = np.arange(num_rows) % num_classes
    centers = rng.normal(size=(num_classes, num_features))
    features = (centers[labels] + overlap * rng.normal(size=(num_rows, num_features))).astype(np.float32)
    folds = rng.permutation(np.arange(num_rows) % num_folds)
    return features, labels, folds


def log_loss(probs, labels):
    return -np.log(probs[np.arange(len(labels)), labels])


def plain_probabilities(features, labels, train, test, strength):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, tol=1e-8, max_iter=5000))
    return model.fit(features[train], labels[train]).predict_proba(features[test])


@pytest.mark.parametrize(("num_classes", "num_folds"), [(2, 5), (3, 3), (4, 4)])
def test_equals_the_plain_loop(monkeypatch, num_classes, num_folds):
    monkeypatch.setattr(head, "TOLERANCE", 1e-6)
    features, labels, folds = blobs(num_classes=num_classes, num_folds=num_folds)
    fit = cross_fit_head(features, labels, folds, num_classes=num_classes)
    for fold in range(num_folds):
        totals = []
        for strength in head.GRID:
            total = 0.0
            for judge in ((fold + 1) % num_folds, (fold - 1) % num_folds):
                train, test = ~np.isin(folds, (fold, judge)), folds == judge
                probs = plain_probabilities(features, labels, train, test, strength)
                total += log_loss(probs, labels[test]).sum()
            totals.append(total)
        assert fit.regularization[fold] == head.GRID[int(np.argmin(totals))]
        test = folds == fold
        expected = plain_probabilities(features, labels, ~test, test, fit.regularization[fold])
        np.testing.assert_allclose(fit.pred_probs[test], expected, atol=2e-3)
    assert fit.log_loss == pytest.approx(log_loss(fit.pred_probs, labels).mean(), rel=1e-5)


@settings(derandomize=True, deadline=None, max_examples=6)
@given(seed=st.integers(0, 2**16), fold=st.integers(0, 4), overlap=st.floats(0.1, 4))
def test_no_fold_has_a_say_in_its_own_probabilities(seed, fold, overlap):
    features, labels, folds = blobs(num_rows=100, seed=seed, overlap=overlap)
    mine = folds == fold
    before = cross_fit_head(features, labels, folds, num_classes=3)
    changed = np.where(mine, (labels + 1) % 3, labels)
    after = cross_fit_head(features, changed, folds, num_classes=3)
    assert before.regularization[fold] == after.regularization[fold]
    assert np.array_equal(before.pred_probs[mine], after.pred_probs[mine])
    assert not np.array_equal(before.pred_probs[~mine], after.pred_probs[~mine])


def test_rows_sum_to_one_and_the_same_call_gives_the_same_bits():
    features, labels, folds = blobs(num_rows=400, num_classes=7, overlap=2)
    first = cross_fit_head(features, labels, folds, num_classes=7)
    second = cross_fit_head(features, labels, folds, num_classes=7)
    assert first.pred_probs.dtype == np.float32
    np.testing.assert_allclose(first.pred_probs.sum(axis=1), 1, atol=1e-6)
    assert np.array_equal(first.pred_probs, second.pred_probs)


def test_wrong_labels_call_for_strong_regularization():
    features, labels, folds = blobs(num_rows=600, num_classes=3, num_features=200, overlap=1.5)
    rng = np.random.default_rng(1)
    given = np.where(rng.random(600) < 0.2, rng.integers(0, 3, 600), labels)
    fit = cross_fit_head(features, given, folds, num_classes=3)
    assert max(fit.regularization) <= 0.03
    accuracy_on_true = (fit.pred_probs.argmax(axis=1) == labels).mean()
    assert accuracy_on_true > fit.accuracy_on_given


def test_a_class_absent_from_a_training_part_has_probability_zero_there():
    features, labels, folds = blobs(num_rows=90, num_classes=2)
    labels[folds == 2] = 2  # only fold 2 holds class 2, and class 3 is nobody's
    fit = cross_fit_head(features, labels, folds, num_classes=4)
    assert (fit.pred_probs[folds == 2, 2] == 0).all()
    assert (fit.pred_probs[:, 3] == 0).all()
    assert (fit.pred_probs[folds != 2, 2] > 0).all()
    np.testing.assert_allclose(fit.pred_probs.sum(axis=1), 1, atol=1e-6)
    assert np.isfinite(fit.log_loss)


def test_a_training_part_of_one_class_is_sure_of_it():
    features, _, folds = blobs(num_rows=30, num_folds=3)
    labels = (folds == 0).astype(int)
    fit = cross_fit_head(features, labels, folds, num_classes=2)
    assert (fit.pred_probs[folds == 0] == [1, 0]).all()


def test_a_row_of_weight_zero_teaches_nothing_and_is_predicted():
    features, labels, folds = blobs()
    weights = np.ones(len(labels))
    weights[::7] = 0
    before = cross_fit_head(features, labels, folds, num_classes=3, weights=weights)
    altered, lied = features.copy(), labels.copy()
    altered[::7], lied[::7] = 100, (labels[::7] + 1) % 3
    after = cross_fit_head(altered, lied, folds, num_classes=3, weights=weights)
    others = weights > 0
    np.testing.assert_array_equal(before.pred_probs[others], after.pred_probs[others])
    assert before.regularization == after.regularization
    assert before.pred_probs[~others].sum() == pytest.approx((~others).sum())


def test_a_row_of_greater_weight_pulls_its_probability():
    features, labels, folds = blobs(overlap=3)
    plain = cross_fit_head(features, labels, folds, num_classes=3)
    same = cross_fit_head(features, labels, folds, num_classes=3, weights=np.ones(len(labels)))
    pulled = cross_fit_head(features, labels, folds, num_classes=3, weights=np.where(labels == 2, 5, 1))
    np.testing.assert_array_equal(plain.pred_probs, same.pred_probs)
    assert pulled.pred_probs[:, 2].mean() > plain.pred_probs[:, 2].mean() + 0.1


def test_a_constant_feature_and_half_precision_do_no_harm():
    features, labels, folds = blobs()
    features = np.concatenate([features, np.full((len(features), 1), 7)], axis=1)
    whole = cross_fit_head(features, labels, folds, num_classes=3)
    half = cross_fit_head(features.astype(np.float16), labels, folds, num_classes=3)
    np.testing.assert_allclose(whole.pred_probs, half.pred_probs, atol=0.02)


def test_progress_ends_at_its_total():
    heard = []
    cross_fit_head(*blobs(), num_classes=3, on_progress=lambda *step: heard.append(step))
    assert heard == [("fit heads", done, 10) for done in range(1, 11)]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"labels": np.arange(10)}, "labels and folds (N,)"),
        ({"folds": np.arange(150) % 2}, "three folds or more"),
        ({"num_classes": 2}, "Labels lie in 0..1. Came: labels from 0 to 2."),
        ({"features": np.full((150, 2), np.nan)}, "Features are finite."),
        ({"weights": np.r_[np.ones(3), np.zeros(147)]}, "Every fold holds rows that teach"),
    ],
)
def test_bad_input_is_told(change, words):
    features, labels, folds = blobs()
    arguments = {"features": features, "labels": labels, "folds": folds, "num_classes": 3} | change
    with pytest.raises(InputError) as told:
        cross_fit_head(**arguments)
    assert words in str(told.value)


def test_a_path_ends_for_a_fold_by_its_own_judge_alone():
    features, labels, _ = blobs(num_rows=90, num_features=30, overlap=3)
    ones = np.ones(20, np.float32)
    mine = head._Judge(features[:20], labels[:20], ones)
    other = head._Judge(features[20:40], labels[20:40], ones)
    unlike = other._replace(labels=(labels[20:40] + 1) % 3)
    train = (features[40:], labels[40:], np.ones(50, np.float32))
    before = head._losses_along_path(*train, {0: mine, 1: other}, 3)
    after = head._losses_along_path(*train, {0: mine, 1: unlike}, 3)
    assert before[0] == after[0]
    assert len(before[1]) != len(after[1])
    assert len(before[0]) < len(head.GRID)
