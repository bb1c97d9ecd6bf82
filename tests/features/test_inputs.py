"""What the heads see of a photo: rare features clipped, a basis of few directions, likeness to landmarks."""

import numpy as np
import pytest

from kiyome.features import inputs
from kiyome.features.inputs import fit_input_map, leading_directions


def features_of(num_rows=300, num_features=40, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(num_rows, num_features)) * rng.uniform(0.1, 9, num_features)).astype(np.float32)


def standardized(features):
    return np.clip((features - features.mean(axis=0)) / features.std(axis=0), -4, 4)


def test_a_feature_that_fires_in_one_photo_stays_within_four_deviations():
    features = features_of()
    features[:, 0] = 0
    features[7, 0] = 1
    input_map = fit_input_map(features, np.arange(300))
    assert input_map.clipped(features)[7, 0] == 4
    assert input_map.clipped(1e4 * features).max() == 4  # photos to come, too


def test_components_and_likeness_equal_the_plain_formulas():
    features = features_of()
    input_map = fit_input_map(features, np.arange(300))
    seen = input_map(features)
    rows = standardized(features)
    gram = seen.components[:, :-1] @ seen.components[:, :-1].T  # 40 directions hold all of 40 features
    np.testing.assert_allclose(gram, rows @ rows.T, atol=0.05)
    assert (seen.components[:, -1] == 1).all()
    units = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    cosines = units @ input_map.landmarks.T
    np.testing.assert_allclose(seen.likeness, np.exp(input_map.scale * (cosines - 1)), atol=1e-4)
    assert seen.likeness.max() == pytest.approx(1, abs=1e-5)
    assert np.median(seen.likeness) == pytest.approx(np.exp(-2), rel=0.1)


def test_few_components_are_those_of_most_variance(monkeypatch):
    monkeypatch.setattr(inputs, "NUM_COMPONENTS", 5)
    features = features_of()
    features[:, :5] = features[:, :1] + 0.1 * features[:, :5]  # five that move together
    input_map = fit_input_map(features, np.arange(300))
    largest = np.linalg.eigvalsh(np.cov(standardized(features).T, bias=True))[::-1]
    np.testing.assert_allclose(input_map.variances[:-1], largest[:5], rtol=0.05)
    assert input_map(features).components.shape == (300, 6)


@pytest.mark.parametrize(("num_rows", "num_features", "num"), [(300, 60, 60), (400, 300, 20), (40, 90, 40)])
def test_directions_are_those_of_scikit_learn_to_the_last_bit(num_rows, num_features, num):
    from sklearn.utils.extmath import randomized_svd

    rows = standardized(features_of(num_rows, num_features))
    second_moments = rows.T @ rows / num_rows
    directions, variances = leading_directions(second_moments, num)
    expected, values, _ = randomized_svd(second_moments, num, random_state=0)
    np.testing.assert_array_equal(directions, expected)
    np.testing.assert_array_equal(variances, values)


def test_only_the_named_rows_are_learned_from():
    features = features_of()
    known = np.arange(0, 300, 2)
    before = fit_input_map(features, known)
    features[1::2] = 1e3
    after = fit_input_map(features, known)
    for name in ("mean", "deviation", "directions", "landmarks", "scale"):
        np.testing.assert_array_equal(getattr(before, name), getattr(after, name))


def test_landmarks_are_limited_so_that_likeness_fits_in_memory(monkeypatch):
    monkeypatch.setattr(inputs, "MOST_LIKENESS", 300 * 17)
    assert len(fit_input_map(features_of(), np.arange(300)).landmarks) == 17


@pytest.mark.parametrize("features", [np.ones((6, 3)), np.eye(2, 3), np.zeros((1, 4))])
def test_photos_that_are_all_alike_do_no_harm(features):
    seen = fit_input_map(features, np.arange(len(features)))(features)
    assert np.isfinite(seen.components).all()
    assert np.isfinite(seen.likeness).all()
