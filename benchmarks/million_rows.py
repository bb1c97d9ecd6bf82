"""A million rows of predictions at hand: seconds and memory of whole commands, and where find spends them.

    python benchmarks/million_rows.py WORK

The table and a `.npy` of predictions are made below WORK, 1,000,000 rows of 10 classes, no photos. Each
command runs in a process of its own; its seconds on the clock and of the processor and its peak memory are
printed.
"""

import cProfile
import pstats
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

import numpy as np

from measured import show

NUM_ROWS, NUM_CLASSES, NUM_FOLDS = 1_000_000, 10, 5
COMMANDS = {
    "find": "find {work}/train.csv --pred-probs {work}/oof.npy -o {work}/run",
    "evaluate": "evaluate {work}/run",
    "curate": "curate {work}/run -o {work}/curated",
    "audit-sample": "audit-sample {work}/run -o {work}/audit",
}
PARTS = (
    "open_table",
    "examine",
    "write_table",
    "write_out_of_fold",
    "write_issue_files",
    "write_report",
    "note_run",
)


def make_data(work: Path) -> None:
    if (work / "oof.npy").is_file():
        return
    work.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    true = rng.integers(NUM_CLASSES, size=NUM_ROWS)
    given = np.where(rng.random(NUM_ROWS) < 0.1, rng.integers(NUM_CLASSES, size=NUM_ROWS), true)
    logits = rng.normal(size=(NUM_ROWS, NUM_CLASSES))
    logits[np.arange(NUM_ROWS), true] += 3
    probs = np.exp(logits)
    lines = (
        f"img_{row:07d}.jpg,class_{label},{row % NUM_FOLDS}\n" for row, label in enumerate(given.tolist())
    )
    with (work / "train.csv").open("w") as file:
        file.writelines(["image_id,label,fold\n", *lines])
    np.save(work / "oof.npy", (probs / probs.sum(axis=1, keepdims=True)).astype(np.float32))


def timed(command: str) -> str:
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), perf_counter()
    words = [sys.executable, "-c", MEASURED, *command.split()]
    memory = subprocess.run(words, check=True, capture_output=True, text=True).stderr.splitlines()[-1]
    seconds, after = perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return (
        f"{seconds:6.1f} s on the clock, {cpu:6.1f} s of the processor, {int(memory) / 2**20:.2f} GB at most"
    )


MEASURED = """
import resource, sys
from kiyome.cli import main
try:
    main()
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
"""


def parts_of_find(work: Path) -> Iterator[str]:
    """Seconds of the processor in each part, under a profiler, which makes Python's own loops slower."""
    from time import process_time

    from kiyome.workflows.find import find

    profile = cProfile.Profile(process_time)
    profile.runcall(find, work / "train.csv", pred_probs=work / "oof.npy", output=work / "run")
    stats = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    for part in PARTS:
        seconds = sum(row[3] for (_, _, name), row in stats.items() if name == part)
        yield f"  find: {part:18} {seconds:6.1f} s"


def report(work: Path) -> Iterator[str]:
    make_data(work)
    yield f"{NUM_ROWS:,} rows x {NUM_CLASSES} classes, predictions as .npy, no photos"
    for verb, command in COMMANDS.items():
        subprocess.run(["rm", "-rf", *(str(work / name) for name in ("audit", "curated"))], check=True)
        yield f"{verb:13} {timed(command.format(work=work))}"
    yield from parts_of_find(work)


if __name__ == "__main__":
    show(__file__, report(Path(sys.argv[1])), "numpy", "pyarrow")
