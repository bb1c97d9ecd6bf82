"""The commands of docs/offline.md in their order, on small photos, without a network."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import timm

from kiyome.artifacts.run import verify_run
from kiyome.testing import write_digits

PAGE = Path(__file__).parents[1] / "docs" / "offline.md"
SMALL = (
    "architecture=tiny pretrained=false image_size=32 epochs=2 batch_size=32 precision=float32 num_folds=3"
)
NEEDS_A_NETWORK = ("pip ", "from huggingface_hub")


def blocks(kaggle: Path) -> list[tuple[str, str]]:
    """Language and code of each block that needs no network, with its folders below `kaggle`."""
    found = re.findall(r"```(sh|python)\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    return [
        (language, code.replace("/kaggle", str(kaggle)))
        for language, code in found
        if not code.startswith(NEEDS_A_NETWORK)
    ]


def run(language: str, code: str, folder: Path) -> str:
    """What the block says, with trainings made small."""
    if language == "sh":
        code = re.sub(r"(kiyome train \S+)(?= --output)", rf"\1 {SMALL}", code)
        command = ["bash", "-euc", code.replace("kiyome ", f"{sys.executable} -m kiyome ")]
    else:
        command = [
            sys.executable,
            "-c",
            code.replace('output="runs', f'changes="{SMALL}".split(), output="runs'),
        ]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "KIYOME_CACHE": str(folder / "cache")}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, f"{code}\n{done.stderr}"
    return done.stdout


@pytest.mark.slow
def test_the_page_runs_from_top_to_bottom_without_a_network(tmp_path: Path) -> None:
    kaggle = tmp_path / "kaggle"
    working, earlier, weights = (kaggle / name for name in ("working", "input/earlier", "input/weights"))
    write_digits(kaggle / "input" / "photos", num_photos=120, side=32)
    for folder in (working, earlier, weights):
        folder.mkdir(parents=True)
    models, first, again, read_only, cell = blocks(kaggle)
    for name, architecture in {"b3": "tf_efficientnet_b3", "resnext50": "resnext50_32x4d"}.items():
        safetensors.torch.save_file(
            timm.create_model(architecture).state_dict(), weights / f"{name}.safetensors"
        )
    assert f'weights = "{weights / "b3.safetensors"}"' in run(*models, working)

    run(*first, working)
    sealed = verify_run(working / "runs" / "a")["files"]
    shutil.move(working / "runs", earlier / "runs")
    run(*again, working)
    assert verify_run(working / "runs" / "a")["files"] == sealed
    before = {path: path.stat().st_mtime_ns for path in earlier.rglob("*")}
    run(*read_only, working)
    assert (working / "submission.csv").is_file()
    assert {path: path.stat().st_mtime_ns for path in earlier.rglob("*")} == before
    run(*cell, working)
    assert verify_run(working / "runs" / "a")["files"] == sealed
