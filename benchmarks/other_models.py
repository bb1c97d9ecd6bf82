"""What `kiyome find --with RUN` does with other models beside its heads: good ones, weak ones, neighbors.

    python benchmarks/other_models.py WORK [--seeds 1 2 3] [--sets NAME ...]

votes: CIFAR-10's test photos, each with the label of one person drawn from CIFAR-10H; beside the heads stand
two of eight published networks that never saw these photos. All sets: heads on 200 of the features, a copy
of the heads, and the labels of the 10 nearest photos of other folds, which `find` does not offer. "alone" is
the average precision of the other model, "log loss" how it changes on held-out rows, "gain" that of the blend
against the heads, a paired bootstrap over rows averaged over seeds. WORK may be that of benchmarks/heads.py.
"""

import argparse
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

import kiyome
from heads import SETS, LabelSet, Quality, embedded, gain, jpeg
from kiyome.ensemble import select_members
from kiyome.features import cross_fit_head
from kiyome.features.inputs import fit_input_map, to_unit_length
from kiyome.folds import assign_folds
from measured import SHARED_DATA, show

NUM_NEIGHBORS = 10
NETWORKS = ("shake_shake_26_2x64d_SSI_cutout16", "vgg_15_BN_64")
VOTES = slice(0, 10_000, 3)


def report(work: Path, seeds: list[int], names: list[str]) -> Iterator[str]:
    """The lines to print."""
    yield f"{'set':<16}{'beside the heads':<20}{'alone':>7}{'weight':>8}{'log loss':>10}   gain in AP, in F1"
    for name in names:
        tried: dict[str, list[tuple[Quality, Quality, float, float, float]]] = {}
        for seed in seeds:
            label_set = votes(work, seed) if name == "votes" else SETS[name](work, 4_000, seed)
            for title, *found in one_seed(label_set, seed, name):
                tried.setdefault(title, []).append(tuple(found))
        for title, found in tried.items():
            pairs = [(before, after) for before, after, *_ in found]
            alone, weight, loss = np.mean([numbers for _, _, *numbers in found], axis=0)
            size = f"n = {len(pairs)} x {len(pairs[0][0].wrong):,}"
            gains = ", ".join(gain(pairs, of) for of in (Quality.average_precision, Quality.f1))
            yield f"{name:<16}{title:<20}{alone:>7.3f}{weight:>8.2f}{-loss:>+10.4f}   {gains}   {size}"


def one_seed(label_set: LabelSet, seed: int, name: str) -> Iterator[tuple]:
    features, labels = label_set.features, label_set.labels
    folds = assign_folds(labels, groups=label_set.groups, seed=seed)
    fit = partial(cross_fit_head, labels=labels, folds=folds, num_classes=int(labels.max()) + 1)
    heads = fit(features).pred_probs
    few = np.random.default_rng(seed).permutation(features.shape[1])[:200]
    others = {
        **(dict(networks()) if name == "votes" else {}),
        "heads on 200": fit(features[:, few]).pred_probs,
        "a copy": heads,
        "10 neighbors": of_neighbors(features, labels, folds),
    }
    before = quality(label_set, heads)
    for title, probs in others.items():
        found = select_members(labels, [heads, probs], folds)
        blend = found.pred_probs.astype(np.float32) if found.weights[1] else heads
        alone = quality(label_set, probs).average_precision()
        yield title[:12], before, quality(label_set, blend), alone, found.weights[1], found.gains[1]


def quality(label_set: LabelSet, probs: np.ndarray) -> Quality:
    labels = label_set.labels
    return Quality(
        suspicion=-kiyome.label_quality(labels, probs),
        flagged=kiyome.find_label_issues(labels, probs),
        wrong=labels != label_set.true_labels,
        rate_error=0,
        brier=0,
        accuracy=0,
        seconds=0,
    )


def of_neighbors(features: np.ndarray, labels: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """(N, K) shares of labels among the nearest photos of other folds, weighted by exp(cosine / 0.1)."""
    units = to_unit_length(fit_input_map(features, np.arange(len(features))).clipped(features))
    likeness = units @ units.T
    likeness[folds[:, None] == folds] = -1
    nearest = np.argpartition(-likeness, NUM_NEIGHBORS, axis=1)[:, :NUM_NEIGHBORS]
    weights = np.exp((np.take_along_axis(likeness, nearest, axis=1) - 1) / 0.1)
    shares = np.bincount(labels) / len(labels)
    one_hot = np.eye(len(shares))[labels[nearest]]
    found = (weights[..., None] * one_hot).sum(axis=1) / weights.sum(axis=1, keepdims=True)
    return ((NUM_NEIGHBORS * found + shares) / (NUM_NEIGHBORS + 1)).astype(np.float32)


def votes(work: Path, seed: int) -> LabelSet:
    with np.load(SHARED_DATA / "cifar10/cifar10_jpeg.npz") as stored:
        data, ends = stored["test_jpeg"], stored["test_offsets"]
    rows = np.arange(10_000)[VOTES]
    features = embedded(work / "votes.npy", (jpeg(data[ends[row] : ends[row + 1]]) for row in rows))
    with np.load(SHARED_DATA / "cifar10/cifar10_test_humans.npz") as stored:
        counts, truth = stored["cifar10h_counts"][rows], stored["label"][rows].astype(int)
    rng = np.random.default_rng(seed)
    labels = np.array([rng.choice(10, p=each / each.sum()) for each in counts])
    return LabelSet(features, labels, truth)


def networks() -> Iterator[tuple[str, np.ndarray]]:
    with np.load(SHARED_DATA / "cifar10/cifar10_test_logits_8models.npz") as stored:
        for name in NETWORKS:
            logits = stored[name][VOTES].astype(np.float64)
            exps = np.exp(logits - logits.max(axis=1, keepdims=True))
            yield name, (exps / exps.sum(axis=1, keepdims=True)).astype(np.float32)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    known = ["votes", "aggre", "random_label1", "digits", "elpv", "mango by class", "mango by photo"]
    parser.add_argument("--sets", nargs="+", default=known, choices=known, metavar="NAME")
    asked = parser.parse_args()
    show(__file__, report(asked.work, asked.seeds, asked.sets), "openvino", "scikit-learn")
