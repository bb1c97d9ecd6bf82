"""Heads on a frozen network against fine-tuning, at equal folds: accuracy on true labels and CPU seconds.

    python benchmarks/frozen.py WORK [--sets NAME ...] [--seeds 0 1 2] [--variants NAME ...]

`leaves` is 1,600 mango leaves with 20 % class-dependent noise; `aggre` and `random_label1` are 2,000 photos
of CIFAR-10N with the labels of three people and of one. `quick` is the recipe (96 px; 64 px for CIFAR-10),
the others are the recipe `frozen` and changes to it. CPU seconds are of this process, with all its threads.
The pass through the frozen network is counted apart: all variants but `quick` share it, and so does
`kiyome find`. WORK keeps finished runs with their CPU seconds.
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import kiyome
from cifar10n import human_labels
from kiyome.evaluation.compare import compare
from kiyome.features import extract_features
from kiyome.models import load_backbone
from kiyome.reading.read_table import read_table
from measured import show
from noisy_leaves import noisy_leaves

NUM_CIFAR = 2000
PLAIN = ["loss_options={}"]
VARIANTS: dict[str, tuple[str, list[str]]] = {
    "quick": ("quick", []),
    "frozen": ("frozen", []),
    "frozen, cross entropy": ("frozen", [*PLAIN]),
    "frozen, gce": ("frozen", ["loss=gce"]),
    "frozen, elr": ("frozen", ["loss=elr"]),
    "frozen, clean": ("frozen", ["leave_out=nested"]),
}


def report(work: Path, sets: list[str], seeds: list[int], variants: list[str]) -> Iterator[str]:
    """The lines to print."""
    for name in sets:
        found: dict[str, list[tuple[np.ndarray, np.ndarray, float, dict[str, float]]]] = {}
        embedding = []
        for seed in seeds:
            table, images, given, true = labels_of(work, name, seed)
            embedding.append(embed(table, images, work / "cache"))
            for variant in variants:
                guesses, cpu, scores = one_training(work, name, seed, variant, table, images)
                found.setdefault(variant, []).append((guesses == given, guesses == true, cpu, scores))
        yield f"\n{name}: n = {len(seeds)} seeds of {len(given):,}; features {np.mean(embedding):.1f} CPU s"
        for variant, runs in found.items():
            accuracies = [np.array([run[kind].mean() for run in runs]) for kind in (0, 1)]
            words = [f"{each.mean():.4f} ({each.min():.4f} to {each.max():.4f})" for each in accuracies]
            seconds = np.mean([run[2] for run in runs])
            yield f"  {variant:<24} given {words[0]}   true {words[1]}   {seconds:.1f} CPU s"
            if variant != "quick" and "quick" in found:
                right, base = (np.concatenate([r[1] for r in rs]) for rs in (runs, found["quick"]))
                yield f"    on true labels, against quick: {compare(right, base).describe()}"


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
) -> tuple[np.ndarray, float, dict[str, float]]:
    """(N,) likeliest classes out of fold, CPU seconds, and the scores of each model."""
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
    pred_probs = np.asarray(trained.predictions.pred_probs)
    return pred_probs.argmax(axis=1), float(json.loads(kept.read_text())), dict(trained.scores)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--sets", nargs="+", default=["leaves", "aggre", "random_label1"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--variants", nargs="+", default=["quick", "frozen"], choices=[*VARIANTS])
    asked = parser.parse_args()
    show(__file__, report(asked.work, asked.sets, asked.seeds, asked.variants), "torch", "openvino")
