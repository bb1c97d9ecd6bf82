"""How well wrong labels are ranked, flagged and counted: cleanlab and kiyome on the same predictions.

    python benchmarks/noise_quality.py [FOLDER]

FOLDER holds cifar10/ and mango_leaf/ as described in noise_sets.py; what is absent is left out. They are not
part of the project.

Differences are ours less theirs, with the 95 % interval of a paired bootstrap over rows (200 draws). "Best of
five" is the best of cleanlab's five scores **on that very set**, which nobody can choose beforehand. The best
cut of our ranking is an oracle's too.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from cleanlab.count import num_label_issues
from cleanlab.filter import find_label_issues as cleanlab_mask
from cleanlab.rank import get_label_quality_scores

from kiyome.noise import combine_pred_probs, find_label_issues, label_quality, noise_rate
from measured import SHARED_DATA, show
from noise_sets import LabelSet, every_set, human_sets

NUM_DRAWS = 200
SCORES = {
    "self": ("self_confidence", False),
    "self adj": ("self_confidence", True),
    "margin": ("normalized_margin", False),
    "margin adj": ("normalized_margin", True),
    "entropy": ("confidence_weighted_entropy", False),
}


def report(data: Path) -> Iterator[str]:
    """The lines to print."""
    rows = []
    for noisy in every_set(data):
        rows.append(measure(noisy))
        yield from in_words(noisy, rows[-1])
    yield from summary(rows)
    if (data / "cifar10").is_dir():
        yield from several_predictors(list(human_sets(data / "cifar10")))


def measure(noisy: LabelSet) -> dict[str, object]:
    _, labels, true_labels, probs = noisy
    wrong = labels != true_labels
    scores = {
        name: get_label_quality_scores(labels, probs, method=method, adjust_pred_probs=adjust)
        for name, (method, adjust) in SCORES.items()
    }
    scores["kiyome"] = label_quality(labels, probs)
    masks = {
        "cleanlab": cleanlab_mask(labels, probs),
        "argmax": probs.argmax(axis=1) != labels,
        "kiyome": find_label_issues(labels, probs),
    }
    precisions = {name: average_precision(wrong, values) for name, values in scores.items()}
    best = max(SCORES, key=precisions.__getitem__)
    draws = np.random.default_rng(0).multinomial(len(wrong), np.full(len(wrong), 1 / len(wrong)), NUM_DRAWS)
    rate = noise_rate(labels, probs)
    return {
        "wrong": wrong.mean(),
        "accuracy": (probs.argmax(axis=1) == true_labels).mean(),
        "AP": precisions,
        "best": best,
        "AP interval": interval(
            average_precision(wrong, scores["kiyome"], draw) - average_precision(wrong, scores[best], draw)
            for draw in draws
        ),
        "best cut": best_f1(wrong, scores["kiyome"]),
        "F1": {name: f1(wrong, mask) for name, mask in masks.items()},
        "F1 interval": interval(
            f1(wrong, masks["kiyome"], draw) - f1(wrong, masks["cleanlab"], draw) for draw in draws
        ),
        "rate": rate,
        "cleanlab rate": num_label_issues(labels, probs) / len(labels),
    }


def in_words(noisy: LabelSet, row: dict) -> Iterator[str]:
    difference = row["AP"]["kiyome"] - row["AP"][row["best"]]
    N, K = noisy.pred_probs.shape
    yield f"{noisy.name}: N {N:,}, K {K}, {row['wrong']:.3f} wrong, accuracy on true {row['accuracy']:.3f}"
    yield "  average precision  " + "  ".join(f"{name} {value:.4f}" for name, value in row["AP"].items())
    yield f"    kiyome less the best of five ({row['best']}) {difference:+.4f} {span(row['AP interval'])}"
    yield (
        "  F1 of default mask "
        + "  ".join(f"{name} {value:.4f}" for name, value in row["F1"].items())
        + f"  best cut {row['best cut']:.4f}"
    )
    gain = row["F1"]["kiyome"] - row["F1"]["cleanlab"]
    yield f"    kiyome less cleanlab {gain:+.4f} {span(row['F1 interval'])}"
    rate = row["rate"]
    yield (
        f"  noise rate         cleanlab {row['cleanlab rate']:.4f}  kiyome {rate.value:.4f},"
        f" band {rate.low:.3f} to {rate.high:.3f}"
    )


def summary(rows: list[dict]) -> Iterator[str]:
    yield f"over {len(rows)} sets: mean, worst"
    for name in SCORES:
        yield f"  AP, {name} less the best of five" + spread(
            [r["AP"][name] - r["AP"][r["best"]] for r in rows]
        )
    yield "  AP, kiyome less the best of five" + spread(
        [r["AP"]["kiyome"] - r["AP"][r["best"]] for r in rows]
    )
    for name in ("cleanlab", "argmax", "kiyome"):
        yield f"  F1, {name} less the best cut" + spread([r["F1"][name] - r["best cut"] for r in rows])
    errors = {
        "cleanlab": [abs(r["cleanlab rate"] - r["wrong"]) for r in rows],
        "kiyome": [abs(r["rate"].value - r["wrong"]) for r in rows],
    }
    for name, values in errors.items():
        yield f"  noise rate, {name}, absolute error  {np.mean(values):.4f}, {np.max(values):.4f}"
    held = sum(r["rate"].low <= r["wrong"] <= r["rate"].high for r in rows)
    yield f"  bands that hold the truth: {held} of {len(rows)}"


def several_predictors(sets: list[LabelSet]) -> Iterator[str]:
    """Three members by their geometric mean, against the best of them alone."""
    labels, wrong = sets[0].labels, sets[0].labels != sets[0].true_labels
    alone = [label_quality(labels, one.pred_probs) for one in sets]
    best = max(alone, key=lambda scores: average_precision(wrong, scores))
    probs = combine_pred_probs(labels, [one.pred_probs for one in sets])
    together = label_quality(labels, probs)
    draws = np.random.default_rng(0).multinomial(len(wrong), np.full(len(wrong), 1 / len(wrong)), NUM_DRAWS)
    between = interval(
        average_precision(wrong, together, draw) - average_precision(wrong, best, draw) for draw in draws
    )
    values = average_precision(wrong, together), average_precision(wrong, best)
    yield (
        f"three members on people's labels: average precision {values[0]:.4f}, best alone {values[1]:.4f},"
        f" difference {values[0] - values[1]:+.4f} {span(between)}"
    )
    flagged, rate = find_label_issues(labels, probs), noise_rate(labels, probs)
    yield f"  F1 of default mask {f1(wrong, flagged):.4f}, best cut {best_f1(wrong, together):.4f}"
    yield f"  noise rate {rate.value:.4f} for {wrong.mean():.4f}"


def average_precision(wrong: np.ndarray, quality: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Of weighted rows, the least quality first, ties as one step (scikit-learn's definition)."""
    order = np.argsort(quality)
    counts = np.ones(len(wrong)) if weights is None else weights[order].astype(np.float64)
    ends = np.append(np.diff(quality[order]) > 0, True)
    hits, seen = (counts * wrong[order]).cumsum()[ends], counts.cumsum()[ends]
    return float((np.diff(hits, prepend=0) * hits / seen.clip(min=1)).sum() / hits[-1])


def best_f1(wrong: np.ndarray, quality: np.ndarray) -> float:
    hits = wrong[np.argsort(quality, kind="stable")].cumsum()
    return float((2 * hits / (np.arange(1, len(wrong) + 1) + wrong.sum())).max())


def f1(wrong: np.ndarray, flagged: np.ndarray, weights: np.ndarray | None = None) -> float:
    weights = np.ones(len(wrong)) if weights is None else weights
    return float(2 * weights[wrong & flagged].sum() / (weights[wrong].sum() + weights[flagged].sum()))


def interval(differences: Iterator[float]) -> tuple[float, float]:
    low, high = np.quantile(list(differences), [0.025, 0.975])
    return low, high


def span(ends: tuple[float, float]) -> str:
    return f"({ends[0]:+.4f} to {ends[1]:+.4f})"


def spread(values: list[float]) -> str:
    return f"  {np.mean(values):+.4f}, {np.min(values):+.4f}"


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else SHARED_DATA
    show(__file__, report(folder), "cleanlab", "numpy", "scikit-learn")
