"""What every benchmark says of itself: the machine, the versions, and the source that made the figures."""

import hashlib
import os
import platform
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from itertools import chain
from pathlib import Path

HERE = Path(__file__).parent
SHARED_DATA = HERE.parents[1] / "shared" / "data"


def show(script: str, lines: Iterable[str], *packages: str) -> None:
    """Print the lines as they come, and keep them in results/ under the script's name."""
    kept = []
    for line in chain(_origin(Path(script), packages), lines):
        print(line, flush=True)
        kept.append(line)
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    (results / f"{Path(script).stem}.txt").write_text("\n".join(kept) + "\n")


def _origin(script: Path, packages: Iterable[str]) -> Iterator[str]:
    digest = hashlib.sha256(script.read_bytes()).hexdigest()[:12]
    yield f"{script.name} {digest}; kiyome {version('kiyome')}; {platform.machine()} {platform.system()}, "
    yield (
        f"{len(os.sched_getaffinity(0))} cores ({_processor()}), load {os.getloadavg()[0]:.1f}, "
        + ", ".join(
            [f"Python {platform.python_version()}", *(f"{name} {_version(name)}" for name in packages)]
        )
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "unknown")
