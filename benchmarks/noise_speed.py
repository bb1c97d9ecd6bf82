"""How fast the noise room is, and how much memory it takes, against cleanlab 2.9 on the same arrays.

    python benchmarks/noise_speed.py            all sizes; 15 minutes, 12 GB of memory for cleanlab's largest
    python benchmarks/noise_speed.py 50kx10     some of them

Calls alternate within a round, twice each, so that what else the machine does meets both; the faster of the
two counts. A ratio is cleanlab's figure over ours: the median over rounds, with the least and the largest.
Memory is the peak beyond what was resident before the call, in a process of its own, cleanlab's worker
processes left out. Masks are checked to be equal.
"""

import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from measured import show

ROUNDS = 7
LONG = 10**7  # rows, or a mapped file: one round must do


class Size(NamedTuple):
    """One row of the table."""

    num_rows: int
    num_classes: int
    mapped: bool = False


SIZES = {
    "50kx10": Size(50_000, 10),
    "1Mx10": Size(1_000_000, 10),
    "50kx1000": Size(50_000, 1000),
    "200kx1000": Size(200_000, 1000),
    "1Mx100": Size(1_000_000, 100),
    "20Mx5": Size(20_000_000, 5),
    "1Mx1000map": Size(1_000_000, 1000, mapped=True),
}


