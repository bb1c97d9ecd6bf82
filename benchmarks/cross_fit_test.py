"""Who judges the labels of a test set best: heads of train, heads cross-fitted inside test, or both blended.

    python benchmarks/cross_fit_test.py [FOLDER [FEATURES]]

Each world has train and test rows, with wrong labels of its own in each; truth is known and not used. For
the test labels: average precision of the suspicion, log loss of the probability of a wrong label, and the
stated share of wrong labels. The mean is the geometric one, as in `find --cross-fit test`; the blend weighs
heads by the log loss of held-out test labels. Features are pixels for digits, else those of lite0, which the
folder FEATURES keeps as in shift.py. FOLDER holds mango_leaf, and cifar10 with its human labels.

    vote       CIFAR-10, train: majority of three people; test: one person's vote
    habit      test labels of a third of class k are k + 1; 10 % of train labels are wrong at random
    random     10 % wrong at random in train and in test
    shifted    as random; test is the other writers of digits, a block of leaves by name
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from honest_score import one_vote
from kiyome.ensemble.selection import pool, select_members
from kiyome.features import cross_fit_head
from kiyome.folds import assign_folds
from kiyome.noise.adaptive import adaptive_quality, fit_adaptive
from measured import SHARED_DATA, show
from shift import Source, cifar_features, digits_pixels, mango_leaves

SEEDS, NUM_CIFAR = 3, 5_000
JUDGES = ("train", "test", "mean", "blend")


def random_labels(truth: np.ndarray, num_classes: int, rng: np.random.Generator) -> np.ndarray:
    """A tenth of the labels, each another class at random."""
    moved = (truth + rng.integers(1, num_classes, len(truth))) % num_classes
    return np.where(rng.random(len(truth)) < 0.1, moved, truth)


def habit_labels(truth: np.ndarray, num_classes: int, rng: np.random.Generator) -> np.ndarray:
    """A third of the labels of every other class is the next class."""
    wrong = (truth % 2 == 0) & (rng.random(len(truth)) < 1 / 3)
    return np.where(wrong, (truth + 1) % num_classes, truth)


def average_precision(wrong: np.ndarray, suspicion: np.ndarray) -> float:
    """Mean precision at each wrong row."""
    hits = wrong[np.argsort(-suspicion, kind="stable")]
    return float((np.cumsum(hits) / np.arange(1, len(hits) + 1))[hits].mean())


def judged(
    features: np.ndarray, groups: np.ndarray, train: tuple, test: tuple, num_classes: int
) -> tuple[dict[str, np.ndarray], float]:
    """Predictions (n, K) of the test rows by each judge, and the weight of the heads of test."""
    (rows, labels), (test_rows, test_labels) = train, test
    together = np.concatenate([rows, test_rows])
    folds = assign_folds(labels, groups=groups[rows])
    outside = np.full(len(test_rows), -1)
    given = {"num_classes": num_classes}
    both = cross_fit_head(
        features[together], np.concatenate([labels, outside]), np.concatenate([folds, outside]), **given
    )
    inside = assign_folds(test_labels, groups=groups[test_rows], allow_rare=True)
    own = cross_fit_head(features[test_rows], test_labels, inside, **given)
    by_train = both.pred_probs[len(rows) :]
    chosen = select_members(test_labels, [by_train, own.pred_probs], inside, groups=groups[test_rows])
    mean = pool(np.stack([by_train, own.pred_probs]), np.array([0.5, 0.5]))
    by = {"train": by_train, "test": own.pred_probs, "mean": mean, "blend": chosen.pred_probs}
    return by, float(chosen.weights[1])


def world(name: str, source, sizes: tuple[int, int], make, *, split=None) -> str:
    """One line: each judge's figures, mean over seeds."""
    found = {judge: [] for judge in JUDGES}
    weights = []
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        if split is None:
            order = rng.permutation(len(source.labels))
            parts = order[: sizes[0]], order[-sizes[1] :]
        else:
            parts = tuple(rng.permutation(part)[:size] for part, size in zip(split, sizes, strict=True))
        truth = [source.labels[part] for part in parts]
        labels = make(parts, truth, source.num_classes, rng)
        probs, weight = judged(
            source.features, source.groups, *zip(parts, labels, strict=True), source.num_classes
        )
        weights.append(weight)
        wrong = labels[1] != truth[1]
        for judge in JUDGES:
            fit = fit_adaptive(labels[1], probs[judge].astype(np.float64))
            chance = np.clip(fit.probability, 1e-7, 1 - 1e-7)
            loss = -np.where(wrong, np.log(chance), np.log1p(-chance)).mean()
            found[judge].append(
                (
                    average_precision(wrong, 1 - adaptive_quality(fit)),
                    loss,
                    100 * chance.mean(),
                    100 * wrong.mean(),
                )
            )
    means = {judge: np.mean(rows, axis=0) for judge, rows in found.items()}
    spread = np.std([b[0] - a[0] for a, b in zip(found["train"], found["mean"], strict=True)], ddof=1)
    cells = "; ".join(f"{judge} {m[0]:.3f}, {m[1]:.3f}, {m[2]:.1f} %" for judge, m in means.items())
    return (
        f"{name} ({sizes[0]:,} + {sizes[1]:,}, {means['train'][3]:.1f} % wrong): {cells}; weight"
        f" {np.mean(weights):.2f}, spread of mean - train {spread:.3f}"
    )


def same(kind):
    """Random noise in train, this kind in test."""
    return lambda _, truth, K, rng: (random_labels(truth[0], K, rng), kind(truth[1], K, rng))


def report(data: Path, kept: Path) -> Iterator[str]:
    """The lines to print."""
    digits, mango = digits_pixels(), mango_leaves(data, kept)
    yield f"AP, log loss, stated share of wrong labels; mean of {SEEDS} seeds"
    yield world("digits, random", digits, (900, 897), same(random_labels))
    yield world("digits, habit", digits, (900, 897), same(habit_labels))
    yield world("digits, few train, habit", digits, (200, 1200), same(habit_labels))
    writers = np.split(np.arange(1797), [898])
    yield world("digits, shifted", digits, (898, 899), same(random_labels), split=writers)
    yield world("mango, random", mango, (1200, 800), same(random_labels))
    yield world("mango, habit", mango, (1200, 800), same(habit_labels))
    yield from of_cifar10(data, kept)


def of_cifar10(data: Path, kept: Path) -> Iterator[str]:
    """Train rows with people's majority, test rows with one person's vote."""
    with np.load(data / "cifar10/cifar10_jpeg.npz") as stored:
        labels = np.concatenate([stored["train_label"][:NUM_CIFAR], stored["test_label"][:NUM_CIFAR]])
    features = [cifar_features(data, kept, part)[:NUM_CIFAR] for part in ("train", "test")]
    source = Source(np.concatenate(features), labels)
    with np.load(data / "cifar10/cifar10n_labels.npz") as stored:
        majority = stored["aggre_label"].astype(np.int64)
    with np.load(data / "cifar10/cifar10_test_humans.npz") as stored:
        votes = stored["cifar10h_counts"]
    split = np.split(np.arange(2 * NUM_CIFAR), 2)

    def people(parts, _, __, rng):
        return majority[parts[0]], one_vote(votes[parts[1] - NUM_CIFAR], rng)

    yield world("CIFAR-10, vote", source, (3000, 1500), people, split=split)


if __name__ == "__main__":
    data = Path(sys.argv[1]) if len(sys.argv) > 1 else SHARED_DATA
    kept = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(tempfile.mkdtemp())
    show(__file__, report(data, kept), "numpy", "scipy")
