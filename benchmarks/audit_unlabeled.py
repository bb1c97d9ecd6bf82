"""Coverage of audits of rows without labels: true accuracy and class shares from people's answers.

    python benchmarks/audit_unlabeled.py

Simulated: 2,000 rows, five classes of random shares, a model that is right on 75, 90 or 97 %; 5 worlds of 40
audits each. `plain` are class shares of the checked rows alone, weighted. Answers are the truth.
"""

from itertools import product
from typing import NamedTuple

import numpy as np

from kiyome.estimates import Estimate
from kiyome.evaluation.audit import CheckedSample, audited_accuracy
from kiyome.evaluation.audit_design import draw_from, strata_of
from kiyome.noise import simulate_pred_probs

N, K, WORLDS, AUDITS = 2000, 5, 5, 40


class Interval(NamedTuple):
    """Whether an interval holds the truth, and its width."""

    held: bool
    width: float


def main() -> None:
    for accuracy, n in product((0.75, 0.9, 0.97), (100, 200, 500)):
        found: dict[str, list[Interval]] = {"accuracy": [], "class shares": [], "plain": []}
        for world in range(WORLDS):
            rng = np.random.default_rng(world)
            truth = rng.choice(K, N, p=rng.dirichlet(np.full(K, 1.5)))
            probs = simulate_pred_probs(truth, K, rng, accuracy=accuracy)
            for name, intervals in audits(truth, probs, n).items():
                found[name] += intervals
        means = {name: np.mean(intervals, axis=0) for name, intervals in found.items()}
        told = ", ".join(f"{name} {held:.1%} {width:.3f}" for name, (held, width) in means.items())
        print(f"right on {accuracy:.0%}, {n} checked: covered, width: {told}", flush=True)


def audits(truth: np.ndarray, probs: np.ndarray, n: int) -> dict[str, list[Interval]]:
    """Return the intervals of repeated audits of one table."""
    predicted, strata = probs.argmax(axis=1), strata_of(None, probs)
    found: dict[str, list[Interval]] = {"accuracy": [], "class shares": [], "plain": []}
    for seed in range(AUDITS):
        design = draw_from(strata, n, seed=seed)
        answers = truth[design.rows]
        score = audited_accuracy(design, answers, None, predicted, num_classes=K)
        found["accuracy"].append(interval(score.accuracy_on_true, float(np.mean(predicted == truth))))
        plain = CheckedSample.of(design, design.rows)
        for k, share in enumerate(score.class_shares):
            of_all = float(np.mean(truth == k))
            found["class shares"].append(interval(share, of_all))
            alone = plain.ratio(np.ones(n, np.bool_), answers == k, 0.95)
            assert alone is not None
            found["plain"].append(interval(alone, of_all))
    return found


def interval(found: Estimate, truth: float) -> Interval:
    return Interval(found.low <= truth <= found.high, found.high - found.low)


if __name__ == "__main__":
    main()
