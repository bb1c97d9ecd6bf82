"""From photos of mango leaves to the list of wrong labels, against cleanlab on the same probabilities.

    python benchmarks/mango_find.py [FOLDER]

10 % class-dependent noise is injected into 4,000 photos of 8 classes (MangoLeafBD, labels near clean), then
`kiyome find` runs from the photos. Truth is the label before injection. Prints precision, recall and average
precision of both, three seeds, mean and spread.
"""

import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

import kiyome
from kiyome.noise.transition import class_dependent_transition, inject_label_noise
from measured import SHARED_DATA, show

SEEDS = range(3)


def report(data: Path) -> Iterator[str]:
    """The lines to print."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        true_labels = unpack(data / "mango_leaf/mango_leaf_224.npz", place / "images")
        runs = []
        for seed in SEEDS:
            started = time.perf_counter()
            runs.append(one_seed(place, true_labels, seed))
            yield f"seed {seed}: {time.perf_counter() - started:.0f} s; features are cached after the first"
    for name in runs[0]:
        values = np.array([run[name] for run in runs])
        yield f"{name:<46} mean {values.mean():.4f}  sd {values.std(ddof=1):.4f}  n = {len(values)} seeds"


def unpack(source: Path, folder: Path) -> np.ndarray:
    """True labels; photos lie in the folder, their groups in ``groups.txt``."""
    data = np.load(source)
    folder.mkdir()
    for row, (start, stop) in enumerate(zip(data["offsets"], data["offsets"][1:], strict=False)):
        (folder / f"{row:04d}.jpg").write_bytes(data["jpeg"][start:stop].tobytes())
    np.savetxt(folder.parent / "groups.txt", data["group"], fmt="%d")
    return data["label"].astype(np.int64)


def one_seed(place: Path, true_labels: np.ndarray, seed: int) -> dict[str, float]:
    from cleanlab.filter import find_label_issues as cleanlab_find
    from cleanlab.rank import get_label_quality_scores

    rng = np.random.default_rng(seed)
    labels = inject_label_noise(true_labels, class_dependent_transition(8, 0.1, rng), rng)
    groups = np.loadtxt(place / "groups.txt", dtype=int)
    rows = [
        f"{row:04d}.jpg,{label},{group}"
        for row, (label, group) in enumerate(zip(labels, groups, strict=True))
    ]
    table = place / f"seed{seed}.csv"
    table.write_text("\n".join(["image_id,label,group", *rows]))
    found = kiyome.find(
        table,
        images=place / "images",
        backbone="lite0",
        output=place / f"run{seed}",
        seed=seed,
        cache_folder=place / "cache",
    )
    wrong, pred_probs = labels != true_labels, np.asarray(found.pred_probs)
    theirs = cleanlab_find(labels, pred_probs)
    scores = get_label_quality_scores(labels, pred_probs)
    return {
        "out-of-fold accuracy on true labels": float((pred_probs.argmax(axis=1) == true_labels).mean()),
        "true noise rate": float(wrong.mean()),
        "kiyome estimated noise rate": found.noise_rate.value,
        "its band holds the truth": float(found.noise_rate.low <= wrong.mean() <= found.noise_rate.high),
        **quality("kiyome find", wrong, found.is_label_issue, found.label_quality),
        **quality(
            "kiyome find, --precision 0.95", wrong, at_precision(labels, pred_probs), found.label_quality
        ),
        **quality("cleanlab, same probabilities", wrong, theirs, scores),
    }


def at_precision(labels: np.ndarray, pred_probs: np.ndarray) -> np.ndarray:
    return kiyome.find_label_issues(labels, pred_probs, precision=0.95)


def quality(name: str, wrong: np.ndarray, flagged: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    from sklearn.metrics import average_precision_score

    return {
        f"{name}: precision": float(wrong[flagged].mean()),
        f"{name}: recall": float(flagged[wrong].mean()),
        f"{name}: average precision": float(average_precision_score(wrong, -scores)),
    }


if __name__ == "__main__":
    show(
        __file__,
        report(Path(sys.argv[1]) if len(sys.argv) > 1 else SHARED_DATA),
        "cleanlab",
        "openvino",
        "numpy",
    )
