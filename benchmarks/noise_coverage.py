"""How often the noise rate's band holds the truth, over simulated noise and predictors of six kinds.

    python benchmarks/noise_coverage.py [DRAWS]

Each draw (30 a kind where not said) has its own classes, their sizes, how far apart they lie, and its own
transition: K 3, 5 or 10, N 2,000 or 5,000, a rate from 0.03 to 0.4. Noise by class goes to all classes, to
the next one, or to few (`class_dependent_transition`); the predictor is then the exact P(given | photo).
Noise by photo falls where a second, blurred look hesitates; the predictor is a cross-fitted logistic
regression on the given labels. Over- and under-confident: p ** 2 and p ** 0.5. Shares with Wilson's interval.
"""

import sys
from collections.abc import Iterator

import numpy as np

from kiyome.estimates import proportion
from kiyome.features import cross_fit_head
from kiyome.folds import assign_folds
from kiyome.noise import class_dependent_transition, inject_label_noise, noise_rate
from kiyome.noise.adaptive import fit_adaptive
from kiyome.noise.noise_rate import sampling_deviation
from measured import show

SEED = 2026
POWERS = {"calibrated": 1.0, "over-confident": 2.0, "under-confident": 0.5}
NUM_FEATURES = 12
BLUR = 0.7  # of the second look, in units of the distance between classes


def report(num_draws: int) -> Iterator[str]:
    """The lines to print."""
    rng = np.random.default_rng(SEED)
    for kind, simulate in (("by class", noise_by_class), ("by photo", noise_by_photo)):
        for name, power in POWERS.items():
            draws = np.array([one_draw(simulate, power, rng) for _ in range(num_draws)])
            yield from in_words(f"noise {kind}, {name}", draws)


def one_draw(simulate, power: float, rng: np.random.Generator) -> tuple[float, ...]:
    """Targets; value and ends of the band; ends by chance alone; value and ends of the confident joint."""
    true_labels, labels, probs = simulate(rng)
    probs = probs**power
    probs /= probs.sum(axis=1, keepdims=True)
    rate, theirs = noise_rate(labels, probs), noise_rate(labels, probs, method="confident_joint")
    chance = 1.96 * sampling_deviation(fit_adaptive(labels, probs))
    return (
        (labels != true_labels).mean(),
        *(rate.value, rate.low, rate.high),
        *(rate.value - chance, rate.value + chance),
        *(theirs.value, theirs.low, theirs.high),
    )


def noise_by_class(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    centers, true_labels, looks, rate, shares = classes(rng)
    K = len(centers)
    next_class = (1 - rate) * np.eye(K) + rate * np.roll(np.eye(K), 1, axis=1)
    uniform = np.full((K, K), rate / (K - 1)) + (1 - rate - rate / (K - 1)) * np.eye(K)
    by_class = class_dependent_transition(K, rate, rng, true_shares=shares)
    T = (next_class, uniform, by_class)[rng.integers(3)]
    return true_labels, inject_label_noise(true_labels, T, rng), posterior(looks, centers, shares) @ T


def noise_by_photo(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    centers, true_labels, looks, rate, shares = classes(rng)
    rows, spread = np.arange(len(looks)), BLUR * np.abs(centers).mean()
    blurred = looks + spread * rng.normal(size=looks.shape)
    doubt = posterior(blurred, centers, shares, spread)
    chances = 1 - doubt[rows, true_labels]
    doubt[rows, true_labels] = 0
    doubt += 1e-12  # where there is no doubt at all, any class will do
    steps = doubt.cumsum(axis=1)
    other = (steps < rng.random((len(rows), 1)) * steps[:, -1:]).sum(axis=1).clip(max=len(centers) - 1)
    wrong = rng.random(len(rows)) < np.minimum(chances * rate / chances.mean(), 0.9)
    labels = np.where(wrong & (other != true_labels), other, true_labels)
    probs = cross_fit_head(
        looks, labels, assign_folds(labels, num_folds=3), num_classes=len(centers)
    ).pred_probs
    return true_labels, labels, probs.astype(np.float64)


def classes(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, float, np.ndarray]:
    """Centers, true labels, what is seen of each row, a noise rate, and the classes' shares."""
    K, N = int(rng.choice([3, 5, 10])), int(rng.choice([2000, 5000]))
    centers = rng.normal(size=(K, NUM_FEATURES))
    pairs = K // 2
    centers[1 : 2 * pairs : 2] = centers[0 : 2 * pairs : 2] + 0.7 * rng.normal(size=(pairs, NUM_FEATURES))
    centers *= rng.uniform(0.9, 2.2)
    shares = rng.dirichlet(np.full(K, 5.0)).clip(min=0.02)
    shares /= shares.sum()
    true_labels = rng.choice(K, N, p=shares)
    looks = centers[true_labels] + rng.normal(size=(N, NUM_FEATURES))
    return centers, true_labels, looks, rng.uniform(0.03, 0.4), shares


def posterior(looks: np.ndarray, centers: np.ndarray, shares: np.ndarray, blur: float = 0.0) -> np.ndarray:
    """The exact P(true class | what is seen)."""
    squares = ((looks[:, np.newaxis] - centers) ** 2).sum(axis=2)
    logs = np.log(shares) - squares / 2 / (1 + blur**2)
    probs = np.exp(logs - logs.max(axis=1, keepdims=True))
    return probs / probs.sum(axis=1, keepdims=True)


def in_words(name: str, draws: np.ndarray) -> Iterator[str]:
    truth, value, low, high, chance_low, chance_high, theirs, their_low, their_high = draws.T
    yield f"{name}: n = {len(truth)} draws, truth {truth.mean():.3f} on average"
    yield f"  the band holds it in {held(truth, low, high)}; mean width {(high - low).mean():.3f}"
    yield f"  chance alone would in {held(truth, chance_low, chance_high)}"
    yield f"  the confident joint's interval in {held(truth, their_low, their_high)}"
    for whose, estimate in (("kiyome", value), ("confident joint", theirs)):
        error = estimate - truth
        yield f"  {whose}: bias {error.mean():+.3f}, mean absolute error {np.abs(error).mean():.3f}"


def held(truth: np.ndarray, low: np.ndarray, high: np.ndarray) -> str:
    return proportion(int(((low <= truth) & (truth <= high)).sum()), len(truth)).as_percent(0)


if __name__ == "__main__":
    show(__file__, report(int(sys.argv[1]) if len(sys.argv) > 1 else 30), "numpy", "scikit-learn")
