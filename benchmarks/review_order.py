"""Whether the order 'gain' of a review puts more labels right in as many looks than 'suspicion'.

    python benchmarks/review_order.py

A look is one picture. By a reviewer who knows the truth: labels put right in the first looks on every set of
`noise_sets`. Of mango leaves many lie in the set as resized copies, where one look settles every copy; where
no row has a copy the two orders are one. There stands also what came of putting ambiguous photos later, as
Bernhardt et al. (2022) do: gain times the share of the likeliest other class among the others ('clear').
By reviewers who are people, for 'clear' alone: the given label and the answer are two votes drawn from the 50
or so of each CIFAR-10H photo, so unclear photos bring wrong answers; counted are labels put right less labels
put wrong, over ten draws.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from kiyome.checks import check_arrays
from kiyome.decisions.items import ALONE
from kiyome.noise.adaptive import adaptive_mask, adaptive_quality, fit_adaptive
from kiyome.reviewing.queue import gain_with_copies
from measured import SHARED_DATA, show
from noise_sets import LabelSet, every_set

LOOKS = (100, 200, 400, 800, 1600)
DRAWS = range(10)


def report(data: Path) -> Iterator[str]:
    """The lines to print."""
    yield "a reviewer who knows the truth: labels put right in the first looks"
    for each in every_set(data):
        groups = groups_of(data) if each.name.startswith("mango") else np.full(len(each.labels), ALONE)
        for name, order in orders(each, groups).items():
            yield line(f"{each.name}: {name}", fixed_with_copies(each, order, groups))
    yield "people as reviewers, one person's labels, CIFAR-10H: put right less put wrong, ten draws"
    draws = [of_people(data, seed) for seed in DRAWS]
    for name in draws[0]:
        yield line(name, np.mean([draw[name] for draw in draws], axis=0))
    gaps = np.array([draw["clear"] - draw["suspicion"] for draw in draws])
    yield line("clear less suspicion, mean", gaps.mean(axis=0))
    yield line("clear less suspicion, deviation", gaps.std(axis=0, ddof=1).round(1))


def line(name: str, values: np.ndarray) -> str:
    """Figures after each number of looks."""
    cells = [f"{n}: {value:g}" for n, value in zip(LOOKS, values, strict=True) if np.isfinite(value)]
    return f"  {name:44} " + "   ".join(cells)


def orders(each: LabelSet, groups: np.ndarray) -> dict[str, np.ndarray]:
    """Rows as the queue shows them: by suspicion, by gain, and by gain times clarity."""
    labels, probs = check_arrays(each.labels, each.pred_probs)
    fit = fit_adaptive(labels, probs)
    ranking = np.lexsort((adaptive_quality(fit), ~adaptive_mask(fit)))
    weights = {
        "gain": gain_with_copies(fit.probability, labels, groups),
        "clear": gain_with_copies(fit.probability * clarity(labels, probs), labels, groups),
    }
    by_weight = {name: ranking[np.argsort(-w[ranking], kind="stable")] for name, w in weights.items()}
    return {"suspicion": ranking, **by_weight}


def clarity(labels: np.ndarray, probs: np.ndarray) -> np.ndarray:
    """Share of the likeliest other class among all classes but the given one."""
    others = np.array(probs, dtype=np.float64)
    others[np.arange(len(labels)), labels] = 0
    return others.max(axis=1) / np.maximum(others.sum(axis=1), 1e-300)


def fixed(each: LabelSet, order: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """Labels put right less labels put wrong after so many looks; NaN where there are not so many rows."""
    brings = (each.labels != each.true_labels).astype(int) - (answers != each.true_labels)
    sums = np.concatenate([[0], brings[order].cumsum()])
    return np.array([sums[n] if n < len(sums) else np.nan for n in LOOKS])


def fixed_with_copies(each: LabelSet, order: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Wrong labels put right when each look settles all copies of the picture."""
    wrong = each.labels != each.true_labels
    key = np.where(groups == ALONE, np.arange(len(groups)) + groups.max() + 1, groups)
    in_picture = np.bincount(key, weights=wrong)
    _, firsts = np.unique(key[order], return_index=True)
    sums = np.concatenate([[0], in_picture[key[order][np.sort(firsts)]].cumsum()])
    return np.array([sums[n] if n < len(sums) else np.nan for n in LOOKS])


def groups_of(data: Path) -> np.ndarray:
    """Number of the picture of each leaf, ALONE where there is one row of it."""
    with np.load(data / "mango_leaf/mango_leaf_224.npz") as stored:
        _, groups, sizes = np.unique(stored["group"], return_inverse=True, return_counts=True)
    return np.where(sizes[groups] > 1, groups, ALONE)


def of_people(data: Path, seed: int) -> dict[str, np.ndarray]:
    """One draw of labels and answers."""
    with np.load(data / "cifar10/cifar10_test_humans.npz") as stored:
        truth, votes, probs = stored["label"].astype(int), stored["cifar10h_counts"], stored["pred_probs"]
    rng = np.random.default_rng(seed)
    given, answers = drawn(votes, rng), drawn(votes, rng)
    each = LabelSet("people", given, truth, probs.astype(np.float32))
    found = orders(each, np.full(len(given), ALONE))
    return {name: fixed(each, found[name], answers) for name in ("suspicion", "clear")}


def drawn(votes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One vote of each photo."""
    steps = (votes / votes.sum(axis=1, keepdims=True)).cumsum(axis=1)
    return (steps < rng.random((len(votes), 1))).sum(axis=1).clip(max=votes.shape[1] - 1)


if __name__ == "__main__":
    show(__file__, report(SHARED_DATA), "numpy")
