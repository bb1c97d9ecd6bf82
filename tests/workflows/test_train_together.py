"""Several processes train what one does: the same numbers, and everything told, written and noted once."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from kiyome.artifacts.predictions import Predictions
from kiyome.artifacts.run import verify_run
from kiyome.experiments import read_diary
from kiyome.testing import write_digits
from kiyome.workflows.train import train

BATCHNORM_AND_DROPOUT_REST = ("freeze_batchnorm=1.0", "drop_path=0.0")
"""Statistics of half a batch are not those of a whole one, and each process drops its own."""
LEARNS = (
    *("architecture=tiny", "image_size=32", "epochs=6", "learning_rate=0.05", "precision=float32"),
    *("num_folds=3", "views=1", "plain_last=0", "augment.scale=[0.8,1.0]", "augment.horizontal_flip=0"),
    *BATCHNORM_AND_DROPOUT_REST,
)
PLAIN = ("batch_size=11",)
"""58 rows: five batches of 6 + 5, and one of three rows, too small to share."""
NESTED = (
    *("batch_size=19", "loss=early_learning", "loss_options={}", "soft_labels=nested"),
    *("leave_out=nested", "flag_method=confident_learning", "max_left_out=0.9999"),
)
TORCHRUN = ("torch.distributed.run", "--nproc-per-node", "2")
ACCELERATE = ("accelerate.commands.launch", "--multi_gpu", "--num_processes", "2")  # `--cpu` starts one
TOLERANCE = 1e-5
"""Of probabilities: sums in another order, in float32."""


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """87 photos of three digits, some of them with a wrong label."""
    folder = tmp_path_factory.mktemp("digits") / "data"
    write_digits(folder, num_photos=300, side=32)
    head, *rows = (folder / "train.csv").read_text().splitlines()
    kept = [row for row in rows if row.rpartition(",")[2] in "012"]
    (folder / "train.csv").write_text("\n".join([head, *kept, ""]))
    return folder


def launched(launcher, data, changes, output):
    """What `kiyome train --json` said to stdout and to stderr."""
    verb = ["-m", "kiyome", "train", data, *changes, "--output", output, "--tracker", "tensorboard", "--json"]
    environment = {**os.environ, "KIYOME_CACHE": str(output.parent / "cache"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", *launcher, *verb],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def files_of(folder):
    """How many files of each kind, by the folder that they lie in."""
    return Counter(str(path.parent.relative_to(folder)) for path in folder.rglob("*.*") if path.is_file())


@pytest.mark.slow
@pytest.mark.parametrize(("launcher", "own"), [(TORCHRUN, PLAIN), (ACCELERATE, NESTED)])
def test_two_processes_train_what_one_does(digits, tmp_path, launcher, own):
    pytest.importorskip("tensorboard")
    one = train(
        digits,
        changes=[*LEARNS, *own],
        output=tmp_path / "one",
        cache_folder=tmp_path / "cache",
        trackers=["tensorboard"],
    )
    answer, told = launched(launcher, digits, [*LEARNS, *own], tmp_path / "two")
    seals = [json.loads(path.read_text()) for path in (tmp_path / "two").rglob("member.json")]
    assert len(seals) == (6 if own is NESTED else 3)
    assert {seal["processes"] for seal in seals} == {2}

    verify_run(tmp_path / "two")
    two = Predictions.load(tmp_path / "two" / "predictions", one.table).pred_probs
    np.testing.assert_allclose(two, one.predictions.pred_probs, atol=TOLERANCE)
    assert two.std(axis=0).min() > 1000 * TOLERANCE  # else anything would be equal
    for name in ("area_under_margin", "mean_loss", "wrong_share", "passes"):
        ours, theirs = (column(tmp_path / run / "training_dynamics.csv", name) for run in ("one", "two"))
        np.testing.assert_allclose(ours, theirs, atol=1e-3)

    assert json.loads(answer)["rows"] == 87  # one answer: the other process says nothing
    for seal in seals:
        assert told.count(f"{seal['member']}  done") == 1
        assert told.count(f"{seal['member']}  epoch 6/6") == 1
    lines = [
        json.loads(line)["epoch"] for line in (tmp_path / "two" / "metrics.jsonl").read_text().splitlines()
    ]
    assert lines == [1, 2, 3, 4, 5, 6] * 3
    tracked = [sum(files_of(tmp_path / run / "tracking").values()) for run in ("one", "two")]
    assert tracked[0] == tracked[1] > 0
    assert [entry.run for entry in read_diary(tmp_path)] == ["one", "two"]
    assert not read_diary(tmp_path)[1].resumed


def column(path: Path, name: str):
    """Numbers of a CSV file."""
    head, *rows = (line.split(",") for line in path.read_text().splitlines())
    return np.array([float(row[head.index(name)] or "nan") for row in rows])
