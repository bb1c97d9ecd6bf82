"""The adaptive rate and its band, against simulated truth."""

import numpy as np
import pytest

from kiyome.errors import InputError
from kiyome.noise import (
    class_dependent_transition,
    find_label_issues,
    inject_label_noise,
    label_issue_probability,
    noise_rate,
    simulate_pred_probs,
)
from kiyome.noise.adaptive import fit_adaptive
from kiyome.noise.noise_rate import adaptive_noise_rate


def noisy_set(N=3000, K=4, rate=0.2, seed=0, accuracy=0.95, temperature=1.0):
    rng = np.random.default_rng(seed)
    true_labels = rng.integers(0, K, N)
    labels = inject_label_noise(true_labels, class_dependent_transition(K, rate, rng), rng)
    probs = simulate_pred_probs(true_labels, K, rng, accuracy=accuracy, temperature=temperature)
    return (labels != true_labels).mean(), labels, probs


def test_the_band_holds_the_truth():
    """In 23 of 24 settings of class-dependent noise; the value is within 0.05, or 2/5 of a high truth."""
    held = []
    for seed in range(24):
        rate, K = (0.03, 0.1, 0.2, 0.35)[seed % 4], (2, 5, 10)[seed % 3]
        temperature = (0.5, 1.0, 2.0)[seed // 8]
        truth, labels, probs = noisy_set(rate=rate, K=K, temperature=temperature, seed=seed)
        estimate = noise_rate(labels, probs)
        held.append(estimate.low <= truth <= estimate.high)
        assert estimate.value == pytest.approx(truth, abs=0.05, rel=0.4)
        assert estimate.low <= estimate.value <= estimate.high
    assert sum(held) >= 23


def test_the_value_is_the_mean_chance_of_all_rows():
    _, labels, probs = noisy_set()
    rate = noise_rate(labels, probs)
    assert rate.value == pytest.approx(label_issue_probability(labels, probs).mean(), abs=0.005)
    assert (rate.num_rows, rate.num_placed, rate.confidence) == (3000, 3000, 0.95)
    assert "no confidence interval" in rate.method


def test_beyond_the_sample_it_rests_on_ten_thousand_rows():
    truth, labels, probs = noisy_set(N=25_000)
    rate = noise_rate(labels, probs)
    assert (rate.num_rows, rate.num_placed) == (25_000, 10_000)
    assert rate.low < truth < rate.high


def test_same_seed_same_band_and_confidence_widens_it():
    _, labels, probs = noisy_set(500)
    rate = noise_rate(labels, probs)
    assert rate == noise_rate(labels, probs)
    other, sure = noise_rate(labels, probs, seed=1), noise_rate(labels, probs, confidence=0.999)
    assert other.value == rate.value
    assert other.low != rate.low
    assert sure.low < rate.low
    assert sure.high > rate.high


def test_no_row_against_its_label_leaves_the_binomial_bound_open():
    labels = np.arange(100) % 2
    rate = noise_rate(labels, np.eye(2)[labels])
    assert rate.value == pytest.approx(0, abs=1e-6)
    assert rate.low == 0
    assert rate.high == pytest.approx(1 - 0.05**0.01, abs=1e-6)


@pytest.mark.parametrize("K", [2, 10])
def test_a_band_begins_at_zero_where_doubt_hides_errors(K):
    """Of 36 such sets with 2 % wrong labels, seven had the truth below the band."""
    truth, labels, probs = noisy_set(rate=0.02, K=K, accuracy=0.7)
    rate = noise_rate(labels, probs)
    assert rate.low == 0 < truth < rate.high
    assert "cannot tell doubt from errors" in rate.method
    _, labels, probs = noisy_set(rate=0.1, K=K, accuracy=0.99)
    rate = noise_rate(labels, probs)
    assert rate.low > 0
    assert "doubt from errors" not in rate.method


def test_an_unknown_method_lists_the_known():
    with pytest.raises(
        InputError, match=r"The method 'joint' is unknown. Expected one of adaptive, confident_joint"
    ):
        noise_rate([0, 1], np.eye(2), method="joint")


def test_mistakes_that_the_predictor_shares_stay_hidden():
    """What the page says it cannot do: labels drawn from the predictor's own doubt look right."""
    rng = np.random.default_rng(0)
    true_labels = rng.integers(0, 5, 5000)
    probs = simulate_pred_probs(true_labels, 5, rng, accuracy=0.8)
    shared = probs.argmax(axis=1)
    rate = noise_rate(shared, probs)
    assert (shared != true_labels).mean() > 0.15
    assert rate.high < 0.01
    assert not find_label_issues(shared, probs).any()


@pytest.mark.parametrize("seed", range(5))
def test_a_model_of_other_rows_states_less_where_its_predictor_does_not_fit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = np.arange(3120) % 4
    probs = simulate_pred_probs(truth, 4, rng, accuracy=0.95).astype(np.float32)
    blurred = probs[rng.permutation(3000)[:120]]  # half of the few rows are predicted by chance
    probs[3000:][np.arange(120) % 2 == 0] = blurred[np.arange(120) % 2 == 0]
    labels = inject_label_noise(truth, np.full((4, 4), 0.1 / 3) + (0.9 - 0.1 / 3) * np.eye(4), rng)
    model = fit_adaptive(labels[:3000], probs[:3000]).model
    alike = fit_adaptive(labels[2880:3000], probs[2880:3000], model=model)
    assert alike.model is model
    few = fit_adaptive(labels[3000:], probs[3000:], model=model)
    assert few.model.statistics.is_weak
    assert not model.statistics.is_weak
    rate = adaptive_noise_rate(few, seed=0)
    assert rate.low <= (labels != truth)[3000:].mean() <= rate.high
