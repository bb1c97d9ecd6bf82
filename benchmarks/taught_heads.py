"""What heads learn from tables that `curate` made: accuracy and log loss on new photos with true labels.

    python benchmarks/taught_heads.py WORK [--seeds 1 2 3] [--sets NAME ...]

Heads are fitted on 2,000 photos and predict 2,000 others, from the features of benchmarks/heads.py (WORK
may be the same). Flags, chances of being wrong and predictions out of fold are of the heads on given
labels, as in `kiyome find`. `drop`, `weight` and `soften` are what `kiyome curate` does to flagged rows;
softened labels reach the heads as by `kiyome find --soft-labels`.
"""

import argparse
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

import kiyome
from heads import SETS
from kiyome.artifacts.predictions import floored_log
from kiyome.features import cross_fit_head
from kiyome.folds import assign_folds
from measured import show

NUM_PHOTOS = 2000


def report(work: Path, seeds: list[int], names: list[str]) -> Iterator[str]:
    """The lines to print."""
    yield f"{'set':<16}{'heads taught':<14}accuracy (gain by seed)                  log loss (change by seed)"
    for name in names:
        found = [dict(one_seed(work, name, seed)) for seed in seeds]
        for title in found[0]:
            scores = np.array([each[title] for each in found])
            base = np.array([each["as given"] for each in found])
            gains = (scores - base).T
            words = [" ".join(f"{gain:+.3f}" for gain in each) for each in gains]
            means = scores.mean(axis=0)
            yield (
                f"{name:<16}{title:<14}{means[0]:.3f} ({words[0]})          {means[1]:.3f} ({words[1]})"
                f"   n = {len(seeds)} x {NUM_PHOTOS:,}"
            )


def one_seed(work: Path, name: str, seed: int) -> Iterator[tuple[str, tuple[float, float]]]:
    """Accuracy and log loss on true labels of new photos, for each way to teach."""
    drawn = SETS[name](work, 2 * NUM_PHOTOS, seed)
    features, labels, num_classes = drawn.features, drawn.labels, int(drawn.labels.max()) + 1
    known, new = slice(NUM_PHOTOS), slice(NUM_PHOTOS, 2 * NUM_PHOTOS)
    folds, given = assign_folds(labels[known], seed=seed), labels[known]
    fit = partial(cross_fit_head, features[known], given, folds, num_classes=num_classes)
    plain = fit()
    flagged = kiyome.find_label_issues(given, plain.pred_probs)
    chance = np.where(flagged, kiyome.label_issue_probability(given, plain.pred_probs), 0)[:, None]
    softened = (1 - chance) * np.eye(num_classes)[given] + chance * plain.pred_probs
    taught = {
        "as given": plain,
        "drop": fit(weights=np.where(flagged, 0.0, 1.0)),
        "weight": fit(weights=1 - chance[:, 0]),
        "soften": fit(soft_labels=softened),
    }
    for title, heads in taught.items():
        probs, true = heads.heads.pred_probs(features[new]), drawn.true_labels[new]
        of_true = probs[np.arange(NUM_PHOTOS), true]
        yield title, (float((probs.argmax(axis=1) == true).mean()), float(-floored_log(of_true).mean()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    known = ["random_label1", "aggre"]
    parser.add_argument("--sets", nargs="+", default=known, choices=known, metavar="NAME")
    asked = parser.parse_args()
    show(__file__, report(asked.work, asked.seeds, asked.sets), "openvino", "scipy")
