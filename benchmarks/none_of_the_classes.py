"""How well photos that show none of the classes are found: far (foreign photos) and near (a hidden class).

    python benchmarks/none_of_the_classes.py [FOLDER]

50 photos of none of the classes among about 1,000 with 8 % wrong labels. Far: photos of another set. Near:
photos of a class whose others are left out. Their labels are random, or the class that most of the ten
nearest ordinary photos show. Features of lite0, out-of-fold predictions of its head. "AP" is the average
precision of the probability, "found" the share of the 50 above one half, "falsely" that of the others. Then
AP of three known scores: distance to ten neighbors, entropy of predictions, entropy of ten neighbors'
labels. Constants were chosen on five hidden mango classes and on CIFAR among leaves, with other draws than
these.
FOLDER holds mango_leaf/mango_leaf_224.npz (MangoLeafBD) and cifar10/cifar10_jpeg.npz.
"""

import io
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.metrics import average_precision_score

from kiyome.artifacts.issues import NONE_CUT
from kiyome.features import cross_fit_head
from kiyome.folds import assign_folds
from kiyome.models.efficientnet_lite import load_lite
from kiyome.noise.none_of_the_classes import probability_none
from measured import SHARED_DATA, show

NUM_NONE = 50
NUM_ROWS = 1050
NOISE = 0.08
CLEAN_SEEDS = range(2)
NUM_PHOTOS = {"cifar": 2000, "cells": 1500, "digits": 1797, "noise": 100}


@dataclass(frozen=True)
class Source:
    """Photos of one kind as features, with their true labels and groups."""

    features: np.ndarray
    labels: np.ndarray
    groups: np.ndarray


@dataclass(frozen=True)
class Case:
    """Rows to judge: what is known of them, and which show none of the classes."""

    features: np.ndarray
    labels: np.ndarray
    folds: np.ndarray
    none: np.ndarray
    num_classes: int


def report(data: Path) -> Iterator[str]:
    """The lines to print."""
    sources = embedded(data)
    yield f"\nFar: {NUM_NONE} foreign photos among {NUM_ROWS}{HEADER}"
    far = []
    for labels in ("random", "nearest"):
        for base in ("mango", "cifar", "digits", "cells"):
            for foreign in [name for name in sources if name != base]:
                case = with_foreign(sources[base], sources[foreign], labels, seed=len(far))
                far.append(scores(case))
                yield line(f"{foreign} among {base}, {labels}", far[-1])
    yield line("mean", np.mean(far, axis=0))
    for base, num_classes in (("mango", 8), ("digits", 10)):
        for labels in ("random", "nearest"):
            yield f"\nNear: {NUM_NONE} photos of a hidden class of {base}, labels {labels}{HEADER}"
            near = []
            for hidden in range(num_classes):
                near.append(scores(with_hidden(sources[base], hidden, labels, seed=100 + hidden)))
                yield line(f"class {hidden}", near[-1])
            yield line("mean", np.mean(near, axis=0))
    yield "\nClean sets: percent of rows above one half, by features and by predictions alone"
    for base in ("mango", "digits", "cifar", "cells"):
        for noise in (0.0, 0.1):
            rows = [clean(sources[base], noise, seed) for seed in CLEAN_SEEDS]
            values = "  ".join(f"{features:.2f} {predictions:.2f}" for features, predictions in rows)
            yield f"{base:<8} {noise:.0%} of labels wrong   {values}"


HEADER = """
                                       by features           by predictions      AP of known scores
                                       AP   found falsely    AP   found falsely  distance entropy labels"""


def line(name: str, values: np.ndarray) -> str:
    return f"{name:<36}" + " {:.3f} {:5.2f} {:7.3f}   {:.3f} {:5.2f} {:7.3f}    {:.2f} {:.2f} {:.2f}".format(
        *values
    )