def write_table(size: Size, folder: Path) -> None:
    """Labels of which 15 % are wrong, and float32 predictions that are right on about 90 % of the truth."""
    rng, (N, K) = np.random.default_rng(0), size[:2]
    true = rng.integers(0, K, N)
    np.save(folder / "labels.npy", np.where(rng.random(N) < 0.15, rng.integers(0, K, N), true))
    file = np.lib.format.open_memmap(folder / "probs.npy", "w+", np.float32, (N, K))
    step = max(1, 2**22 // K)
    for start in range(0, N, step):
        logits = 1.5 * rng.standard_normal((min(step, N - start), K), dtype=np.float32)
        rows = np.arange(len(logits))
        logits[rows, true[start : start + step]] += (3 + np.log(K)) * rng.gamma(4, 0.35, len(rows))
        np.exp(logits, out=logits)
        logits /= logits.sum(axis=1, keepdims=True)
        file[start : start + step] = logits
    file.flush()


def read_table(size: Size, folder: Path) -> tuple[Any, Any]:
    """Labels and pred_probs, in memory or mapped."""
    labels = np.load(folder / "labels.npy")
    return labels, np.load(folder / "probs.npy", mmap_mode="r" if size.mapped else None)


def our_mask(labels: Any, probs: Any) -> Any:
    from kiyome.noise import find_label_issues

    return find_label_issues(labels, probs, method="prune_by_noise_rate")


def our_default(labels: Any, probs: Any) -> Any:
    from kiyome.noise import find_label_issues

    return find_label_issues(labels, probs)


def our_low_mask(labels: Any, probs: Any) -> Any:
    from kiyome.noise import find_label_issues

    return find_label_issues(labels, probs, method="low_self_confidence")


def our_scores(labels: Any, probs: Any) -> Any:
    from kiyome.noise import label_quality

    return label_quality(labels, probs, method="self_confidence")


def our_margins(labels: Any, probs: Any) -> Any:
    from kiyome.noise import label_quality

    return label_quality(labels, probs, method="normalized_margin")


def their_mask(labels: Any, probs: Any) -> Any:
    from cleanlab.filter import find_label_issues

    # two processes on a mapped file of 4 GB would each hold copies of it
    return find_label_issues(labels, probs, n_jobs=1 if isinstance(probs, np.memmap) else None)


def their_low_mask(labels: Any, probs: Any) -> Any:
    """The form made for large data; one job, which is the faster choice by far."""
    from cleanlab.experimental.label_issues_batched import find_label_issues_batched

    rows = find_label_issues_batched(labels=labels, pred_probs=probs, n_jobs=1, verbose=False)
    return np.isin(np.arange(len(labels)), rows)


def their_scores(labels: Any, probs: Any) -> Any:
    from cleanlab.rank import get_label_quality_scores

    return get_label_quality_scores(labels, probs)


def their_margins(labels: Any, probs: Any) -> Any:
    from cleanlab.rank import get_label_quality_scores

    return get_label_quality_scores(labels, probs, method="normalized_margin")


def sum_of_all(_labels: Any, probs: Any) -> Any:
    """One np.sum over the array on the same threads: what reading it costs."""
    from kiyome.noise.top_classes import over_blocks

    sums = []
    over_blocks(lambda block: sums.append(probs[block].sum()), probs, entries=2**20)
    return sum(sums)


Call = Callable[[Any, Any], Any]
# ours, theirs, and whether results must be equal; batched is an approximation, our default another method
PAIRS: dict[str, tuple[Call, Call, bool]] = {
    "mask: find_label_issues": (our_mask, their_mask, True),
    "mask: ..._batched": (our_low_mask, their_low_mask, False),
    "scores: self_confidence": (our_scores, their_scores, True),
    "scores: normalized_margin": (our_margins, their_margins, True),
    "mask: our default, theirs": (our_default, their_mask, False),
}


def seconds(call: Call, table: tuple[Any, Any]) -> tuple[float, float, Any]:
    """Wall and CPU seconds, those of worker processes included, and the result."""
    wall, cpu = time.perf_counter(), _cpu()
    result = call(*table)
    return time.perf_counter() - wall, _cpu() - cpu, result


def faster(call: Call, table: tuple[Any, Any]) -> tuple[float, float, Any]:
    """The faster of two calls."""
    return min((seconds(call, table) for _ in range(2)), key=lambda taken: taken[0])


def _cpu() -> float:
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def memory(name: str, call: Call, folder: Path) -> float:
    """Peak MB beyond what is resident before the call, in a new process."""
    command = [sys.executable, __file__, "--memory", name, call.__name__, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout)


def print_memory(name: str, call: str, folder: str) -> None:
    """Run one call and print what it took; compiled code and libraries are loaded before."""
    few = np.tile(np.eye(2, 10, dtype=np.float32), (50_000, 1))
    few[::3] = few[::3, ::-1]
    globals()[call](np.arange(100_000) % 2, few)
    table = read_table(SIZES[name], Path(folder))
    Path("/proc/self/clear_refs").write_text("5")  # the peak is what is resident now
    before = _status("VmRSS")
    globals()[call](*table)
    print(f"{_status('VmHWM') - before:.1f}")


def _status(field: str) -> float:
    found = re.search(rf"{field}:\s*(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) / 1000 if found else float("nan")


def ratio(pairs: list[tuple[float, float]]) -> str:
    """Theirs over ours: median and range."""
    ratios = [theirs / ours for ours, theirs in pairs]
    return f"{statistics.median(ratios):6.1f} ({min(ratios):.1f}-{max(ratios):.1f})"


def compare(name: str, folder: Path) -> Iterator[str]:
    """All pairs at one size."""
    size = SIZES[name]
    table = read_table(size, folder)
    rounds = 1 if size.num_rows >= LONG or size.mapped else ROUNDS
    sum_of_all(*table)
    reading = min(seconds(sum_of_all, table)[0] for _ in range(ROUNDS))
    yield (
        f"{name}: {table[1].nbytes / 1e6:.0f} MB, {rounds} rounds; one np.sum on the same threads"
        f" {reading * 1e3:.1f} ms, {table[1].nbytes / reading / 1e9:.1f} GB/s"
    )
    for what, (ours, theirs, equal) in PAIRS.items():
        if name in ("1Mx1000map", "20Mx5") and what.startswith("scores"):
            continue
        ours(*table)  # loads what is compiled
        walls, cpus = [], []
        for _ in range(rounds):
            our_wall, our_cpu, our_result = faster(ours, table)
            their_wall, their_cpu, their_result = (faster if rounds > 1 else seconds)(theirs, table)
            walls.append((our_wall, their_wall))
            cpus.append((our_cpu, their_cpu))
        same = float(np.mean(our_result == their_result))
        if equal and same != 1:
            raise SystemExit(f"{what} at {name}: {same:.6%} of rows agree")
        megabytes = memory(name, ours, folder), memory(name, theirs, folder)
        least = min(wall for wall, _ in walls)
        alike = "" if equal else f"; {same:.2%} of rows alike"
        a_million = megabytes[0] / size.num_rows * 1e6
        yield (
            f"  {what:26} wall {ratio(walls)}  CPU {ratio(cpus)}"
            f"  MB {megabytes[1]:.0f} / {megabytes[0]:.0f} ({a_million:.0f} a million rows)"
            f"  ours {least * 1e3:.1f} ms = {least / reading:.1f} sums{alike}"
        )


def first_call() -> Iterator[str]:
    """What compilation costs, in a cache that is empty, then full."""
    code = (
        "import time, numpy as np; t = time.perf_counter(); from kiyome.noise import find_label_issues;"
        "p = np.random.default_rng(0).dirichlet(np.ones(10), 50_000).astype(np.float32);"
        "u = time.perf_counter(); find_label_issues(p.argmax(1) * 3 % 10, p, method='prune_by_noise_rate');"
        "print(time.perf_counter() - u)"
    )
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "NUMBA_CACHE_DIR": cache}
        times = [
            float(subprocess.check_output([sys.executable, "-c", code], env=environment, text=True))
            for _ in range(3)
        ]
    yield (
        f"first call in a process (50k x 10, import of numba included): {times[0]:.1f} s where nothing is"
        f" compiled yet, {times[1]:.2f} and {times[2]:.2f} s from the cache"
    )


def report(names: list[str]) -> Iterator[str]:
    """All lines."""
    yield from first_call()
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            write_table(SIZES[name], Path(folder))
            yield from compare(name, Path(folder))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--memory"]:
        print_memory(*sys.argv[2:])
    else:
        show(__file__, report(sys.argv[1:] or list(SIZES)), "cleanlab", "numba", "numpy")
