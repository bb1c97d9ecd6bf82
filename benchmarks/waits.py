"""How long a person waits for what should feel instant: the first word of the command line, the next list.

    python benchmarks/waits.py

Tests hold what makes these fast; time is measured here.
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter

import numpy as np

from kiyome.decisions.current import CurrentDecisions
from kiyome.decisions.items import ReviewItems, Secret
from kiyome.folds import assign_folds
from kiyome.reviewing.neighbors import Neighbors
from kiyome.reviewing.queue import Queue, QueueFilter
from measured import show


def lines() -> Iterator[str]:
    yield f"{'wait':<58} {'median':>9} {'of':>3}"
    for name, times, wait in waits():
        seconds = np.median([_seconds(wait) for _ in range(times)])
        yield f"{name:<58} {seconds * 1000:>6,.0f} ms {times:>3}"


def waits() -> Iterator[tuple[str, int, Callable[[], object]]]:
    """What is waited for, how often it is timed, and how it is done."""
    yield "kiyome --help", 11, lambda: subprocess.run(HELP, check=True, stdout=subprocess.DEVNULL)
    rng = np.random.default_rng(0)
    items = a_million_rows(rng)
    queue, current = Queue(items, Secret(key=b"k" * 32)), CurrentDecisions(items)
    asked = QueueFilter(order="suspicion", given="class 1", flagged=True, min_chance=0.2, state="open")
    queue.rows(asked, current)
    yield "1,000,000 rows of a review filtered and ordered", 21, lambda: queue.rows(asked, current)
    with tempfile.TemporaryDirectory() as folder:
        features = rng.normal(size=(100_000, 320)) / np.arange(1, 321)  # as of a network
        np.save(Path(folder) / "features.npy", features.astype(np.float16))
        neighbors = Neighbors(np.load(Path(folder) / "features.npy", mmap_mode="r"))
        yield "the 12 nearest of 100,000 rows x 320 features", 21, lambda: neighbors.of(7, k=12)
    labels, groups = rng.integers(20, size=100_000), rng.integers(30_000, size=100_000)
    yield "folds of 100,000 rows in 30,000 groups", 3, lambda: assign_folds(labels, groups=groups)


HELP = (sys.executable, "-m", "kiyome", "--help")


def a_million_rows(rng: np.random.Generator) -> ReviewItems:
    """A review of rows without photos, a tenth of them flagged."""
    num_rows, num_classes = 1_000_000, 5
    ids = [f"{row}.jpg" for row in range(num_rows)]
    given = rng.integers(num_classes, size=num_rows).astype(np.int32)
    chance = rng.random(num_rows)
    return ReviewItems(
        run="r", title="r", blind=False, audit=None, image_ids=ids, shown_ids=ids,
        class_names=tuple(f"class {number}" for number in range(num_classes)), fingerprint="0" * 64,
        table_content="", photo_root=Path(), photo_paths=[""] * num_rows, ranking=np.argsort(-chance),
        given_labels=given, suggested_labels=given, likely_labels=given, probability=chance,
        is_label_issue=chance > 0.9,
    )  # fmt: skip


def _seconds(wait: Callable[[], object]) -> float:
    begin = perf_counter()
    wait()
    return perf_counter() - begin


if __name__ == "__main__":
    show(__file__, lines(), "numpy")
