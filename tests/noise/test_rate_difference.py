"""The difference of two noise rates by one predictor: its range holds the truth."""

import numpy as np
import pytest

from kiyome.noise import inject_label_noise, simulate_pred_probs
from kiyome.noise.adaptive import fit_adaptive
from kiyome.noise.rate_difference import noise_rate_difference


def fit_of(rate: float, num_rows: int, seed: int):
    rng = np.random.default_rng(seed)
    true = np.arange(num_rows) % 4
    labels = inject_label_noise(true, np.full((4, 4), rate / 3) + (1 - 4 * rate / 3) * np.eye(4), rng)
    return fit_adaptive(labels, simulate_pred_probs(true, 4, rng)), (labels != true).mean()


@pytest.mark.parametrize(
    ("train", "test", "sign"), [(0.15, 0.05, -1), (0.05, 0.15, 1), (0.1, 0.1, 0), (0.45, 0.1, -1)]
)
def test_the_range_holds_the_difference(train, test, sign):
    held = []
    for seed in range(10):
        (first, rate), (second, other) = fit_of(train, 3000, seed), fit_of(test, 1500, 100 + seed)
        found = noise_rate_difference(first, second, seed=seed)
        held.append(found.low <= other - rate <= found.high)
        assert found.low <= found.value <= found.high
        assert not found.is_certain or np.sign(found.value) == sign
        assert found.is_certain or sign == 0
    assert sum(held) >= 9
