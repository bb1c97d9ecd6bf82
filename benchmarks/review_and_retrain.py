"""What a review is worth: find, review the first rows of the queue, curate, find again.

    python benchmarks/review_and_retrain.py [FOLDER]

10 % class-dependent noise is injected into 4,000 photos of 8 classes (MangoLeafBD, labels near clean). A
script that knows the truth reviews the first rows of the queue, through the same queue, store and curation as
people do; then the head is fitted again on the new labels. Scores are out of fold, on all rows, against the
labels before injection. Three seeds, mean and spread; the last line is the ceiling, every label right.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

import kiyome
from kiyome.decisions.consensus import open_store
from kiyome.decisions.current import CurrentDecisions
from kiyome.decisions.items import ReviewItems, Secret, read_items
from kiyome.decisions.store import Decision
from kiyome.noise.transition import class_dependent_transition, inject_label_noise
from kiyome.reviewing.queue import Queue, QueueFilter
from mango_find import unpack
from measured import SHARED_DATA, show

SEEDS = range(3)
REVIEWED = (50, 100, 200, 400)
AT = 200
"""Rows reviewed where orders are compared."""

Scores = dict[str, dict[str, float]]


def report(data: Path) -> Iterator[str]:
    """The lines to print."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        true_labels = unpack(data / "mango_leaf/mango_leaf_224.npz", place / "images")
        runs: list[Scores] = []
        for seed in SEEDS:
            started = time.perf_counter()
            runs.append(one_seed(place, true_labels, seed))
            yield f"seed {seed}: {time.perf_counter() - started:.0f} s for {len(runs[-1])} rounds of find"
    yield f"n = {len(true_labels):,} photos, {len(runs)} seeds; mean (sd)"
    yield f"{'':<34}" + "".join(f"{name:>24}" for name in next(iter(runs[0].values())))
    for name in runs[0]:
        columns = [[run[name][column] for run in runs] for column in runs[0][name]]
        yield f"{name:<34}" + "".join(f"{np.mean(c):>15.4f} ({np.std(c, ddof=1):.4f})" for c in columns)
    yield "accuracy after less before, by seed:"
    before = [run["nothing reviewed"]["accuracy on true"] for run in runs]
    for name in list(runs[0])[1:]:
        gains = [run[name]["accuracy on true"] - was for run, was in zip(runs, before, strict=True)]
        told = "  ".join(f"{100 * gain:+.2f}" for gain in gains)
        mean, spread = 100 * np.mean(gains), 100 * np.std(gains, ddof=1)
        yield f"{name:<34}{told}  points; mean {mean:+.2f}, sd {spread:.2f}"


def one_seed(place: Path, true_labels: np.ndarray, seed: int) -> Scores:
    rng = np.random.default_rng(seed)
    labels = inject_label_noise(true_labels, class_dependent_transition(8, 0.1, rng), rng)
    first = find(place, write_labels(place, labels, f"seed{seed}.csv"), f"run{seed}", seed)
    scores = {"nothing reviewed": scored(first, true_labels)}
    items = read_items(first.folder)
    for order, rounds in (("suspicion", REVIEWED), ("gain", (AT,)), ("random", (AT,))):
        rows = Queue(items, Secret(key=b"random" + bytes([seed]))).rows(
            QueueFilter(order=order), CurrentDecisions(items)
        )
        store = f"sqlite:///{place}/{order}{seed}.sqlite"
        for start, stop in pairwise((0, *rounds)):
            review(first.folder, items, rows[start:stop], true_labels, store)
            curated = kiyome.curate(first.folder, store=store, output=place / f"{order}{seed}-{stop}")
            again = find(place, curated.folder / "table.parquet", f"again-{order}{seed}-{stop}", seed)
            scores[f"first {stop} by {order}"] = scored(again, true_labels)
    clean = find(place, write_labels(place, true_labels, f"clean{seed}.csv"), f"clean{seed}", seed)
    return {**scores, "every label right": scored(clean, true_labels)}


def write_labels(place: Path, labels: np.ndarray, name: str) -> Path:
    groups = np.loadtxt(place / "groups.txt", dtype=int)
    rows = [
        f"{row:04d}.jpg,{label},{group}"
        for row, (label, group) in enumerate(zip(labels, groups, strict=True))
    ]
    (place / name).write_text("\n".join(["image_id,label,group", *rows]))
    return place / name


def find(place: Path, table: Path, name: str, seed: int) -> kiyome.FindResult:
    return kiyome.find(
        table,
        images=place / "images",
        backbone="lite0",
        output=place / name,
        seed=seed,
        cache_folder=place / "cache",
    )


def review(folder: Path, items: ReviewItems, rows: np.ndarray, true_labels: np.ndarray, store: str) -> None:
    """Keep what is right and relabel the rest, as someone who knows would."""
    acts = []
    for row in rows.tolist():
        truth, given = true_labels[int(items.image_ids[row][:4])], int(items.given_labels[row])
        label = None if truth == given else items.class_names[truth]
        verdict = "keep" if label is None else "relabel"
        acts.append(Decision(image_id=items.image_ids[row], version=0, verdict=verdict, label=label))
    with open_store(folder, items, store) as opened:
        opened.append(
            acts,
            key=f"rows-{rows[0]}-{len(rows)}",
            reviewer="script",
            run=items.run,
            table_content=items.table_content,
            seen={},
        )


def scored(found: kiyome.FindResult, true_labels: np.ndarray) -> dict[str, float]:
    truth = true_labels[[int(image_id[:4]) for image_id in found.table.image_ids]]
    return {
        "accuracy on true": float((np.asarray(found.pred_probs).argmax(axis=1) == truth).mean()),
        "log loss on true": float(-np.log(found.pred_probs[np.arange(len(truth)), truth]).mean()),
        "wrong labels taught": float((found.table.labels != truth).mean()),
    }


if __name__ == "__main__":
    show(
        __file__,
        report(Path(sys.argv[1]) if len(sys.argv) > 1 else SHARED_DATA),
        "openvino",
        "numpy",
        "scikit-learn",
    )