def scores(case: Case) -> np.ndarray:
    pred_probs = cross_fit_head(
        case.features, case.labels, case.folds, num_classes=case.num_classes
    ).pred_probs
    found = []
    for features in (case.features, None):
        probability = probability_none(case.labels, pred_probs, features=features, folds=case.folds)
        above = probability > NONE_CUT
        precision = average_precision_score(case.none, probability)
        found += [precision, above[case.none].mean(), above[~case.none].mean()]
    return np.array(found + [average_precision_score(case.none, score) for score in known(case, pred_probs)])


def known(case: Case, pred_probs: np.ndarray) -> Iterator[np.ndarray]:
    """Distance to ten neighbors, entropy of predictions, entropy of the neighbors' labels."""
    unit = case.features / np.linalg.norm(case.features, axis=1, keepdims=True)
    cosines = np.where(case.folds[:, None] == case.folds, -np.inf, unit @ unit.T)
    nearest = np.argsort(-cosines, axis=1)[:, :10]
    yield -np.take_along_axis(cosines, nearest, axis=1).mean(axis=1)
    for probs in (pred_probs, np.eye(case.num_classes)[case.labels][nearest].mean(axis=1)):
        yield -(probs * np.log(probs + 1e-12)).sum(axis=1)


def clean(source: Source, noise: float, seed: int) -> tuple[float, float]:
    rng = np.random.default_rng(200 + seed)
    rows = rng.permutation(len(source.labels))[:1500]
    case = assembled(source, rows, source.labels[rows], None, np.array([], int), noise, rng)
    pred_probs = cross_fit_head(
        case.features, case.labels, case.folds, num_classes=case.num_classes
    ).pred_probs
    return tuple(
        100
        * float((probability_none(case.labels, pred_probs, features=f, folds=case.folds) > NONE_CUT).mean())
        for f in (case.features, None)
    )  # type: ignore[return-value]


def with_foreign(base: Source, foreign: Source, labels: str, seed: int) -> Case:
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(base.labels))[:NUM_ROWS]
    chosen = rng.permutation(len(foreign.features))[:NUM_NONE]
    others = foreign.features[chosen]
    theirs = labels_of_others(base.features[rows], base.labels[rows], others, labels, rng)
    return assembled(base, rows, base.labels[rows], others, theirs, NOISE, rng)


def with_hidden(base: Source, hidden: int, labels: str, seed: int) -> Case:
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(base.labels))
    chosen = order[base.labels[order] == hidden][:NUM_NONE]
    rows = order[base.labels[order] != hidden][:NUM_ROWS]
    true_labels = base.labels[rows] - (base.labels[rows] > hidden)
    theirs = labels_of_others(base.features[rows], true_labels, base.features[chosen], labels, rng)
    return assembled(base, rows, true_labels, base.features[chosen], theirs, NOISE, rng, base.groups[chosen])


def labels_of_others(
    features: np.ndarray, true_labels: np.ndarray, others: np.ndarray, labels: str, rng: np.random.Generator
) -> np.ndarray:
    num_classes = true_labels.max() + 1
    if labels == "random":
        return rng.integers(0, num_classes, len(others))
    mean, deviation = features.mean(axis=0), features.std(axis=0).clip(1e-6)
    unit, theirs = (((x - mean) / deviation).clip(-4, 4) for x in (features, others))
    unit, theirs = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (unit, theirs))
    nearest = np.argsort(-theirs @ unit.T, axis=1)[:, :10]
    return np.array([np.bincount(true_labels[rows]).argmax() for rows in nearest])


def assembled(
    base: Source,
    rows: np.ndarray,
    true_labels: np.ndarray,
    others: np.ndarray | None,
    theirs: np.ndarray,
    noise: float,
    rng: np.random.Generator,
    their_groups: np.ndarray | None = None,
) -> Case:
    """Ordinary rows with wrong labels among them, then those of none of the classes."""
    num_classes = int(true_labels.max()) + 1
    wrong = rng.random(len(rows)) < noise
    given = np.where(
        wrong, (true_labels + rng.integers(1, num_classes, len(rows))) % num_classes, true_labels
    )
    features = base.features[rows] if others is None else np.concatenate([base.features[rows], others])
    labels = np.concatenate([given, theirs])
    alone = base.groups.max() + 1 + np.arange(len(theirs)) if their_groups is None else their_groups
    folds = assign_folds(labels, groups=np.concatenate([base.groups[rows], alone]))
    return Case(features, labels, folds, np.arange(len(labels)) >= len(rows), num_classes)


