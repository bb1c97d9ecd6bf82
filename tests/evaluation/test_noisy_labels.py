"""Accuracy under noise: by enumeration, by simulation where the assumption holds, and where it fails."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kiyome.errors import InputError
from kiyome.estimates import Estimate
from kiyome.evaluation.compare import difference_under_noise, shrinkage
from kiyome.evaluation.noisy_labels import (
    Rate,
    accuracy_under_noise,
    bounds_without_assumption,
    matrix_with_noise_rate,
)
from kiyome.noise import class_dependent_transition, inject_label_noise, simulate_pred_probs

seeds = st.integers(0, 10_000)


def exactly(value: float) -> tuple[Estimate, Rate]:
    return Estimate(value=value, low=value, high=value, num_rows=1), Rate(
        value=value, low=value, high=value, source=""
    )


def one_hot(choice: np.ndarray, num_classes: int) -> np.ndarray:
    return np.full((len(choice), num_classes), 0.02) + (1 - 0.02 * num_classes) * np.eye(num_classes)[choice]


@given(seeds, st.integers(2, 5))
@settings(derandomize=True, deadline=None)
def test_the_truth_lies_in_the_bounds_of_any_mistakes(seed: int, K: int) -> None:
    rng = np.random.default_rng(seed)
    y, s, h = rng.integers(K, size=(3, 30))
    s, h = np.where(rng.random(30) < 0.6, y, s), np.where(rng.random(30) < 0.5, y, h)
    found = bounds_without_assumption(exactly((h == s).mean())[0], exactly((s != y).mean())[1])
    assert found.low - 1e-9 <= (h == y).mean() <= found.high + 1e-9


def test_the_bounds_are_reached() -> None:
    y, wrong, disagreeing = np.zeros(100, int), np.arange(100) < 10, np.arange(100) < 25
    s = np.where(wrong, 1, y)
    never, always = np.where(disagreeing, 2, s), np.where(wrong, s, y)
    never = np.where(wrong, y, never)  # right on every wrong label, so it meets 75 of 100 labels
    top = bounds_without_assumption(exactly((never == s).mean())[0], exactly(0.1)[1]).high
    assert (never == y).mean() == pytest.approx(top)
    least = bounds_without_assumption(exactly((always == s).mean())[0], exactly(0.1)[1]).low
    assert (always == y).mean() == pytest.approx(least)


@given(seeds, st.integers(2, 6), st.floats(0.01, 0.3), st.floats(0.01, 0.3))
@settings(derandomize=True, deadline=None)
def test_a_matrix_is_brought_to_a_rate(seed: int, K: int, rate: float, wanted: float) -> None:
    T = class_dependent_transition(K, rate, np.random.default_rng(seed))
    scaled = matrix_with_noise_rate(T, np.full(K, 1 / K), wanted)
    np.testing.assert_allclose(scaled.sum(axis=1), 1)
    assert (scaled >= 0).all()
    if ((1 - np.diag(T)) * wanted / rate <= 1).all():
        assert 1 - np.trace(scaled) / K == pytest.approx(wanted)


def test_the_estimate_covers_where_errors_are_apart_and_the_matrix_is_known() -> None:
    rng, covered, values = np.random.default_rng(0), [], []
    shares = np.array([0.5, 0.3, 0.15, 0.05])
    T = class_dependent_transition(4, 0.2, rng, true_shares=shares)
    for seed in range(100):
        y = rng.choice(4, p=shares, size=800)
        h = np.where(rng.random(800) < 0.85, y, (y + rng.integers(1, 4, size=800)) % 4)
        found = accuracy_under_noise(
            inject_label_noise(y, T, rng), one_hot(h, 4), transition_matrix=T, seed=seed
        ).estimated_true_accuracy
        values.append(found.value)
        covered.append(found.low <= 0.85 <= found.high)
    assert np.mean(covered) >= 0.88
    assert np.mean(values) == pytest.approx(0.85, abs=0.007)


def test_the_curve_runs_from_errors_apart_to_all_mistakes_repeated() -> None:
    rng, T = np.random.default_rng(1), np.full((3, 3), 0.1) + 0.7 * np.eye(3)
    y = np.arange(6000) % 3
    s = inject_label_noise(y, T, rng)
    h = np.where(rng.random(6000) < 0.9, y, (y + 1) % 3)
    copies = np.where((s != y) & (rng.random(6000) < 0.3), s, h)
    apart = accuracy_under_noise(s, one_hot(h, 3), transition_matrix=T)
    values = [point.true_accuracy.value for point in apart.sensitivity]
    assert values[0] == apart.estimated_true_accuracy.value == pytest.approx((h == y).mean(), abs=0.02)
    assert values[-1] == pytest.approx(apart.accuracy_on_given.value - apart.noise_rate.value, abs=1e-9)
    assert values == sorted(values, reverse=True)
    # a model that repeats mistakes is right where the curve says, not where errors apart would have it
    copied = accuracy_under_noise(s, one_hot(copies, 3), transition_matrix=T)
    at = {point.repeats: point.true_accuracy.value for point in copied.sensitivity}
    assert at[0.3] == pytest.approx((copies == y).mean(), abs=0.02)
    assert at[0.0] > (copies == y).mean() + 0.04
    assert copied.bounds.low <= (copies == y).mean() <= copied.bounds.high


def test_a_score_above_what_errors_apart_allow_is_told() -> None:
    y, T = np.arange(4000) % 4, np.full((4, 4), 0.1) + 0.6 * np.eye(4)
    s = inject_label_noise(y, T, np.random.default_rng(2))
    found = accuracy_under_noise(s, one_hot(s, 4), transition_matrix=T)
    assert found.errs_together
    assert found.estimated_true_accuracy.value == 1
    assert "the model repeats some of the mistakes" in found.describe()[-1]
    assert found.bounds.low == pytest.approx((s == y).mean(), abs=0.02)  # the matrix says 0.7, chance 0.691


def test_a_measured_rate_takes_the_place_of_the_estimate_and_widens_by_its_interval() -> None:
    rng = np.random.default_rng(3)
    y = np.arange(3000) % 3
    s = inject_label_noise(y, np.full((3, 3), 0.05) + 0.85 * np.eye(3), rng)
    probs = simulate_pred_probs(y, 3, rng, accuracy=0.93)
    sure, unsure = (
        accuracy_under_noise(s, probs, measured=Estimate(value=0.1, low=0.1 - d, high=0.1 + d, num_rows=500))
        for d in (0.001, 0.05)
    )
    assert sure.noise_rate.value == 0.1
    assert sure.ceiling.value == pytest.approx(0.9)
    assert sure.estimated_true_accuracy.value == pytest.approx(0.93, abs=0.02)
    widths = [each.estimated_true_accuracy.high - each.estimated_true_accuracy.low for each in (sure, unsure)]
    assert widths[1] > 1.5 * widths[0]
    assert "measured (n = 500)" in sure.describe()[1]


def test_groups_that_err_together_widen_the_interval() -> None:
    rng, T = np.random.default_rng(4), np.full((3, 3), 0.1) + 0.7 * np.eye(3)
    y = np.arange(300) % 3
    s, h = inject_label_noise(y, T, rng).repeat(5), np.where(rng.random(300) < 0.8, y, 0).repeat(5)
    options = {"transition_matrix": T}
    alone = accuracy_under_noise(s, one_hot(h, 3), **options).estimated_true_accuracy
    grouped = accuracy_under_noise(
        s, one_hot(h, 3), groups=np.arange(1500) // 5, **options
    ).estimated_true_accuracy
    assert 1.6 < (grouped.high - grouped.low) / (alone.high - alone.low) < 2.9


@given(seeds, st.integers(2, 4))
@settings(derandomize=True, deadline=None)
def test_a_true_difference_lies_in_its_bounds(seed: int, K: int) -> None:
    rng = np.random.default_rng(seed)
    y, s, one, two = rng.integers(K, size=(4, 60))
    s = np.where(rng.random(60) < 0.7, y, s)
    e = (s != y).mean()
    # a matrix under which the given labels have exactly this share of wrong ones
    T = (1 - e) * np.eye(K) + e / (K - 1) * (1 - np.eye(K))
    if (np.bincount(s, minlength=K) / 60 @ np.linalg.pinv(T) < 0).any() or e * K / (K - 1) > 0.9:
        return
    found = difference_under_noise(s, one, two, transition_matrix=T)
    assert found.bounds.low - 1e-9 <= (one == y).mean() - (two == y).mean() <= found.bounds.high + 1e-9


def test_noise_shrinks_a_difference_as_said_and_the_estimate_undoes_it() -> None:
    rng, K = np.random.default_rng(5), 5
    T = np.full((K, K), 0.05) + 0.75 * np.eye(K)
    y = rng.integers(K, size=200_000)
    s = inject_label_noise(y, T, rng)
    one, two = (np.where(rng.random(len(y)) < right, y, (y + 1) % K) for right in (0.9, 0.8))
    found = difference_under_noise(s, one, two, transition_matrix=T)
    assert found.shrinkage == pytest.approx(shrinkage(0.2, K), abs=0.002) == pytest.approx(0.75, abs=0.002)
    assert found.on_given.value / 0.1 == pytest.approx(found.shrinkage, abs=0.03)
    assert found.estimated_true_difference.low <= 0.1 <= found.estimated_true_difference.high


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"transition_matrix": np.full((2, 2), 0.4)}, "whose rows sum to one"),
        ({"transition_matrix": np.eye(3)}, "has shape .3, 3. and row sums"),
        ({"confidence": 95}, "confidence=95 is no confidence level"),
        ({"transition_matrix": np.eye(2), "measured": exactly(0.1)[0]}, "Both .* are given"),
    ],
)
def test_bad_input_is_told(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        accuracy_under_noise([0, 1], [[0.9, 0.1], [0.2, 0.8]], **options)


def test_the_plausible_range_widens_with_what_the_rate_leaves_open_even_where_noise_is_strong() -> None:
    rng, K = np.random.default_rng(6), 10
    y = rng.integers(K, size=2000)
    T = class_dependent_transition(K, 0.4, rng, concentration=0.2)
    probs = simulate_pred_probs(y, K, rng, accuracy=0.75)
    labels = inject_label_noise(y, T, rng)
    ranges = [
        accuracy_under_noise(
            labels, probs, measured=Estimate(value=0.4, low=0.4 - d, high=0.4 + d, num_rows=99)
        ).plausible
        for d in (0.01, 0.1, 0.25)
    ]
    assert ranges[0].low > ranges[1].low > ranges[2].low
    assert ranges[0].high <= ranges[1].high <= ranges[2].high
    assert all(each.low < 0.75 < each.high for each in ranges)
