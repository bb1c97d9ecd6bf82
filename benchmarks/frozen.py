"""Heads on a frozen network against fine-tuning, at equal folds: accuracy on true labels and CPU seconds.

    python benchmarks/frozen.py WORK [--sets NAME ...] [--seeds 0 1 2] [--variants NAME ...]

`leaves` is 1,600 mango leaves with 20 % class-dependent noise; `aggre` and `random_label1` are 2,000 photos
of CIFAR-10N with the labels of three people and of one. `quick` is the recipe (96 px; 64 px for CIFAR-10),
the others are the recipe `frozen` and changes to it. CPU seconds are of this process, with all its threads,
without the program's start (4 s for torch and timm, the same for all) and without the pass through the
frozen network, which all variants but `quick` share, as does `kiyome find`. Intervals are of photos: one that
several seeds drew counts once. Balanced accuracy and classes never predicted are of true labels. "chosen" is
the variant of `frozen` with the best accuracy on given labels. WORK keeps finished runs with their seconds.
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

import kiyome
from cifar10n import human_labels
from kiyome.evaluation.compare import compare
from kiyome.evaluation.metrics import balanced_accuracy, confusion_counts
from kiyome.features import extract_features
from kiyome.models import load_backbone
from kiyome.models.timm_backbone import import_timm
from kiyome.reading.read_table import read_table
from measured import show
from noisy_leaves import noisy_leaves

NUM_CIFAR = 2000
ONE_SEED = ["two-layer.seeds=[0]"]
VARIANTS: dict[str, tuple[str, list[str]]] = {
    "quick": ("quick", []),
    "frozen": ("frozen", []),
    "one seed": ("frozen", [*ONE_SEED]),
    "one seed, cross entropy": ("frozen", [*ONE_SEED, "loss_options={}"]),
    "one seed, gce": ("frozen", [*ONE_SEED, "loss=gce"]),
    "one seed, elr": ("frozen", [*ONE_SEED, "loss=elr"]),
    "one seed, clean": ("frozen", [*ONE_SEED, "leave_out=nested"]),
}


class Trained(NamedTuple):
    """One training: whether each row is right on given and on true labels, and what else counts."""

    given: np.ndarray
    true: np.ndarray
    photos: np.ndarray
    """Ids, since several seeds may draw one photo."""
    balanced: float
    num_never: int
    """Classes that are never predicted."""
    seconds: float


def report(work: Path, sets: list[str], seeds: list[int], variants: list[str]) -> Iterator[str]:
    """The lines to print."""
    import_timm()
    for name in sets:
        found: dict[str, list[Trained]] = {variant: [] for variant in variants}
        embedding = []
        for seed in seeds:
            table, images, given, true = labels_of(work, name, seed)
            embedding.append(embed(table, images, work / "cache"))
            photos = read_table(table, images=images).image_ids
            for variant in variants:
                guesses, seconds = one_training(work, name, seed, variant, table, images)
                confusion = confusion_counts(true, guesses, int(true.max()) + 1)
                found[variant].append(
                    Trained(
                        guesses == given,
                        guesses == true,
                        photos,
                        balanced_accuracy(confusion),
                        int((confusion.sum(axis=0) == 0).sum()),
                        seconds,
                    )
                )
        yield f"\n{name}: n = {len(seeds)} seeds of {len(given):,}; features {np.mean(embedding):.1f} CPU s"
        yield from described(found)


def described(found: dict[str, list[Trained]]) -> Iterator[str]:
    """The lines on one set."""
    for variant, runs in found.items():
        scores = [[np.mean(getattr(run, kind)) for run in runs] for kind in ("given", "true", "balanced")]
        words = [f"{np.mean(each):.4f} ({min(each):.4f} to {max(each):.4f})" for each in scores]
        never = " ".join(str(run.num_never) for run in runs)
        seconds = np.mean([run.seconds for run in runs])
        yield f"  {variant:<24} given {words[0]}   true {words[1]}   {seconds:.1f} CPU s"
        yield f"    balanced {words[2]}; classes never predicted, by seed: {never}"
        for base in ("quick", "one seed"):
            if base in found and variant not in (base, "quick"):
                yield f"    on true labels, against {base}: {gain(runs, found[base])}"
    ours = {variant: runs for variant, runs in found.items() if variant != "quick"}
    for seed in range(len(next(iter(found.values())))) if len(ours) > 1 else ():
        chosen = max(ours, key=lambda variant: ours[variant][seed].given.mean())
        best = max(ours, key=lambda variant: ours[variant][seed].true.mean())
        loss = 100 * (ours[best][seed].true.mean() - ours[chosen][seed].true.mean())
        yield f"  run {seed + 1}: chosen {chosen}; best {best}, {loss:.2f} points above it"


def gain(runs: list[Trained], base: list[Trained]) -> str:
    """The difference on true labels, with the interval of photos, and by seed."""
    right, before, photos = (
        np.concatenate(each)
        for each in ([run.true for run in runs], [run.true for run in base], [run.photos for run in runs])
    )
    groups = photos if len(runs) > 1 else None
    single = " ".join(
        f"{100 * (run.true.mean() - other.true.mean()):+.2f}" for run, other in zip(runs, base, strict=True)
    )
    return f"{compare(right, before, groups=groups).describe()}; by seed {single}"


def labels_of(work: Path, name: str, seed: int) -> tuple[Path, Path, np.ndarray, np.ndarray]:
    """Table, folder of photos, given and true labels."""
    if name == "leaves":
        leaves = noisy_leaves(work / "leaves", seed)
        return leaves.table, leaves.images, leaves.labels, leaves.true_labels
    (work / "cifar").mkdir(parents=True, exist_ok=True)
    drawn = human_labels(work / "cifar", name, seed, NUM_CIFAR)
    return drawn.table, work / "cifar" / "images", drawn.labels, drawn.true_labels


def embed(table: Path, images: Path, cache: Path) -> float:
    """CPU seconds of the pass through the frozen network; stored with the features."""
    kept = cache / f"{table.stem}-{table.parent.name}.json"
    if not kept.is_file():
        paths, began = read_table(table, images=images).photo_paths(), time.process_time()
        extract_features(paths, load_backbone("lite0"), cache_folder=cache)
        kept.write_text(json.dumps(time.process_time() - began))
    return float(json.loads(kept.read_text()))


def one_training(
    work: Path, name: str, seed: int, variant: str, table: Path, images: Path
) -> tuple[np.ndarray, float]:
    """(N,) likeliest classes out of fold, and CPU seconds."""
    recipe, changes = VARIANTS[variant]
    size = ["image_size=64"] if variant == "quick" and name != "leaves" else []
    run = work / "runs" / f"{name}-{seed}" / "".join(c if c.isalnum() else "-" for c in variant)
    kept, began = run.with_suffix(".json"), time.process_time()
    trained = kiyome.train(
        table,
        images=images,
        recipe=recipe,
        changes=["num_folds=3", "precision=float32", *size, *changes],
        output=run,
        seed=seed,
        cache_folder=work / "cache",
    )
    if not kept.is_file():
        kept.write_text(json.dumps(time.process_time() - began))
    return np.asarray(trained.predictions.pred_probs).argmax(axis=1), float(json.loads(kept.read_text()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--sets", nargs="+", default=["leaves", "aggre", "random_label1"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--variants", nargs="+", default=[*VARIANTS], choices=[*VARIANTS])
    asked = parser.parse_args()
    show(__file__, report(asked.work, asked.sets, asked.seeds, asked.variants), "torch", "openvino")
