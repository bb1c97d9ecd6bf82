"""The confident joint's rate is near the truth under class-dependent noise; its interval keeps its word."""

from functools import partial

import numpy as np
import pytest

from kiyome.errors import InputError
from kiyome.noise import (
    NoiseRate,
    class_dependent_transition,
    confident_joint,
    inject_label_noise,
    noise_rate,
    simulate_pred_probs,
)

joint_rate = partial(noise_rate, method="confident_joint")


def noisy_set(N, K=4, rate=0.2, seed=0, accuracy=0.95):
    rng = np.random.default_rng(seed)
    true_labels = rng.integers(0, K, N)
    labels = inject_label_noise(true_labels, class_dependent_transition(K, rate, rng), rng)
    return true_labels, labels, simulate_pred_probs(true_labels, K, rng, accuracy=accuracy)


def test_value_is_the_off_diagonal_share():
    _, labels, probs = noisy_set(500)
    joint = confident_joint(labels, probs)
    rate = joint_rate(labels, probs)
    assert rate.value == (500 - joint.trace()) / 500
    assert 0 < rate.low < rate.value < rate.high < 1
    assert (rate.num_rows, rate.confidence) == (500, 0.95)
    assert 0 < rate.num_placed <= 500


@pytest.mark.parametrize("rate", [0.05, 0.2, 0.4])
def test_near_the_truth_under_class_dependent_noise(rate):
    true_labels, labels, probs = noisy_set(20_000, rate=rate, accuracy=0.99)
    assert joint_rate(labels, probs).value == pytest.approx((labels != true_labels).mean(), abs=0.01)


def test_a_weaker_model_counts_its_own_mistakes_too():
    true_labels, labels, probs = noisy_set(20_000, accuracy=0.8)
    assert joint_rate(labels, probs).low > (labels != true_labels).mean() + 0.02


def test_interval_narrows_with_rows_and_widens_with_confidence():
    _, labels, probs = noisy_set(8_000)
    few, many = joint_rate(labels[:500], probs[:500]), joint_rate(labels, probs)
    assert (few.high - few.low) / (many.high - many.low) == pytest.approx(4, rel=0.4)
    sure = joint_rate(labels, probs, confidence=0.999)
    assert sure.low < many.low < many.high < sure.high


def test_same_seed_same_interval():
    _, labels, probs = noisy_set(300)
    assert joint_rate(labels, probs) == joint_rate(labels, probs)
    assert joint_rate(labels, probs, seed=1) != joint_rate(labels, probs)


def test_beyond_the_rows_of_a_draw_the_interval_still_narrows():
    """Four copies of 15,000 rows: half the width, from draws of 50,000."""
    _, labels, probs = noisy_set(15_000)
    once, four = joint_rate(labels, probs), joint_rate(np.tile(labels, 4), np.tile(probs, (4, 1)))
    assert four.value == pytest.approx(once.value, abs=1e-4)
    assert (once.high - once.low) / (four.high - four.low) == pytest.approx(2, rel=0.2)


def test_no_row_against_its_label_gives_the_binomial_bound():
    """Of 100 rows none is wrong: at 95 % up to 1 - 0.05 ** (1 / 100) may be."""
    labels = np.arange(100) % 2
    rate = joint_rate(labels, np.eye(2)[labels])
    assert (rate.value, rate.low) == (0, 0)
    assert rate.high == pytest.approx(0.0295, abs=1e-4)


def test_absent_classes_and_single_rows():
    rate = joint_rate([2], [[0.2, 0.2, 0.6, 0.0]])
    assert (rate.value, rate.num_rows, rate.num_placed) == (0, 1, 1)
    assert isinstance(rate, NoiseRate)


@pytest.mark.parametrize("confidence", [0, 1, 95, np.nan])
def test_confidence_out_of_range(confidence):
    with pytest.raises(
        InputError,
        match=r"confidence=\S+ is no confidence level\. Expected a number above 0 and below 1\. Pass 0\.95",
    ):
        joint_rate([0, 1], np.eye(2), confidence=confidence)


@pytest.mark.slow
def test_coverage_of_the_estimate_that_all_rows_give():
    """500 samples of 1,000 rows out of 100,000: about 95 % of the intervals hold the whole set's estimate."""
    _, labels, probs = noisy_set(100_000)
    whole, rng = joint_rate(labels, probs).value, np.random.default_rng(1)
    samples = (rng.integers(0, 100_000, 1_000) for _ in range(500))
    rates = [joint_rate(labels[rows], probs[rows]) for rows in samples]
    assert 0.92 <= np.mean([rate.low <= whole <= rate.high for rate in rates]) <= 0.98
