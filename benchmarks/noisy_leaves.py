"""1,600 mango leaves (MangoLeafBD, labels near clean) with 20 % class-dependent noise."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kiyome.noise.transition import class_dependent_transition, inject_label_noise
from mango_find import unpack
from measured import SHARED_DATA

NUM_PHOTOS, NOISE_RATE = 1600, 0.2
PLAIN = ["loss=cross_entropy", "loss_options={}"]
"""Changes to the recipe `quick` without any countermeasure."""


@dataclass(frozen=True, kw_only=True)
class NoisyLeaves:
    """One seed's rows and labels, on disk below `work`."""

    work: Path
    seed: int
    table: Path
    """image_id, label, group."""
    labels: np.ndarray
    """Given ones, in the table's order."""
    true_labels: np.ndarray

    @property
    def images(self) -> Path:
        """The folder of all photos."""
        return self.work / "images"

    @property
    def folder(self) -> Path:
        """Of this seed's runs; the plain one is called 0."""
        return self.work / f"seed{self.seed}"

    def scores(self, pred_probs: np.ndarray) -> tuple[float, float]:
        """Accuracy on given and on true labels."""
        guesses = np.asarray(pred_probs).argmax(axis=1)
        return float((guesses == self.labels).mean()), float((guesses == self.true_labels).mean())


def noisy_leaves(work: Path, seed: int) -> NoisyLeaves:
    """The rows and labels of a seed; photos and table are written where they are not there yet."""
    source = SHARED_DATA / "mango_leaf/mango_leaf_224.npz"
    work.mkdir(parents=True, exist_ok=True)
    if not (work / "images").is_dir():
        unpack(source, work / "images")
    with np.load(source) as stored:
        true_labels, groups = stored["label"].astype(np.int64), stored["group"]
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.permutation(len(true_labels))[:NUM_PHOTOS])
    labels = inject_label_noise(true_labels[rows], class_dependent_transition(8, NOISE_RATE, rng), rng)
    table = work / f"seed{seed}.csv"
    lines = [f"{row:04d}.jpg,{label},{groups[row]}" for row, label in zip(rows, labels, strict=True)]
    table.write_text("\n".join(["image_id,label,group", *lines]))
    return NoisyLeaves(work=work, seed=seed, table=table, labels=labels, true_labels=true_labels[rows])
