"""What metrics under noise get right and wrong: by simulation, and of networks whose truth is known.

    python benchmarks/metrics_noise.py [FOLDER]

FOLDER is that of honest_score.py.

1. Networks, 5,000 rows each: people's labels, one person's vote, injected labels. The metric on true labels,
   on given ones, the estimate with the matrix of the same predictions, and the plausible range.
2. Simulation: three classes of 60, 25 and 15 %, noise by class (19 % wrong), predictions that err apart from
   it, n = 400, 100 draws; the matrix known.
"""

import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np

from honest_score import holds, voted_sets
from kiyome.evaluation.metric_on_given import METRICS, metric_on_given
from kiyome.evaluation.metric_under_noise import metric_under_noise
from kiyome.noise import inject_label_noise
from measured import SHARED_DATA, show
from noise_sets import human_sets, paper_sets

ROWS, DRAWS, N = 5_000, 100, 400
T = np.array([[0.8, 0.15, 0.05], [0.1, 0.85, 0.05], [0.1, 0.1, 0.8]])
SHARES = (0.6, 0.25, 0.15)


def networks(folder: Path) -> Iterator[str]:
    """Metrics of networks whose truth is known."""
    yield f"1. networks, n = {ROWS:,}: true; on given labels; if errors are independent; plausible"
    rng = np.random.default_rng(0)
    for name, *arrays in chain(human_sets(folder), voted_sets(folder, rng), paper_sets(folder)):
        rows = rng.choice(len(arrays[0]), size=ROWS, replace=False)
        labels, truth, probs = (each[rows] for each in arrays)
        for metric in ("balanced_accuracy", "macro_f1", "log_loss", "auc"):
            true = metric_on_given(metric, truth, probs).value
            found = metric_under_noise(metric, labels, probs)
            independent, plausible = found.estimated_true, found.plausible
            line = f"  {name:24} {metric:17} {true:.4f}; {found.on_given.value:.4f};"
            if independent is None:
                yield f"{line} refused"
                continue
            verdict = "holds" if holds(independent, true) else "MISSES"
            line += f" {independent.value:.4f} ({independent.low:.4f} to {independent.high:.4f}) {verdict}"
            if plausible is not None:
                verdict = "holds" if holds(plausible, true) else "MISSES"
                line += f"; {plausible.low:.4f} to {plausible.high:.4f} {verdict}"
            yield line


def predictions(truth: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    odds = np.exp(rng.normal(size=(len(truth), 3)) + 2 * np.eye(3)[truth])
    return odds / odds.sum(axis=1, keepdims=True)


def simulated() -> Iterator[str]:
    """Bias and coverage where model and labels err apart."""
    yield f"2. simulated, n = {N}, {DRAWS} draws: covers the true metric; bias; width"
    rng = np.random.default_rng(0)
    world = rng.choice(3, p=SHARES, size=400_000)
    probs_of_world = predictions(world, rng)
    for metric in METRICS:
        true = metric_on_given(metric, world, probs_of_world).value
        found = {"right labels": [], "matrix known": []}
        for seed in range(DRAWS):
            rng = np.random.default_rng(seed)
            truth = rng.choice(3, p=SHARES, size=N)
            labels, probs = inject_label_noise(truth, T, rng), predictions(truth, rng)
            corrected = metric_under_noise(metric, labels, probs, transition_matrix=T, seed=seed)
            found["right labels"].append(metric_on_given(metric, truth, probs, seed=seed))
            if corrected.estimated_true is not None:
                found["matrix known"].append(corrected.estimated_true)
        for how, estimates in found.items():
            errors = np.array([each.value - true for each in estimates])
            yield (
                f"  {metric:17} {how:14} {np.mean([holds(each, true) for each in estimates]):.3f};"
                f" {errors.mean():+.4f} +- {errors.std(ddof=1) / np.sqrt(len(errors)):.4f};"
                f" {np.mean([each.high - each.low for each in estimates]):.3f} ({len(estimates)} draws)"
            )


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else SHARED_DATA / "cifar10"
    show(__file__, chain(networks(folder), simulated()), "numpy", "scipy")
