"""Cross-fitted heads against a plain loop, and proof that no row has a say in its own probabilities."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from kiyome.errors import InputError
from kiyome.features import cross_fit_head, head, logistic, ridge
from kiyome.features.inputs import fit_input_map
from kiyome.features.readings import HeldOut, calibrated, softmax


def blobs(num_rows=150, num_classes=3, num_features=8, num_folds=5, seed=0, overlap=1.0):
    rng = np.random.default_rng(seed)
    labels = np.arange(num_rows) % num_classes
    centers = rng.normal(size=(num_classes, num_features))
    features = (centers[labels] + overlap * rng.normal(size=(num_rows, num_features))).astype(np.float32)
    folds = rng.permutation(np.arange(num_rows) % num_folds)
    return features, labels, folds


def log_loss(probs, labels):
    return -np.log(probs[np.arange(len(labels)), labels])


def plain_readings(clipped, kernel, labels, train, test, strength, penalty):
    """What logistic and kernel ridge regression of scikit-learn say of the test rows."""
    from sklearn.kernel_ridge import KernelRidge
    from sklearn.linear_model import LogisticRegression

    logits = LogisticRegression(C=strength, tol=1e-8, max_iter=5000).fit(clipped[train], labels[train])
    shares = np.bincount(labels[train]) / train.sum()
    ridge = KernelRidge(alpha=penalty, kernel="precomputed")
    ridge.fit(kernel[np.ix_(train, train)], np.eye(len(shares))[labels[train]] - shares)
    scores = ridge.predict(kernel[np.ix_(test, train)]) + shares
    logs = np.log(np.maximum(scores, 0.01 / len(shares)))
    return logits.predict_log_proba(clipped[test]), logs, scores


def test_equals_the_plain_loop(monkeypatch):
    monkeypatch.setattr(logistic, "TOLERANCE", 1e-8)
    monkeypatch.setattr(logistic, "GRID", (1e-3, 1e-2, 1e-1))
    features, labels, folds = blobs(num_rows=120, num_features=6, num_folds=4, overlap=2)
    fit = cross_fit_head(features, labels, folds, num_classes=3)
    clipped = np.clip((features - features.mean(axis=0)) / features.std(axis=0), -4, 4)
    units = clipped / np.linalg.norm(clipped, axis=1, keepdims=True)
    kernel = np.exp(fit.heads.input_map.scale * (units @ units.T - 1))
    for fold in range(4):
        losses, factors = {}, {}
        for number, strength in enumerate(logistic.GRID):
            for judge in ((fold + 1) % 4, (fold - 1) % 4):
                train, test = ~np.isin(folds, (fold, judge)), folds == judge
                penalty = ridge.GRID[number]
                found = plain_readings(clipped, kernel, labels, train, test, strength, penalty)
                trials = [calibrated(each, labels[test], np.ones(test.sum())) for each in found]
                losses[number, judge] = trials[0][1], trials[2][1]
                factors[number, judge] = np.log([factor for factor, _ in trials])
        judges = ((fold + 1) % 4, (fold - 1) % 4)
        totals = np.array(
            [np.sum([losses[number, judge] for judge in judges], axis=0) for number in range(3)]
        )
        at = totals.argmin(axis=0)
        assert fit.regularization[fold] == logistic.GRID[at[0]]
        assert fit.penalty[fold] == ridge.GRID[at[1]]
        means = [np.mean([factors[number, judge] for judge in judges], axis=0) for number in range(3)]
        sharpness = np.exp([means[at[0]][0], *means[at[1]][1:]])
        test = folds == fold
        found = plain_readings(clipped, kernel, labels, ~test, test, logistic.GRID[at[0]], ridge.GRID[at[1]])
        expected = softmax(sum(factor * each for factor, each in zip(sharpness, found, strict=True)) / 3)
        np.testing.assert_allclose(fit.pred_probs[test], expected, atol=0.01)
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


def test_a_row_of_weight_zero_is_only_predicted():
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
    steps = []
    cross_fit_head(*blobs(), num_classes=3, on_progress=lambda *step: steps.append(step))
    assert steps == [("fit heads", done, 20) for done in range(1, 21)]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"labels": np.arange(10)}, "Expected (N, D), (N,) and (N,)."),
        ({"folds": np.arange(150) % 2}, "There are 2 folds. At least three are needed"),
        ({"num_classes": 2}, "Labels run from 0 to 2. They must lie in 0..1."),
        ({"features": np.full((150, 2), np.nan)}, "The features hold NaN or infinity."),
        ({"weights": np.r_[np.ones(3), np.zeros(147)]}, "No row has weight in fold"),
    ],
)
def test_bad_input_is_refused(change, words):
    features, labels, folds = blobs()
    arguments = {"features": features, "labels": labels, "folds": folds, "num_classes": 3} | change
    with pytest.raises(InputError) as refused:
        cross_fit_head(**arguments)
    assert words in str(refused.value)


def test_a_curve_ends_for_a_fold_by_its_own_held_out_rows_alone():
    features, labels, _ = blobs(num_rows=90, num_features=30, overlap=3)
    input_map = fit_input_map(features, np.arange(90))
    seen, ones = input_map(features), np.ones(50, np.float32)
    mine, other = (HeldOut(seen.rows(rows), labels[rows], ones[:20]) for rows in (slice(20), slice(20, 40)))
    unlike = other._replace(targets=(other.targets + 1) % 3)

    def curves(held_out):
        training = logistic.Training(seen.components[40:], labels[40:], ones, input_map.variances)
        return head.logistic_curves(logistic.path(training, 3), held_out)

    before, after = curves({0: mine, 1: other}), curves({0: mine, 1: unlike})
    assert before[0] == after[0]
    assert len(before[1]) != len(after[1])
    assert len(before[0]) < len(logistic.GRID)


def test_a_rare_feature_does_not_outvote_the_others():
    """Found on digits: features that fire in one photo made the ten most suspicious labels right ones."""
    features, labels, folds = blobs(num_rows=300, overlap=0.5)
    rare = np.zeros((300, 40), np.float32)
    rare[np.arange(40) * 7, np.arange(40)] = 1
    fit = cross_fit_head(np.hstack([features, rare]), labels, folds, num_classes=3)
    assert fit.pred_probs[np.arange(300), labels].min() > 0.1


def test_small_sets_and_many_classes_stay_finite():
    features, labels, folds = blobs(num_rows=200, num_classes=100, num_features=20)
    fit = cross_fit_head(features, labels, folds, num_classes=1000)
    np.testing.assert_allclose(fit.pred_probs.sum(axis=1), 1, atol=1e-5)
    assert (fit.pred_probs[:, 100:] == 0).all()


def test_the_heads_of_all_folds_predict_photos_to_come():
    features, labels, folds = blobs(num_rows=300)
    fit = cross_fit_head(features[:200], labels[:200], folds[:200], num_classes=3)
    probs = fit.heads.pred_probs(features[200:])
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-5)
    assert (probs.argmax(axis=1) == labels[200:]).mean() > fit.accuracy_on_given - 0.1


def test_strong_noise_keeps_the_ranking():
    """Squared loss alone pulls probabilities together; at 40 % wrong labels its logarithms misled."""
    features, labels, folds = blobs(num_rows=900, num_features=30, overlap=1.5)
    rng = np.random.default_rng(0)
    given = np.where(rng.random(900) < 0.6, rng.integers(0, 3, 900), labels)
    fit = cross_fit_head(features, given, folds, num_classes=3)
    of_given = fit.pred_probs[np.arange(900), given]
    assert (fit.pred_probs.argmax(axis=1) == labels).mean() > 0.85
    assert of_given[given == labels].mean() > of_given[given != labels].mean() + 0.2


def test_rows_outside_all_folds_are_predicted_by_all_heads_and_teach_none():
    features, labels, folds = blobs(num_rows=200, num_folds=4)
    alone = cross_fit_head(features[:150], labels[:150], folds[:150], num_classes=3)
    folds[150:], labels = -1, np.where(np.arange(200) < 150, labels, -1)
    fit = cross_fit_head(features, labels, folds, num_classes=3)
    assert np.allclose(fit.pred_probs[:150], alone.pred_probs, atol=1e-5)
    assert np.allclose(fit.pred_probs[150:], alone.heads.pred_probs(features[150:]), atol=1e-5)
    assert fit.of_one_head.shape == (50, 3)
    inputs = alone.heads.input_map(features[152:153])
    assert np.allclose(fit.of_one_head[2], alone.heads.of_folds[2].pred_probs(inputs)[0], atol=1e-5)
    assert (fit.regularization, fit.penalty) == (alone.regularization, alone.penalty)


def as_weighted_rows(features, shares, folds, weights):
    """One row for each class that a row has a share of, weighted by it."""
    rows, classes = np.nonzero(shares)
    return features[rows], classes, folds[rows], (weights[:, None] * shares)[rows, classes]


def test_a_row_with_soft_labels_is_taught_as_one_weighted_row_for_each_class(monkeypatch):
    """Both models are those of the longer table, fitted on the same inputs."""
    monkeypatch.setattr(logistic, "TOLERANCE", 1e-9)
    features, labels, folds = blobs(num_rows=120, overlap=2)
    rng = np.random.default_rng(0)
    weights = rng.choice([0.5, 1, 2], 120).astype(np.float32)
    shares = np.float32(0.6) * np.eye(3, dtype=np.float32)[labels] + np.float32(0.4 / 3)
    shares[:40] = np.eye(3)[labels[:40]]  # these are sure
    input_map = fit_input_map(features, np.arange(120))
    between = input_map.likeness(features)[input_map.landmark_rows].astype(float)

    def models(features, targets, weights):
        seen = input_map(features)
        training = logistic.Training(seen.components, targets, weights, input_map.variances)
        sums = ridge.sums_of(seen.likeness, np.arange(len(targets)), targets, weights, 3)
        solved = ridge.solve(sums, 1.0, between)
        return logistic.fit(training, 0.01, logistic.start(training, 3)), *solved

    long_features, classes, _, long_weights = as_weighted_rows(features, shares, folds, weights)
    longer = models(long_features, classes, long_weights)
    for mine, theirs in zip(models(features, shares, weights), longer, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=2e-3)
    logits = 3 * input_map(features).components[:, :3]
    long_logits = 3 * input_map(long_features).components[:, :3]
    factor, loss = calibrated(logits, shares, weights)
    expected = calibrated(long_logits, classes, long_weights)
    assert (factor, loss) == pytest.approx(expected, rel=0.05)


def test_soft_labels_that_are_sure_are_labels_to_the_last_bit():
    features, labels, folds = blobs(num_rows=200, num_classes=5, overlap=2)
    weights = np.random.default_rng(0).choice([0, 0.5, 1], 200)
    hard = cross_fit_head(features, labels, folds, num_classes=5, weights=weights)
    sure = cross_fit_head(
        features, labels, folds, num_classes=5, weights=weights, soft_labels=np.eye(5)[labels]
    )
    assert np.array_equal(hard.pred_probs, sure.pred_probs)
    assert hard.log_loss == sure.log_loss


def test_soft_labels_teach_what_wrong_labels_hide():
    features, labels, folds = blobs(num_rows=400, overlap=1)
    wrong = np.random.default_rng(1).random(400) < 0.4
    given = np.where(wrong, (labels + 1) % 3, labels)
    shares = np.where(wrong[:, None], np.eye(3)[labels] * 0.8 + np.eye(3)[given] * 0.2, np.eye(3)[given])
    hard = cross_fit_head(features, given, folds, num_classes=3)
    soft = cross_fit_head(features, given, folds, num_classes=3, soft_labels=shares)
    assert log_loss(soft.pred_probs, labels).mean() < log_loss(hard.pred_probs, labels).mean() - 0.1
    assert soft.accuracy_on_given == (soft.pred_probs.argmax(axis=1) == given).mean()


@pytest.mark.parametrize(
    ("shares", "words"),
    [
        (np.ones((150, 2)) / 2, r"Soft labels have shape \(150, 2\). Expected \(150, 3\)."),
        (np.ones((150, 3)), r"soft labels of row 0 are \[1.0, 1.0, 1.0\]. Expected shares from 0"),
        (np.tile([1.5, -0.5, 0], (150, 1)), "Expected shares from 0 that sum to 1"),
        (np.full((150, 3), np.nan), "The soft labels of row 0 are"),
    ],
)
def test_soft_labels_that_are_no_shares_are_refused(shares, words):
    features, labels, folds = blobs()
    with pytest.raises(InputError, match=words):
        cross_fit_head(features, labels, folds, num_classes=3, soft_labels=shares)


def test_the_number_of_threads_changes_no_bit():
    features, labels, folds = blobs(num_rows=800, num_features=600, overlap=3)
    with threadpool_limits(1):
        alone = cross_fit_head(features, labels, folds, num_classes=3)
    together = cross_fit_head(features, labels, folds, num_classes=3)
    assert together.pred_probs.tobytes() == alone.pred_probs.tobytes()
