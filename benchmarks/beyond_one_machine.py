"""What executors cost and bring: wrong labels of 20 million rows, members and features by two processes.

    python benchmarks/beyond_one_machine.py [noise] [members] [features]      all of them; ten minutes, 2 GB

Each figure is of one command in a process of its own, start included; commands alternate within a round. CPU
time is of the command and its workers, but not of Ray's daemons and theirs; wall is of the machine as loaded
as it was; peak memory is of the command's own process. Results are compared by hash.
"""

import hashlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from kiyome.artifacts.run import verify_run
from kiyome.executors import choose_executor
from kiyome.noise import find_label_issues, find_label_issues_in_files
from kiyome.testing import write_digits
from measured import show

ROUNDS = 3
NUM_ROWS, NUM_CLASSES, NUM_FILES = 20_000_000, 5, 10
NUM_PHOTOS = 240
RECIPE = (
    *("architecture=lite0", "pretrained=false", "image_size=64", "epochs=2", "batch_size=20", "num_folds=4"),
    *("precision=float32", "plain_last=0"),
)


def report(wanted: list[str]) -> Iterator[str]:
    """The lines to print."""
    with tempfile.TemporaryDirectory() as folder:
        for name in wanted or PARTS:
            yield from PARTS[name](Path(folder))


def noise(folder: Path) -> Iterator[str]:
    write_table(folder)
    yield f"\nWrong labels, {NUM_ROWS:,} x {NUM_CLASSES} float32 in {NUM_FILES} .npy files, adaptive"
    yield from compared("find", folder, ["one array", "here", "processes:2", "ray"])


def members(folder: Path) -> Iterator[str]:
    write_digits(folder / "digits", num_photos=NUM_PHOTOS, side=64)
    yield f"\nMembers: 4 of lite0 at 64 px, 2 epochs on {NUM_PHOTOS} photos, one compute thread each"
    yield from compared("train", folder, ["here", "processes:1", "processes:2"])


def features(folder: Path) -> Iterator[str]:
    if not (folder / "photos").exists():
        write_digits(folder / "photos", num_photos=1797, side=224)
    yield "\nFeatures: `find` on 1,797 photos of 224 px, lite0 under OpenVINO"
    yield from compared("embed", folder, ["here", "processes:1", "processes:2"])


def compared(what: str, folder: Path, executors: list[str]) -> Iterator[str]:
    """A line for each executor, over rounds in turn, and the ratios of the last two."""
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in executors}
    for number in range(ROUNDS):
        for name in executors:
            runs[name].append(measured(what, folder, name, number))
    for name, own in runs.items():
        memory = f"{max(run['peak'] for run in own):.2f} GB"
        wall, cpu = (spread([run[key] for run in own]) for key in ("wall", "cpu"))
        yield f"  {name:12} wall {wall} s, cpu {cpu} s, peak {memory}, n = {len(own)}"
    digests = {run["digest"] for own in runs.values() for run in own}
    yield f"  results: {'all equal by hash' if len(digests) == 1 else f'{len(digests)} DIFFERENT ONES'}"
    if "processes:1" in runs:
        one, two = runs["processes:1"], runs["processes:2"]
        ratios = [a["wall"] / b["wall"] for a, b in zip(one, two, strict=True)]
        yield f"  one process / two: wall {spread(ratios)}"


def measured(what: str, folder: Path, executor: str, number: int) -> dict[str, Any]:
    """What one command took, and a digest of its result."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, __file__, "--run", what, str(folder), executor, str(number)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "KIYOME_CACHE": str(folder / f"cache-{what}")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {**json.loads(done.stdout.splitlines()[-1]), "wall": time.perf_counter() - began, "cpu": cpu}


def run(what: str, folder: Path, executor: str, number: str) -> None:
    """Do it, in this process."""
    digest = {"find": find, "train": train, "embed": embed}[what](folder, executor, number)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(json.dumps({"digest": digest, "peak": peak}))


def find(folder: Path, executor: str, _: str) -> str:
    files = sorted(folder.glob("probs-*.npy")), sorted(folder.glob("labels-*.npy"))
    if executor == "one array":
        pred_probs, labels = (np.concatenate([np.load(path) for path in paths]) for paths in files)
        flagged = find_label_issues(labels, pred_probs)
    else:
        flagged = find_label_issues_in_files(*files, executor=choose_executor(executor))
    return hashlib.sha256(np.packbits(flagged)).hexdigest()


def train(folder: Path, executor: str, number: str) -> str:
    import torch

    from kiyome import train as train_members

    torch.set_num_threads(1)
    output = folder / f"run-{executor.replace(':', '-')}-{number}"
    train_members(folder / "digits", changes=RECIPE, output=output, executor=executor)
    files = verify_run(output)["files"]
    models = sorted((name, facts["sha256"]) for name, facts in files.items() if name.startswith("members/"))
    return hashlib.sha256(repr(models).encode()).hexdigest()


def embed(folder: Path, executor: str, number: str) -> str:
    from kiyome import find as find_labels

    name = f"{executor.replace(':', '-')}-{number}"
    output, cache = folder / f"found-{name}", folder / f"features-{name}"
    found = find_labels(
        folder / "photos", backbone="lite0", output=output, cache_folder=cache, executor=executor
    )
    return hashlib.sha256(np.asarray(found.scored.features).tobytes()).hexdigest()


def write_table(folder: Path) -> None:
    """Labels, a tenth of them wrong, and predictions in float32."""
    rng = np.random.default_rng(0)
    for number in range(NUM_FILES):
        size = NUM_ROWS // NUM_FILES
        true = rng.integers(NUM_CLASSES, size=size, dtype=np.int8)
        scores = rng.standard_normal((size, NUM_CLASSES), dtype=np.float32)
        scores[np.arange(size), true] += 3
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=1, keepdims=True)
        wrong = rng.random(size) < 0.1
        labels = np.where(wrong, rng.integers(NUM_CLASSES, size=size, dtype=np.int8), true)
        np.save(folder / f"probs-{number}.npy", scores)
        np.save(folder / f"labels-{number}.npy", labels)


def spread(values: list[float]) -> str:
    """The median with the least and the largest."""
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


PARTS: dict[str, Callable[[Path], Iterator[str]]] = {"noise": noise, "members": members, "features": features}

if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        run(sys.argv[2], Path(sys.argv[3]), *sys.argv[4:])
    else:
        show(__file__, report(sys.argv[1:]), "numpy", "numba", "torch", "openvino", "ray")
