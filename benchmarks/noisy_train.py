"""Noise of test against train where so many train labels are wrong that predictions seem weak.

    python benchmarks/noisy_train.py

Digits: 1,200 train rows of which 35 or 45 % of the labels are wrong, 597 test rows; logistic regression on
raw pixels, out of fold on train, one of its models on test. Test labels are right, half as wrong or as wrong
as train's. Only draws count in which predictions agree with the test labels, as `find` asks for (kappa 0.65).
"""

from collections.abc import Iterator
from itertools import product

import numpy as np

from kiyome.noise import class_dependent_transition, inject_label_noise
from kiyome.noise.adaptive import fit_adaptive
from kiyome.noise.rate_difference import noise_rate_difference
from measured import show
from noise_sets import where_a_weak_model_doubts

DRAWS, TRAIN_ROWS, K, FOLDS = 15, 1200, 10, 5
KINDS = ("uniform", "by class", "by photo")


def wrong_labels(kind: str, rate: float, features: np.ndarray, truth: np.ndarray, rng: np.random.Generator):
    if kind == "by photo":
        return where_a_weak_model_doubts(features, truth, np.arange(len(truth)), rate, rng)
    uniform = np.full((K, K), rate / (K - 1)) + (1 - rate - rate / (K - 1)) * np.eye(K)
    T = uniform if kind == "uniform" else class_dependent_transition(K, rate, rng)
    return inject_label_noise(truth, T, rng)


def predictions(
    features: np.ndarray, labels: np.ndarray, others: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Out-of-fold predictions of the rows, and those of one of the models of the other rows."""
    from sklearn.linear_model import LogisticRegression

    folds, found = np.arange(len(labels)) % FOLDS, np.zeros((len(labels), K))
    for fold in range(FOLDS):
        inside = folds != fold
        model = LogisticRegression(max_iter=2000).fit(features[inside], labels[inside])
        found[~inside] = model.predict_proba(features[~inside])
    return found, model.predict_proba(others)


def report() -> Iterator[str]:
    """The lines to print."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    features, truth = digits.data / 16, digits.target.astype(int)
    yield f"{DRAWS} draws, {TRAIN_ROWS:,} train rows; differences in points, test less train"
    for kind, rate in product(KINDS, (0.35, 0.45)):
        rows: dict[str, list[tuple[float, ...]]] = {"clean": [], "half": [], "equal": []}
        for seed in range(DRAWS):
            rng = np.random.default_rng(seed)
            order = rng.permutation(len(truth))
            a, b = order[:TRAIN_ROWS], order[TRAIN_ROWS:]
            labels = wrong_labels(kind, rate, features, truth, rng)
            of_train, of_test = predictions(features[a], labels[a], features[b])
            train, half = fit_adaptive(labels[a], of_train), rng.random(len(b)) < 0.5
            worlds = {"clean": truth[b], "half": np.where(half, truth[b], labels[b]), "equal": labels[b]}
            for world, given in worlds.items():
                test = fit_adaptive(given, of_test)
                if train.model.statistics.is_weak and not test.model.statistics.is_weak:
                    true = (given != truth[b]).mean() - (labels[a] != truth[a]).mean()
                    found = noise_rate_difference(train, test, seed=seed)
                    rows[world].append((true, found.low, found.high))
        for world, told in rows.items():
            if told:
                true, low, high = np.array(told).T
                held = (low <= true) & (true <= high)
                yield (
                    f"{kind}, {rate:.0%}, test {world:5} told in {len(told)}: true {100 * true.mean():+.1f},"
                    f" at least {-100 * high.mean():.1f} cleaner; covered in {held.mean():.3f}, told to be"
                    f" cleaner in {(high < 0).mean():.3f}"
                )


if __name__ == "__main__":
    show(__file__, report(), "numpy", "scikit-learn")
