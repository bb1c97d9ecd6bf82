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
from kiyome.noise.simulate import class_dependent_transition, inject_label_noise
from mango_find import unpack
from measured import SHARED_DATA, show

NUM_PHOTOS, NOISE_RATE = 1600, 0.2
PLAIN = ["loss=cross_entropy", "loss_options={}"]
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
    work.mkdir(parents=True, exist_ok=True)
    if not (work / "images").is_dir():
        unpack(SHARED_DATA / "mango_leaf/mango_leaf_224.npz", work / "images")
    with np.load(SHARED_DATA / "mango_leaf/mango_leaf_224.npz") as stored:
        true_labels, groups = stored["label"].astype(np.int64), stored["group"]
    scores: dict[str, list[tuple[float, float]]] = {name: [] for name in COUNTERMEASURES}
    for seed in seeds:
        for name in COUNTERMEASURES:
            scores[name].append(one_training(work, true_labels, groups, name, seed))
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


def one_training(
    work: Path, true_labels: np.ndarray, groups: np.ndarray, name: str, seed: int
) -> tuple[float, float]:
    """Accuracy out of fold on given and on true labels."""
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.permutation(len(true_labels))[:NUM_PHOTOS])
    labels = inject_label_noise(true_labels[rows], class_dependent_transition(8, NOISE_RATE, rng), rng)
    table = work / f"seed{seed}.csv"
    lines = [f"{row:04d}.jpg,{label},{groups[row]}" for row, label in zip(rows, labels, strict=True)]
    table.write_text("\n".join(["image_id,label,group", *lines]))
    folder = work / f"seed{seed}"
    place = folder / str(list(COUNTERMEASURES).index(name))
    plain = folder / "0"
    trained = kiyome.train(
        table,
        images=work / "images",
        recipe="quick",
        changes=[change.replace("{plain}", str(plain)) for change in COUNTERMEASURES[name]],
        output=place,
        seed=seed,
        cache_folder=work / "cache",
    )
    guesses = np.asarray(trained.predictions.pred_probs).argmax(axis=1)
    return float((guesses == labels).mean()), float((guesses == true_labels[rows]).mean())


if __name__ == "__main__":
    show(
        __file__,
        report(Path(sys.argv[1]), [int(seed) for seed in sys.argv[2:]] or [0, 1, 2]),
        "torch",
        "timm",
        "accelerate",
    )
