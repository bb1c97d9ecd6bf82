"""Do two versions of the source make the same files? Run `python benchmarks/same_results.py REF`.

Each version runs the same commands on the same 300 digits, and every file of the run folders is compared; of
JSON the numbers only, since keys may be renamed. Pages and manifests hold words and times and are left out.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import measured
from kiyome.testing import write_digits

ROOT = Path(__file__).parents[1]
TABLE = "runs/photos/table.parquet --pred-probs runs/photos/predictions/pred_probs.npy"
COMMANDS = (
    "find digits --backbone tiny -o runs/photos",
    f"find {TABLE} -o runs/arrays",
    f"find {TABLE} --method prune_by_noise_rate -o runs/pruned",
    "curate runs/photos --action drop -o runs/dropped",
    "train runs/photos/table.parquet --recipe quick.toml loss=gce -o runs/gce",
    "train runs/photos/table.parquet --recipe quick.toml loss=sce -o runs/sce",
    "blend runs/gce runs/sce -o runs/blend",
    "stack runs/gce runs/sce -o runs/stack",
    "calibrate runs/gce -o runs/calibrated",
    "evaluate runs/gce --against runs/sce",
    "audit-sample runs/gce --rows 50 -o runs/sample",
)
FOR_PEOPLE = {"run.json", "diary.jsonl", "signature.json"}


def main(ref: str) -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        before, now = Path(folder) / "before", Path(folder) / "now"
        source = Path(folder) / "source"
        subprocess.run(["git", "worktree", "add", "-q", "--detach", source, ref], cwd=ROOT, check=True)
        try:
            made = [_run(source / "src", before), _run(ROOT / "src", now)]
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", source], cwd=ROOT, check=True)
        for (command, was), (_, here) in zip(*made, strict=True):
            verdict = "same" if was == here else "OTHER"
            yield f"{verdict:5} {len(was):4} numbers of the answer  kiyome {command}"
        names = sorted({*_files(before), *_files(now)})
        other = [name for name in names if _digest(before / name) != _digest(now / name)]
        yield f"{len(names) - len(other)} of {len(names)} files are the same bytes as at {ref}"
        yield from (f"OTHER  {name}" for name in other)


def _run(source: Path, folder: Path) -> list[tuple[str, list[str]]]:
    """Every command with the numbers of its JSON answer, sorted: names of keys may change."""
    folder.mkdir()
    write_digits(folder / "digits", num_photos=300)
    (folder / "quick.toml").write_text(
        'architecture = "tiny"\npretrained = false\nimage_size = 32\nepochs = 2\nnum_folds = 3\n'
    )
    environment = os.environ | {
        "PYTHONPATH": str(source),
        "KIYOME_CACHE": str(folder / "cache"),
        "OMP_NUM_THREADS": "1",
    }
    return [(command, _answer(command, folder, environment)) for command in COMMANDS]


def _answer(command: str, folder: Path, environment: dict[str, str]) -> list[str]:
    words = command.split()
    shown = subprocess.run(
        [sys.executable, "-m", "kiyome", *words, "--json"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    if shown.returncode:
        raise SystemExit(f"kiyome {command}\n{shown.stdout}{shown.stderr}")
    return sorted(_numbers(json.loads(shown.stdout)))


def _numbers(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from _numbers(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _numbers(inner)
    elif isinstance(value, int | float):
        yield repr(value)


def _files(folder: Path) -> list[str]:
    found = (path.relative_to(folder) for path in (folder / "runs").rglob("*") if path.is_file())
    return [
        str(path)
        for path in found
        if path.suffix != ".html" and path.name not in FOR_PEOPLE and ".lock" not in path.name
    ]


def _digest(path: Path) -> str:
    if not path.is_file():
        return "missing"
    content = path.read_bytes()
    if path.suffix == ".json":
        content = "\n".join(sorted(_numbers(json.loads(content)))).encode()
    return hashlib.sha256(re.sub(rb"seconds.*", b"", content)).hexdigest()


if __name__ == "__main__":
    measured.show(__file__, main(sys.argv[1] if len(sys.argv) > 1 else "HEAD"), "numpy", "torch")