def embedded(data: Path) -> dict[str, Source]:
    backbone = load_lite()

    def embed(photos: list[Image.Image]) -> np.ndarray:
        crops = np.stack([backbone.prepare(np.asarray(photo.convert("RGB"))) for photo in photos])
        return backbone.embed(crops)

    leaves = np.load(data / "mango_leaf/mango_leaf_224.npz")
    cifar = np.load(data / "cifar10/cifar10_jpeg.npz")
    rows = np.random.default_rng(5).permutation(len(cifar["train_label"]))[: NUM_PHOTOS["cifar"]]
    sources = {
        "mango": Source(
            embed(unpacked(leaves["jpeg"], leaves["offsets"], range(len(leaves["label"])))),
            leaves["label"].astype(int),
            leaves["group"].astype(int),
        )
    }
    others = {
        "cifar": (unpacked(cifar["train_jpeg"], cifar["train_offsets"], rows), cifar["train_label"][rows]),
        "cells": solar_cells(),
        "digits": digits(),
        "noise": (noise_pictures(), np.zeros(NUM_PHOTOS["noise"])),
    }
    for name, (photos, labels) in others.items():
        sources[name] = Source(embed(photos), np.asarray(labels, int), np.arange(len(labels)))
    return sources


def unpacked(jpeg: np.ndarray, offsets: np.ndarray, rows: range | np.ndarray) -> list[Image.Image]:
    return [Image.open(io.BytesIO(jpeg[offsets[row] : offsets[row + 1]].tobytes())) for row in rows]


def solar_cells() -> tuple[list[Image.Image], np.ndarray]:
    """Cells that experts call sound or broken without doubt."""
    from elpv_dataset.utils import load_dataset

    images, defect, _ = load_dataset()
    rows = np.random.default_rng(6).permutation(np.flatnonzero((defect == 0) | (defect == 1)))
    rows = rows[: NUM_PHOTOS["cells"]]
    return [Image.fromarray(images[row]) for row in rows], defect[rows]


def digits() -> tuple[list[Image.Image], np.ndarray]:
    from sklearn.datasets import load_digits

    scans = load_digits()
    photos = [Image.fromarray((255 - scan * 15).astype(np.uint8)) for scan in scans.images]
    return [photo.resize((64, 64), Image.Resampling.BICUBIC) for photo in photos], scans.target


def noise_pictures() -> list[Image.Image]:
    """White noise, colored noise, plain colors, slopes and stripes in turn."""
    rng, side = np.random.default_rng(7), 128
    y, x = np.mgrid[:side, :side][..., None] / side
    pictures = []
    for number in range(NUM_PHOTOS["noise"]):
        first, second = rng.uniform(0, 255, (2, 3))
        angle, waves = rng.uniform(0, np.pi), rng.uniform(2, 20)
        along = x * np.cos(angle) + y * np.sin(angle)
        share = [
            rng.random((side, side, 1)),
            rng.random((side, side, 3)),
            np.zeros((side, side, 1)),
            (along - along.min()) / np.ptp(along),
            np.sin(2 * np.pi * waves * along) > 0,
        ][number % 5]
        pictures.append(Image.fromarray((first + (second - first) * share).astype(np.uint8)))
    return pictures


if __name__ == "__main__":
    show(
        __file__,
        report(Path(sys.argv[1]) if len(sys.argv) > 1 else SHARED_DATA),
        "scikit-learn",
        "openvino",
        "numpy",
    )
