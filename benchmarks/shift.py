"""Whether a test set looks like train: how often the answer is wrong by luck, and what it finds.

    python benchmarks/shift.py [FOLDER [FEATURES]]

Random splits: how many intervals of the AUC hold 0.5, those of `compare_splits` and DeLong's of the same
scores; in how many splits a class is said to differ by its photos or by its share. Planted: test photos of
mango leaves are brightened by 10 % or blurred by a pixel; in how many splits that is told. Real: digits of
other writers, mango leaves at random and by blocks of names within each class, CIFAR-10's own test set; and
what the heads of `find` score out of fold on train, and on test. Features are pixels for digits, else those
of lite0, which the folder FEATURES keeps. FOLDER holds mango_leaf/mango_leaf_224.npz and
cifar10/cifar10_jpeg.npz.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

from kiyome.estimates import proportion
from kiyome.evaluation import shift as module
from kiyome.evaluation.class_shares import compare_class_shares
from kiyome.evaluation.shift import compare_splits
from kiyome.features import cross_fit_head
from kiyome.features.inputs import InputMap, fit_input_map
from kiyome.folds import assign_folds
from kiyome.images.decode import decode_photo
from kiyome.models import Backbone, load_backbone
from measured import SHARED_DATA, show

NUM_PLANTED = 20
FAULTED = 400


class Source:
    """Features with labels and groups."""

    def __init__(self, features: np.ndarray, labels: np.ndarray, groups: np.ndarray | None = None) -> None:
        self.features, self.labels = features, labels.astype(np.int64)
        self.groups = np.arange(len(labels)) if groups is None else groups.astype(np.int64)
        self.num_classes = int(labels.max()) + 1
        self.input_map: InputMap = fit_input_map(features, np.arange(len(features)))

    def compare(self, rows: np.ndarray, in_test: np.ndarray, seed: int = 0) -> module.Shift:
        """The rows of test against the others."""
        return compare_splits(
            self.features[rows],
            in_test,
            labels=self.labels[rows],
            num_classes=self.num_classes,
            groups=self.groups[rows],
            input_map=self.input_map,
            seed=seed,
        )

    def shares(self, rows: np.ndarray, in_test: np.ndarray) -> object:
        """Class shares of both."""
        return compare_class_shares(
            self.labels[rows], in_test, num_classes=self.num_classes, groups=self.groups[rows]
        )


def report(data: Path, kept: Path) -> Iterator[str]:
    """The lines to print."""
    digits, mango = digits_pixels(), mango_leaves(data, kept)
    yield "\nRandom splits: share of intervals that hold 0.5 (wanted 95 %)"
    yield random_splits("digits, 40 of 400 in test", digits, 400, 40, 400)
    yield random_splits("digits, 600 of 1,797 in test", digits, 1797, 600, 100)
    yield random_splits("mango, 60 of 300 in test", mango, 300, 60, 200)
    yield random_splits("mango, 400 of 2,000 in test", mango, 2000, 400, 100)
    yield random_splits("mango, 100 of 500, groups whole", mango, 500, 100, 200, by_group=True)
    yield f"\nPlanted in all test photos, train 1,200 mango leaves: told in how many of {NUM_PLANTED} splits"
    for fault in ("brighter", "blurred"):
        yield from planted(fault, mango, faulted(fault, data, kept))
    yield "\nReal"
    halves = np.arange(1797) >= 1797 // 2
    places = np.random.default_rng(0).permutation(int(mango.groups.max()) + 1)
    for name, source, in_test in (
        ("digits, second half against first", digits, halves),
        ("mango, a fifth of the groups at random", mango, places[mango.groups] < len(places) // 5),
        *(
            (f"mango, a fifth of the names of each class ({seed})", mango, by_names(data, seed))
            for seed in range(3)
        ),
    ):
        yield real(name, source, in_test)
        yield carried(source, in_test)
    train, test = (cifar_features(data, kept, split) for split in ("train", "test"))
    with np.load(data / "cifar10/cifar10_jpeg.npz") as stored:
        labels = np.concatenate([stored["train_label"], stored["test_label"]])
    cifar = Source(np.concatenate([train, test]), labels)
    yield real("CIFAR-10, test against train", cifar, np.arange(60_000) >= 50_000)
    drawn = np.random.default_rng(0).permutation(60_000)[:2040]
    few = Source(cifar.features[drawn], labels[drawn])
    yield real("CIFAR-10, 40 at random of 2,040", few, np.arange(2040) < 40)


def random_splits(
    name: str, source: Source, num_rows: int, num_test: int, num_splits: int, *, by_group: bool = False
) -> str:
    held, plain, photos, shares, started = 0, 0, 0, 0, time.process_time()
    for seed in range(num_splits):
        rng = np.random.default_rng(seed)
        rows = rng.permutation(len(source.labels))[:num_rows]
        in_test = np.arange(num_rows) < num_test
        if by_group:
            places = rng.permutation(int(source.groups.max()) + 1)
            in_test = places[source.groups[rows]] < num_test / num_rows * len(places)
        shift = source.compare(rows, in_test, seed)
        held += shift.auc.low <= 0.5 <= shift.auc.high
        plain += abs(shift.auc.value - 0.5) <= module.NORMAL * delong_error(shift, in_test)
        photos += bool(shift.differing_classes)
        shares += bool(source.shares(rows, in_test).differing_classes)
    seconds = (time.process_time() - started) / num_splits
    held, plain, photos, shares = (
        proportion(hits, num_splits).as_percent() for hits in (held, plain, photos, shares)
    )
    return (
        f"{name:<34} {held}; DeLong {plain};\n{'':<34} a class told by photos {photos}, "
        f"by its share {shares}; {seconds:.1f} s CPU"
    )


def delong_error(shift: module.Shift, in_test: np.ndarray) -> float:
    scores = shift.row_scores
    return float(np.sqrt(sum(scores[side].var() / side.sum() for side in (in_test, ~in_test))))


def planted(fault: str, mango: Source, changed: np.ndarray) -> Iterator[str]:
    """Lines for each number of test photos; `changed` are features of the first rows of a fixed order."""
    order = np.random.default_rng(0).permutation(4000)
    for num_test in (20, 40, 100, 400):
        told, areas = 0, []
        for seed in range(NUM_PLANTED):
            rng = np.random.default_rng(seed)
            test = rng.permutation(FAULTED)[:num_test]
            rows = np.concatenate([order[test], rng.permutation(order[FAULTED:])[:1200]])
            in_test = np.arange(len(rows)) < num_test
            features = np.concatenate([changed[test], mango.features[rows[num_test:]]])
            shift = compare_splits(features, in_test, groups=mango.groups[rows], input_map=mango.input_map)
            told += shift.auc.low > 0.5
            areas.append(shift.auc.value)
        yield (
            f"{fault:<9} {num_test:3d} test photos: {told:2d}; AUC {np.mean(areas):.3f} "
            f"sd {np.std(areas, ddof=1):.3f}"
        )


def real(name: str, source: Source, in_test: np.ndarray) -> str:
    started, rows = time.process_time(), np.arange(len(in_test))
    shift, shares = source.compare(rows, in_test), source.shares(rows, in_test)
    within = shift.auc_within_classes
    return (
        f"{name}, {shift.num_test:,} and {shift.num_train:,}: {shift.verdict}\n"
        f"    AUC {shift.auc.value:.3f} ({shift.auc.low:.3f} to {shift.auc.high:.3f}), within classes "
        f"{within.value:.3f} ({within.low:.3f} to {within.high:.3f}); classes that differ by photos: "
        f"{len(shift.differing_classes)}, by share: {len(shares.differing_classes)} of {source.num_classes}; "
        f"{time.process_time() - started:.1f} s CPU\n    {shift.advice()}"
    )


def carried(source: Source, in_test: np.ndarray) -> str:
    """Accuracy of the heads of `find` on train, out of fold, and on test; copies of train rows left out."""
    train, labels = ~in_test, source.labels
    test = in_test & ~np.isin(source.groups, source.groups[train])
    folds = assign_folds(labels[train], groups=source.groups[train])
    fit = cross_fit_head(source.features[train], labels[train], folds, num_classes=source.num_classes)
    right = fit.heads.pred_probs(source.features[test]).argmax(axis=1) == labels[test]
    out_of_fold = int((fit.pred_probs.argmax(axis=1) == labels[train]).sum())
    on_train, on_test = (
        proportion(out_of_fold, int(train.sum())),
        proportion(int(right.sum()), int(test.sum())),
    )
    return f"    accuracy out of fold {on_train.as_percent()}, on test {on_test.as_percent()}"


def digits_pixels() -> Source:
    from sklearn.datasets import load_digits

    digits = load_digits()
    return Source(digits.data.astype(np.float32), digits.target)


def by_names(data: Path, seed: int) -> np.ndarray:
    """A fifth of each class, consecutive by name: photos that were taken one after another."""
    rng, in_test = np.random.default_rng(seed), np.zeros(4000, bool)
    with np.load(data / "mango_leaf/mango_leaf_224.npz") as stored:
        labels, names = stored["label"], stored["name"]
    for k in range(8):
        rows = np.flatnonzero(labels == k)
        rows = rows[np.argsort(names[rows], kind="stable")]
        in_test[np.array_split(rows, 5)[rng.integers(5)]] = True
    return in_test


def mango_leaves(data: Path, kept: Path) -> Source:
    with np.load(data / "mango_leaf/mango_leaf_224.npz") as stored:
        labels, groups = stored["label"], stored["group"]
    rows = range(4000)
    features = kept_features(kept / "mango_lite0.npy", lambda: mango_photos(data, rows))
    return Source(features, labels, groups)


def mango_photos(data: Path, rows: object) -> Iterator[np.ndarray]:
    with np.load(data / "mango_leaf/mango_leaf_224.npz") as stored:
        content, offsets = stored["jpeg"], stored["offsets"]
    for row in rows:
        yield decode_photo(content[offsets[row] : offsets[row + 1]].tobytes()).pixels


def faulted(fault: str, data: Path, kept: Path) -> np.ndarray:
    """Features of the first 400 photos of a fixed order, brighter or blurred."""
    from PIL import Image, ImageFilter

    def photos() -> Iterator[np.ndarray]:
        for pixels in mango_photos(data, np.random.default_rng(0).permutation(4000)[:FAULTED]):
            if fault == "brighter":
                yield np.clip(pixels * 1.1, 0, 255).astype(np.uint8)
            else:
                yield np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(1)))

    return kept_features(kept / f"mango_{fault}_lite0.npy", photos)


def cifar_features(data: Path, kept: Path, split: str) -> np.ndarray:
    def photos() -> Iterator[np.ndarray]:
        with np.load(data / "cifar10/cifar10_jpeg.npz") as stored:
            content, offsets = stored[f"{split}_jpeg"], stored[f"{split}_offsets"]
        for start, stop in pairwise(offsets):
            yield decode_photo(content[start:stop].tobytes()).pixels

    return kept_features(kept / f"cifar_{split}_lite0.npy", photos)


def kept_features(file: Path, photos: Callable[[], Iterator[np.ndarray]]) -> np.ndarray:
    """Features of lite0, from the file where it exists."""
    if not file.exists():
        np.save(file, np.concatenate(list(embedded(load_backbone("lite0"), photos()))))
    return np.load(file)


def embedded(backbone: Backbone, photos: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    batch: list[np.ndarray] = []
    for pixels in photos:
        batch.append(backbone.prepare(pixels))
        if len(batch) == 256:
            yield backbone.embed(np.stack(batch)).astype(np.float16)
            batch.clear()
    if batch:
        yield backbone.embed(np.stack(batch)).astype(np.float16)


if __name__ == "__main__":
    arguments = [Path(each) for each in sys.argv[1:]]
    folder = arguments[1] if len(arguments) > 1 else Path(tempfile.mkdtemp())
    show(
        __file__,
        report(arguments[0] if arguments else SHARED_DATA, folder),
        "numpy",
        "scikit-learn",
        "openvino",
    )
