"""What countermeasures do against labels that people gave: CIFAR-10N, out of fold.

    python benchmarks/cifar10n.py WORK [--seeds 0 1 2] [--countermeasures NAME ...]

6,000 photos of CIFAR-10's training set with human labels of CIFAR-10N: `aggre`, the majority of three people
(9 % wrong), and `random_label1`, one person (17 % wrong). The recipe `quick` at 64 px (3 folds, 3 epochs, of
EfficientNet-Lite0) is trained with plain cross entropy and with each countermeasure, by its name in
countermeasures.py. Accuracy against the given labels and against CIFAR-10's own, over the rows of all seeds,
and each countermeasure against plain on the same rows; a photo that several seeds drew counts as one group. A
training takes about three minutes on two idle cores; WORK keeps finished ones, so a second call goes on.
"""

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import kiyome
from countermeasures import COUNTERMEASURES
from kiyome.estimates import proportion_of_rows
from kiyome.evaluation.compare import compare
from measured import SHARED_DATA, show

NUM_PHOTOS, IMAGE_SIZE = 6000, 64
LABEL_SETS = ("aggre", "random_label1")
PLAIN = "plain cross entropy"
DEFAULT = ("generalized cross entropy", "MixUp", "label smoothing 0.1")
FILES = {"aggre": "aggre_label", "random_label1": "random_label1", "true": "clean_label"}


@dataclass(frozen=True, kw_only=True)
class HumanLabels:
    """One seed's photos with one set of labels, on disk below `work`."""

    work: Path
    name: str
    seed: int
    rows: np.ndarray
    """Of CIFAR-10's training set."""
    labels: np.ndarray
    true_labels: np.ndarray

    @property
    def table(self) -> Path:
        """image_id, label."""
        return self.work / f"{self.name}-seed{self.seed}.csv"


def report(
    work: Path, seeds: list[int], countermeasures: list[str], num_photos: int, changes: list[str]
) -> Iterator[str]:
    """The lines to print."""
    for name in LABEL_SETS:
        drawn = [human_labels(work, name, seed, num_photos) for seed in seeds]
        wrong = np.mean([each.labels != each.true_labels for each in drawn])
        yield f"\n{name}: {100 * wrong:.1f} % wrong; n = {len(seeds)} seeds of {num_photos:,} photos"
        guesses: dict[str, np.ndarray] = {}
        for measure in (PLAIN, *countermeasures):
            started = time.perf_counter()
            guesses[measure] = np.concatenate([one_training(each, measure, changes) for each in drawn])
            yield f"  {measure} done, {time.perf_counter() - started:.0f} s"
        yield from compared(drawn, guesses)


def compared(drawn: list[HumanLabels], guesses: dict[str, np.ndarray]) -> Iterator[str]:
    given, true, rows = (
        np.concatenate([getattr(each, field) for each in drawn])
        for field in ("labels", "true_labels", "rows")
    )
    groups = rows.astype(str) if len(drawn) > 1 else None
    for measure, guess in guesses.items():
        right = [proportion_of_rows(guess == labels, groups=groups) for labels in (given, true)]
        shown = [f"{each.value:.4f} ({each.low:.4f} to {each.high:.4f})" for each in right]
        yield f"  {measure:<30} given {shown[0]}   true {shown[1]}"
        if measure != PLAIN:
            found = compare(guess == true, guesses[PLAIN] == true, groups=groups)
            yield f"    on true labels, against plain: {found.describe()}"


def one_training(drawn: HumanLabels, measure: str, changes: list[str]) -> np.ndarray:
    """(N,) likeliest classes, out of fold."""
    slug = "".join(letter if letter.isalnum() else "-" for letter in measure)
    plain = drawn.work / f"{drawn.name}-seed{drawn.seed}" / "plain-cross-entropy"
    own = [change.replace("{plain}", str(plain)) for change in COUNTERMEASURES[measure]]
    trained = kiyome.train(
        drawn.table,
        images=drawn.work / "images",
        recipe="quick",
        changes=[f"image_size={IMAGE_SIZE}", *own, *changes],
        output=plain.with_name(slug),
        seed=drawn.seed,
        cache_folder=drawn.work / "cache",
    )
    return np.asarray(trained.predictions.pred_probs).argmax(axis=1)


def human_labels(work: Path, name: str, seed: int, num_photos: int) -> HumanLabels:
    """The rows and labels of a seed; photos and table are written where they are not there yet."""
    with np.load(SHARED_DATA / "cifar10/cifar10n_labels.npz") as stored:
        labels, true_labels = (stored[FILES[key]].astype(np.int64) for key in (name, "true"))
    rows = np.sort(np.random.default_rng(seed).permutation(len(labels))[:num_photos])
    unpack(work / "images", rows)
    drawn = HumanLabels(
        work=work, name=name, seed=seed, rows=rows, labels=labels[rows], true_labels=true_labels[rows]
    )
    lines = [f"{row:05d}.jpg,{label}" for row, label in zip(rows, drawn.labels, strict=True)]
    drawn.table.write_text("\n".join(["image_id,label", *lines]))
    return drawn


def unpack(folder: Path, rows: np.ndarray) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with np.load(SHARED_DATA / "cifar10/cifar10_jpeg.npz") as stored:
        data, ends = stored["train_jpeg"], stored["train_offsets"]
    for row in rows.tolist():
        path = folder / f"{row:05d}.jpg"
        if not path.exists():
            path.write_bytes(data[ends[row] : ends[row + 1]].tobytes())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument(
        "--countermeasures", nargs="+", default=list(DEFAULT), choices=[*COUNTERMEASURES], metavar="NAME"
    )
    parser.add_argument("--num-photos", type=int, default=NUM_PHOTOS)
    parser.add_argument("--changes", nargs="*", default=[], help="to the recipe, key=value")
    asked = parser.parse_args()
    show(
        __file__,
        report(asked.work, asked.seeds, asked.countermeasures, asked.num_photos, asked.changes),
        "torch",
        "timm",
        "accelerate",
    )
