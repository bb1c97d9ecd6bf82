"""lite0 in int8 against float32: photos a second, and what `kiyome find` ranks by the features.

    ONEDNN_MAX_CPU_ISA=AVX2 python benchmarks/int8.py WORK [--seeds 1 2] [--sets NAME ...]

The variable holds OpenVINO to AVX2 on a processor that has more; only means over a map still take AVX-512.
Speed is photos a second of CPU time, median of rounds in which the two take turns. Sets, labels and noise are
those of benchmarks/heads.py; folds are the same for both. Changes are paired bootstraps over rows, averaged
over seeds, with 95 % intervals. WORK keeps features.
"""

import argparse
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.metrics import average_precision_score

import heads
import kiyome
from kiyome.features import cross_fit_head
from kiyome.folds import assign_folds
from kiyome.models import load_backbone
from measured import show

NAMES = ("lite0@f32", "lite0@int8")

NUM_ROUNDS = 9
NUM_TIMED = 64
NUM_DRAWS = 200
NUM_PHOTOS = 8_000
heads.CIFAR_ROWS = slice(8_000, 8_000 + NUM_PHOTOS)
SETS = ("aggre", "random_label1", "digits", "elpv", "mango by photo")


class Ranking(NamedTuple):
    """Which rows are wrong, and their suspicion by float32 and by int8."""

    wrong: np.ndarray
    suspicions: tuple[np.ndarray, ...]

    def gain(self, rows: np.ndarray | slice = slice(None)) -> float:
        """In average precision, on some rows."""
        float32, int8 = (average_precision_score(self.wrong[rows], each[rows]) for each in self.suspicions)
        return float(int8 - float32)


def report(work: Path, seeds: list[int], names: list[str]) -> Iterator[str]:
    """The lines to print."""
    yield f"Processor held to {os.environ.get('ONEDNN_MAX_CPU_ISA', 'nothing')}"
    yield from speeds()
    for name in names:
        yield change(name, [ranked(work, name, seed) for seed in seeds])


def speeds() -> Iterator[str]:
    backbones = [load_backbone(name) for name in NAMES]
    crops = np.random.default_rng(0).integers(0, 256, (NUM_TIMED, 224, 224, 3), np.uint8)
    rates = []
    for _ in range(NUM_ROUNDS + 1):
        started = [time.process_time()]
        for backbone in backbones:
            backbone.embed(crops)
            started.append(time.process_time())
        rates.append(NUM_TIMED / np.diff(started))
    kept = np.array(rates[1:])
    for backbone, own in zip(backbones, kept.T, strict=True):
        spread = f"({own.min():.0f} to {own.max():.0f})"
        yield f"{backbone.engine:<24}{np.median(own):>5.0f} photos/s a core {spread}"
    ratio = kept[:, 1] / kept[:, 0]
    yield f"ratio {np.median(ratio):.2f} ({ratio.min():.2f} to {ratio.max():.2f}), {NUM_ROUNDS} rounds"


def ranked(work: Path, name: str, seed: int) -> Ranking:
    suspicions = []
    for heads.BACKBONE in NAMES:
        photos = heads.SETS[name](work / heads.BACKBONE, NUM_PHOTOS, seed)
        folds = assign_folds(photos.labels, groups=photos.groups, seed=seed)
        num_classes = int(photos.labels.max()) + 1
        probs = cross_fit_head(photos.features, photos.labels, folds, num_classes=num_classes).pred_probs
        suspicions.append(-kiyome.label_quality(photos.labels, probs))
    return Ranking(photos.labels != photos.true_labels, tuple(suspicions))


def change(name: str, rankings: list[Ranking]) -> str:
    rng = np.random.default_rng(0)
    num_rows = len(rankings[0].wrong)
    gains = [each.gain() for each in rankings]
    drawn = [
        np.mean([each.gain(rng.integers(0, num_rows, num_rows)) for each in rankings])
        for _ in range(NUM_DRAWS)
    ]
    low, high = np.quantile(drawn, [0.025, 0.975])
    before = np.mean([average_precision_score(each.wrong, each.suspicions[0]) for each in rankings])
    by_seed = " ".join(f"{each:+.4f}" for each in gains)
    size = f"n = {len(rankings)} x {num_rows:,}"
    return (
        f"{name:<16}AP {before:.4f}, change {np.mean(gains):+.4f} ({low:+.4f} to {high:+.4f}); "
        f"by seed {by_seed}   {size}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(heads.SETS), metavar="NAME")
    asked = parser.parse_args()
    show(__file__, report(asked.work, asked.seeds, asked.sets), "openvino", "scikit-learn")
