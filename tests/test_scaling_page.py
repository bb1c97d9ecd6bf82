"""The commands of docs/scaling.md, as they stand there, on small photos: engines end with equal members."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from kiyome.testing import write_digits

PAGE = Path(__file__).parents[1] / "docs" / "scaling.md"
SMALL = (
    *("architecture=tiny", "image_size=32", "epochs=2", "batch_size=20", "precision=float32"),
    *("num_folds=2", "views=1", "plain_last=0", "drop_path=0.0"),
)
ENDINGS = {"train": SMALL, "find": ("--backbone", "tiny")}
LAUNCHERS = {"torchrun": ["torch.distributed.run"], "accelerate": ["accelerate.commands.accelerate_cli"]}


def commands() -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return [line for line in lines if not line.startswith("pip install")]


def run(command: str, folder: Path) -> None:
    first, *words = shlex.split(command)
    verb = next(word for word in words if word in ENDINGS)
    started = [sys.executable, "-m", *LAUNCHERS.get(first, ["kiyome"]), *words, *ENDINGS[verb]]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "KIYOME_CACHE": str(folder / "cache")}
    done = subprocess.run(
        started, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, f"{command}\n{done.stderr}"


@pytest.mark.slow
def test_every_command_of_the_page_runs_and_members_are_the_same(tmp_path):
    write_digits(tmp_path / "photos", num_photos=120, side=32)
    for command in commands():
        run(command, tmp_path)
    seals = {
        folder.name: {
            path.parent.name: json.loads(path.read_text())["files"] for path in folder.rglob("member.json")
        }
        for folder in (tmp_path / "runs").iterdir()
        if folder.is_dir() and folder.name != "found"
    }
    assert set(seals) == {"processes", "ray", "slurm", "apart", "together", "launched"}
    assert all(len(members) == 2 for members in seals.values())
    assert seals["processes"] == seals["ray"] == seals["slurm"] == seals["apart"]
    assert seals["together"] != seals["apart"]  # BatchNorm sees half a batch: they could differ


def test_the_page_names_every_engine():
    text = "\n".join(commands())
    assert all(f"--executor {name}" in text for name in ("processes:2", "ray", "slurm:local"))
    assert "torchrun" in text
