"""How many labels are wrong in train and in test, and whether the stated difference is right.

    python benchmarks/splits_noise.py [FOLDER]

FOLDER holds cifar10n_out_of_fold.npz (CIFAR-10N, CC BY-NC 4.0), cifar10_test_logits_8models.npz
(jcpeterson/cifar10-human-experiments) and cifar10_test_humans.npz (CIFAR-10H, CC BY-NC-SA 4.0).

Train: CIFAR-10N's majority labels and out-of-fold predictions of one of three networks. Test: CIFAR-10's
test photos, one person's vote a photo as its label, and one of eight networks. Each of 200 draws takes two
networks, 10,000 train rows, 5,000 test rows and new votes; the truth is how often labels differ from
CIFAR-10's.

    estimated    `noise_rate` of each split, `difference_of_proportions` of the two bands
    audited      `audited_accuracy` of 200 rows of each split, the truth as answers, and their difference
    equal        both halves of the train rows, where the difference is near zero
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from honest_score import eight, one_vote
from kiyome.estimates import Estimate, difference_of_proportions
from kiyome.evaluation.audit import audited_accuracy
from kiyome.evaluation.audit_design import draw_audit
from kiyome.noise import noise_rate
from measured import SHARED_DATA, show
from noise_sets import human_sets

DRAWS, TRAIN_ROWS, TEST_ROWS, CHECKED = 200, 10_000, 5_000, 200


def estimated(labels: np.ndarray, _truth: np.ndarray, probs: np.ndarray, _seed: int) -> Estimate:
    found = noise_rate(labels, probs)
    return Estimate(value=found.value, low=found.low, high=found.high, num_rows=len(labels))


def audited(labels: np.ndarray, truth: np.ndarray, probs: np.ndarray, seed: int) -> Estimate:
    design = draw_audit(labels, probs, CHECKED, seed=seed)
    score = audited_accuracy(
        design, truth[design.rows], labels, probs.argmax(axis=1), num_classes=probs.shape[1]
    )
    return score.noise_rate


def report(folder: Path) -> Iterator[str]:
    """The lines to print."""
    train = list(human_sets(folder))
    truth, votes, logits = eight(folder)
    test = {name: np.exp(each - each.max(axis=1, keepdims=True)) for name, each in logits.items()}
    test = {name: each / each.sum(axis=1, keepdims=True) for name, each in test.items()}
    rows = {"estimated": [], "audited": [], "estimated, equal": [], "audited, equal": []}
    for seed in range(DRAWS):
        rng = np.random.default_rng(seed)
        one = train[rng.integers(len(train))]
        chosen = rng.choice(len(one.labels), size=2 * TRAIN_ROWS, replace=False)
        here, there = (
            (one.labels[part], one.true_labels[part], one.pred_probs[part].astype(np.float64))
            for part in (chosen[:TRAIN_ROWS], chosen[TRAIN_ROWS:])
        )
        part = rng.choice(len(truth), size=TEST_ROWS, replace=False)
        other = one_vote(votes[part], rng), truth[part], test[list(test)[rng.integers(len(test))]][part]
        for how, measure in (("estimated", estimated), ("audited", audited)):
            first = measure(*here, seed)
            for name, split in ((how, other), (f"{how}, equal", there)):
                true = [float((each[0] != each[1]).mean()) for each in (here, split)]
                second = measure(*split, seed + DRAWS)
                rows[name].append((*true, first, second, difference_of_proportions(first, second)))
    yield f"{DRAWS} draws, {TRAIN_ROWS:,} train rows, {TEST_ROWS:,} test rows, {CHECKED} checked of each"
    for name, found in rows.items():
        yield f"{name}: {summary(found)}"


def summary(found: list) -> str:
    """Coverage, bias and width of the differences, in points."""
    true = np.array([first - second for first, second, *_ in found])
    stated = [each[-1] for each in found]
    inside = [each.low <= value <= each.high for each, value in zip(stated, true, strict=True)]
    each_split = [np.mean([row[2 + k].low <= row[k] <= row[2 + k].high for row in found]) for k in range(2)]
    errors = 100 * (np.array([each.value for each in stated]) - true)
    cleaner = [each.low > 0 for each in stated]
    dirtier = [each.high < 0 for each in stated]
    rates = [100 * np.mean([row[k] for row in found]) for k in range(2)]
    values = [100 * np.mean([row[2 + k].value for row in found]) for k in range(2)]
    return (
        f"wrong {rates[0]:.1f} and {rates[1]:.1f} %, stated {values[0]:.1f} and {values[1]:.1f} %; difference"
        f" {100 * true.mean():+.2f} points, stated {100 * true.mean() + errors.mean():+.2f}"
        f" (error {errors.mean():+.2f}, spread {errors.std(ddof=1):.2f}); covered in {np.mean(inside):.3f}"
        f" (the splits' own {each_split[0]:.3f}, {each_split[1]:.3f}), width"
        f" {100 * np.mean([each.high - each.low for each in stated]):.1f}; says that the second is cleaner in"
        f" {np.mean(cleaner):.3f}, dirtier in {np.mean(dirtier):.3f}"
    )


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else SHARED_DATA / "cifar10"
    show(__file__, report(folder), "numpy", "scipy")
