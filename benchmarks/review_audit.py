"""What a review says about the whole table while it goes on, against the truth.

    python benchmarks/review_audit.py [FOLDER] [SHARE] [REPEATS]

Label sets of people: CIFAR-10N with three networks where the shared data lie, and every NAME.npz of FOLDER
with labels, truth and probs. People answer the truth, along the queue with this share of measured rows (0.1),
each time with another random order (20).

calibration   mean |stated - true| over flagged rows not yet looked at, in five groups of equal size by
              suspicion: as stated before the review, and after so many answers
coverage      of the 95 % intervals of the noise rate and of the wrong labels left (by random rows; by the
              curve), at 30 points of a review
stopping      at the first of these points at which fewer than 1 % of all labels are wrong
              and unseen with 95 % certainty, as the page says; right where that is true; looks as multiples
              of those of somebody who knows the truth and goes down the ranking
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kiyome.evaluation.review_audit import MOST_LEFT, UNSEEN, ReviewDesign, estimate_review
from kiyome.noise import find_label_issues, label_issue_probability
from measured import SHARED_DATA, show
from noise_sets import human_sets

EARLY = (50, 100, 200)
GROUPS = 5
POINTS = 30


class Truth(NamedTuple):
    """A table under review, and which of its labels are wrong."""

    name: str
    suspicion: np.ndarray
    flagged: np.ndarray
    wrong: np.ndarray


class Seen(NamedTuple):
    """What one review said at one point."""

    looks: int
    rate_covered: bool
    left_covered: bool
    curve_covered: bool
    may_stop: bool
    is_right: bool
    said: float
    fitted: float
    """Mean |stated - true| over the rest of the flagged rows; NaN where fewer than 50 are left."""


def truths(folder: Path | None) -> Iterator[Truth]:
    if (SHARED_DATA / "cifar10").is_dir():
        for each in human_sets(SHARED_DATA / "cifar10"):
            yield truth_of(each.name, each.labels, each.true_labels, each.pred_probs)
    for path in sorted(folder.glob("*.npz")) if folder else ():
        with np.load(path) as stored:
            labels, true = (stored[name].astype(int) for name in ("labels", "truth"))
            yield truth_of(path.stem, labels, true, stored["probs"])


def truth_of(name: str, labels: np.ndarray, true: np.ndarray, pred_probs: np.ndarray) -> Truth:
    suspicion = np.asarray(label_issue_probability(labels, pred_probs), dtype=np.float64)
    return Truth(name, suspicion, find_label_issues(labels, pred_probs), labels != true)


def reviewed(truth: Truth, share: float, oracle: int, seed: int) -> list[Seen]:
    """Return what a review says at each point, until it may stop and is well past the oracle."""
    rows = len(truth.wrong)
    ranking = np.argsort(-truth.suspicion, kind="stable")
    order = np.random.default_rng(seed).permutation(rows)
    design = ReviewDesign(probability=truth.suspicion, ranking=ranking, random_order=order)
    queue, said = design.queue(share), []
    points = np.unique(np.r_[EARLY, np.geomspace(100, rows, POINTS).astype(int)])
    for looks in points.tolist():
        answers = np.full(rows, UNSEEN)
        answers[queue[:looks]] = truth.wrong[queue[:looks]]
        estimate = estimate_review(design, answers)
        left, rate = truth.wrong[queue[looks:]].sum() / rows, truth.wrong.mean()
        rest = np.flatnonzero(truth.flagged & (answers == UNSEEN))
        said.append(
            Seen(
                looks=looks,
                rate_covered=holds(estimate.noise_rate, rate),
                left_covered=holds(estimate.left, left),
                curve_covered=holds(estimate.left_by_curve, left),
                may_stop=estimate_review(design, answers, confidence=0.9).left.high < MOST_LEFT,
                is_right=left < MOST_LEFT,
                said=distance(truth, truth.suspicion, rest),
                fitted=distance(truth, estimate.probability, rest),
            )
        )
        if said[-1].may_stop and looks > oracle:
            break
    return said


def holds(estimate, true: float) -> bool:
    return estimate.low - 1e-9 <= true <= estimate.high + 1e-9


def distance(truth: Truth, stated: np.ndarray, rest: np.ndarray) -> float:
    if len(rest) < 50:
        return float("nan")
    groups = np.array_split(rest[np.argsort(truth.suspicion[rest])], GROUPS)
    return sum(abs(stated[g].mean() - truth.wrong[g].mean()) * len(g) for g in groups) / len(rest)


def report(folder: Path | None, share: float, repeats: int) -> Iterator[str]:
    yield f"share of measured rows {share}, {repeats} random orders a set"
    for truth in truths(folder):
        left = truth.wrong.sum() - truth.wrong[np.argsort(-truth.suspicion, kind="stable")].cumsum()
        oracle = int(np.argmax(left < MOST_LEFT * len(left))) + 1
        reviews = [reviewed(truth, share, oracle, seed) for seed in range(repeats)]
        yield ""
        rows = f"{len(left):,} rows, {truth.wrong.mean():.1%} wrong"
        yield f"{truth.name}: {rows}, the oracle looks {oracle:,} times"
        every = [each for seen in reviews for each in seen]
        for looks in EARLY:
            here = [each for each in every if each.looks == looks and np.isfinite(each.fitted)]
            if here:
                said, fitted = (
                    np.array([getattr(each, name) for each in here]) for name in ("said", "fitted")
                )
                yield (
                    f"  calibration after {looks:3}: {said.mean():.3f} as stated,"
                    f" {fitted.mean():.3f} recalibrated (sd {fitted.std():.3f})"
                )
        rate, rest, curve = (
            np.mean([getattr(each, name) for each in every if each.looks >= 100])
            for name in ("rate_covered", "left_covered", "curve_covered")
        )
        yield f"  coverage: noise rate {rate:.1%}, left {rest:.1%}, left by the curve {curve:.1%}"
        stops = [next(each for each in seen if each.may_stop) for seen in reviews]
        factors = np.array([each.looks for each in stops]) / oracle
        yield (
            f"  stopping: {factors.mean():.2f} times the oracle's looks (sd {factors.std():.2f}),"
            f" right in {sum(each.is_right for each in stops)} of {len(stops)}"
        )


if __name__ == "__main__":
    folder, share, repeats = (*sys.argv[1:], *("", "0.1", "20")[len(sys.argv) - 1 :])
    show(__file__, report(Path(folder) if folder else None, float(share), int(repeats)), "numpy", "scipy")
