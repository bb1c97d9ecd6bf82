"""How many labels are wrong in train and in test, and whether the stated difference is right.

    python benchmarks/splits_noise.py [FOLDER]

FOLDER holds cifar10n_out_of_fold.npz (CIFAR-10N, CC BY-NC 4.0), cifar10_test_logits_8models.npz
(jcpeterson/cifar10-human-experiments) and cifar10_test_humans.npz (CIFAR-10H, CC BY-NC-SA 4.0).

Train: CIFAR-10N's majority labels and out-of-fold predictions of one of three networks. Each of 200 draws
takes a network, 10,000 train rows and 5,000 other rows as test; the truth is how often labels are not those
of CIFAR-10.

    cleaner     test rows of the same kind, predicted by the same network; half of their wrong labels, drawn
                at random, are right
    equal       the same, with the labels as they are
    votes       CIFAR-10's own test photos, one person's vote a photo as its label, and one of eight other
                networks: a predictor of its own, which `find` does not have

    stated      `noise_rate_difference`, as `find` states it: test less train
    audited     `audited_accuracy` of 200 rows of each split, the truth as answers, and their difference
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from honest_score import eight, one_vote
from kiyome.estimates import Estimate, difference_of_proportions
from kiyome.evaluation.audit import audited_accuracy
from kiyome.evaluation.audit_design import draw_audit
from kiyome.noise.adaptive import fit_adaptive
from kiyome.noise.rate_difference import RateDifference, noise_rate_difference
from measured import SHARED_DATA, show
from noise_sets import human_sets

DRAWS, TRAIN_ROWS, TEST_ROWS, CHECKED = 200, 10_000, 5_000, 200


def stated(first: tuple, second: tuple, seed: int) -> RateDifference:
    fits = [fit_adaptive(labels, probs) for labels, _, probs in (first, second)]
    return noise_rate_difference(*fits, seed=seed)


def audited(first: tuple, second: tuple, seed: int) -> Estimate:
    rates = [audited_rate(*each, seed + 1000 * k) for k, each in enumerate((first, second))]
    return difference_of_proportions(rates[1], rates[0])


def audited_rate(labels: np.ndarray, truth: np.ndarray, probs: np.ndarray, seed: int) -> Estimate:
    design = draw_audit(labels, probs, CHECKED, seed=seed)
    predicted = probs.argmax(axis=1)
    score = audited_accuracy(design, truth[design.rows], labels, predicted, num_classes=probs.shape[1])
    return score.labels.noise_rate


def report(folder: Path) -> Iterator[str]:
    """The lines to print."""
    train = list(human_sets(folder))
    truth, votes, logits = eight(folder)
    test = {name: np.exp(each - each.max(axis=1, keepdims=True)) for name, each in logits.items()}
    test = {name: each / each.sum(axis=1, keepdims=True) for name, each in test.items()}
    rows = {(world, how): [] for world in ("cleaner", "equal", "votes") for how in ("stated", "audited")}
    for seed in range(DRAWS):
        rng = np.random.default_rng(seed)
        one = train[rng.integers(len(train))]
        chosen = rng.choice(len(one.labels), size=TRAIN_ROWS + TEST_ROWS, replace=False)
        here, there = (
            (one.labels[part], one.true_labels[part], one.pred_probs[part].astype(np.float64))
            for part in (chosen[:TRAIN_ROWS], chosen[TRAIN_ROWS:])
        )
        corrected = np.where(rng.random(TEST_ROWS) < 0.5, there[1], there[0])
        part = rng.choice(len(truth), size=TEST_ROWS, replace=False)
        other = one_vote(votes[part], rng), truth[part], test[list(test)[rng.integers(len(test))]][part]
        worlds = {"cleaner": (corrected, *there[1:]), "equal": there, "votes": other}
        for world, second in worlds.items():
            true = [float((each[0] != each[1]).mean()) for each in (here, second)]
            for how, measure in (("stated", stated), ("audited", audited)):
                rows[world, how].append((*true, measure(here, second, seed)))
    yield f"{DRAWS} draws, {TRAIN_ROWS:,} train rows, {TEST_ROWS:,} test rows, {CHECKED} checked of each"
    for (world, how), found in rows.items():
        yield f"{world:8} {how:8} {summary(found)}"


def summary(found: list) -> str:
    """Coverage, bias and width of the differences, in points."""
    true = np.array([second - first for first, second, _ in found])
    differences = [each[-1] for each in found]
    inside = [each.low <= value <= each.high for each, value in zip(differences, true, strict=True)]
    values = 100 * np.array([each.value for each in differences])
    errors = values - 100 * true
    rates = [100 * np.mean([row[k] for row in found]) for k in range(2)]
    return (
        f"wrong {rates[0]:.1f} and {rates[1]:.1f} %; difference {100 * true.mean():+.2f} points, stated"
        f" {values.mean():+.2f} (error {errors.mean():+.2f}, spread {errors.std(ddof=1):.2f}); covered in"
        f" {np.mean(inside):.3f}, width {100 * np.mean([each.high - each.low for each in differences]):.1f};"
        f" test is cleaner in {np.mean([each.high < 0 for each in differences]):.3f}, less clean in"
        f" {np.mean([each.low > 0 for each in differences]):.3f}"
    )


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else SHARED_DATA / "cifar10"
    show(__file__, report(folder), "numpy", "scipy")
