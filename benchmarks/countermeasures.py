"""What each way of not fitting too tightly does to accuracy, where the truth is known.

    python benchmarks/countermeasures.py WORK [SEED ...]

1,600 mango leaves (MangoLeafBD, labels near clean) get 20 % class-dependent noise; the recipe `quick` (96 px,
3 folds, 3 epochs, from EfficientNet-Lite0) is trained plain, with each countermeasure alone, and with several
together. Out of fold: accuracy against the given and against the true labels. About two minutes a training on
two cores; WORK keeps finished ones, so a second call goes on. Seeds 0, 1 and 2 if none are named.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import kiyome
from measured import show
from noisy_leaves import NUM_PHOTOS, PLAIN, NoisyLeaves, noisy_leaves

COUNTERMEASURES = {
    "plain cross entropy": PLAIN,
    "label smoothing 0.1": ["loss_options={label_smoothing=0.1}"],
    "bi-tempered 0.8, 1.4": ["loss=bi_tempered", "loss_options={t1=0.8, t2=1.4}"],
    "symmetric cross entropy": ["loss=symmetric_cross_entropy", "loss_options={}"],
    "generalized cross entropy": ["loss=generalized_cross_entropy", "loss_options={}"],
    "ELR": ["loss=early_learning", "loss_options={}"],
    "BatchNorm frozen, first half": [*PLAIN, "freeze_batchnorm=0.5"],
    "MixUp": [*PLAIN, "mixing=mix_up"],
    "4 views at prediction": [*PLAIN, "views=4"],
    "soft labels, 0.7 given": [*PLAIN, "soft_labels=global:{plain}"],
    "GCE, MixUp and 4 views": [
        "loss=generalized_cross_entropy",
        "loss_options={}",
        "mixing=mix_up",
        "views=4",
    ],
}


def report(work: Path, seeds: list[int]) -> Iterator[str]:
    """The lines to print."""
    scores: dict[str, list[tuple[float, float]]] = {name: [] for name in COUNTERMEASURES}
    for seed in seeds:
        leaves = noisy_leaves(work, seed)
        for name in COUNTERMEASURES:
            scores[name].append(one_training(leaves, name))
            yield f"  seed {seed}  {name:<30} given {scores[name][-1][0]:.4f}  true {scores[name][-1][1]:.4f}"
    yield f"n = {len(seeds)} seeds of {NUM_PHOTOS:,} photos; accuracy out of fold, mean and sd over seeds"
    plain = np.array(scores["plain cross entropy"])[:, 1]
    for name, values in scores.items():
        given, true = np.array(values).T
        gain = true - plain
        yield (
            f"{name:<30} given {given.mean():.4f} sd {_sd(given):.4f}"
            f"   true {true.mean():.4f} sd {_sd(true):.4f}"
            f"   less plain {gain.mean():+.4f} ({gain.min():+.4f} to {gain.max():+.4f})"
        )


def _sd(values: np.ndarray) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else float("nan")


def one_training(leaves: NoisyLeaves, name: str) -> tuple[float, float]:
    """Accuracy out of fold on given and on true labels."""
    plain = leaves.folder / "0"
    trained = kiyome.train(
        leaves.table,
        images=leaves.images,
        recipe="quick",
        changes=[change.replace("{plain}", str(plain)) for change in COUNTERMEASURES[name]],
        output=leaves.folder / str(list(COUNTERMEASURES).index(name)),
        seed=leaves.seed,
        cache_folder=leaves.work / "cache",
    )
    return leaves.scores(trained.predictions.pred_probs)


if __name__ == "__main__":
    show(
        __file__,
        report(Path(sys.argv[1]), [int(seed) for seed in sys.argv[2:]] or [0, 1, 2]),
        "torch",
        "timm",
        "accelerate",
    )
