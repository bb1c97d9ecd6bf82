"""A training killed by SIGKILL at random points, and started again each time, ends with the same bytes."""

import json
import subprocess
import sys

import pytest

from kiyome.artifacts.storage import sha256_of_file
from kiyome.artifacts.table_files import write_table

JOB = """
import json, os, random, signal, sys
from pathlib import Path
import numpy as np
import torch
torch.set_num_threads(1)
from kiyome.reading.read_table import read_table
from kiyome.images.pixel_cache import StoredSize, cache_photos
from kiyome.models.build import import_timm
from kiyome.workflows.cleaning import apply_nested_cleaning
from kiyome.training.cross_validate import cross_validate, plan_members
from kiyome.training.member import TrainingData
from kiyome.training.recipe import Recipe

table_file, images, base, soft_labels, how = *map(Path, sys.argv[1:4]), *sys.argv[4:]
table = read_table(table_file, images=images)
photos = cache_photos(table.photo_paths(), stored=StoredSize(side=32), folder=base / "cache")
recipe = Recipe.of(architecture="tiny", image_size=32, epochs=3, batch_size=16, precision="float32",
                dropout=0.2, ema_decay=0.9, average_last=2, loss="early_learning",
                augment={"scale": (0.7, 1.0)}, soft_labels=soft_labels)
data = TrainingData(table=table, photos=photos, targets=np.eye(10, dtype=np.float32)[table.labels],
                  in_training=np.ones(len(table), bool))
import_timm()  # once, and not once a process; nothing has been computed yet, so that forks are safe
EVENTS = "os.rename", "os.remove", "os.rmdir", "step"

def train(folder, kill_at):
    # Count what is written, renamed, removed, and each step of the optimizer; die at one of them.
    events = 0
    def count(event, arguments):
        nonlocal events
        if event in EVENTS or (event == "open" and arguments[1] in ("xb", "wb", "w")):
            events += 1
            if events == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(count)
    step = lambda *_: sys.audit("step")
    members = apply_nested_cleaning(plan_members([recipe], {recipe.name: data}), folder, on_progress=step)
    cross_validate(members, folder, on_progress=step)
    (base / "events").write_text(str(events))

def in_a_process(folder, kill_at=0):
    if not (child := os.fork()):
        try:
            train(folder, kill_at)
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

assert in_a_process(base / "whole") == 0
num_events, rng = int((base / "events").read_text()), random.Random(0)
if how == "five":
    # A third of all events at most, so that the kills meet all parts of the way.
    codes = [in_a_process(base / "killed", rng.randrange(1, num_events // 3)) for _ in range(5)]
    codes.append(in_a_process(base / "killed"))
else:
    codes = []
    for kill_at in range(1, num_events, 5):
        codes += [in_a_process(base / f"killed-{kill_at}", kill_at), in_a_process(base / f"killed-{kill_at}")]
print(json.dumps(codes))
"""


def files_of(folder):
    return {
        str(path.relative_to(folder)): sha256_of_file(path)
        for path in folder.rglob("*")
        if path.is_file() and path.suffix != ".lock"
    }


@pytest.fixture
def run(data, tmp_path):
    """A function that trains, is killed as it says, and returns the exit codes."""
    write_table(data.table, tmp_path / "table.csv")
    job = [sys.executable, "-c", JOB, tmp_path / "table.csv", data.table.root, tmp_path]

    def run(how, soft_labels=""):
        done = subprocess.run([*job, soft_labels, how], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.mark.parametrize("soft_labels", ["", "nested"])
def test_killed_five_times_ends_with_the_same_bytes(run, tmp_path, soft_labels):
    assert run("five", soft_labels) == [-9] * 5 + [0]
    files = files_of(tmp_path / "whole")
    assert files_of(tmp_path / "killed") == files
    assert any(name.startswith("nested/members/model-fold0+1-") for name in files) == (soft_labels != "")


@pytest.mark.slow
def test_killed_at_every_fifth_event_ends_with_the_same_bytes(run, tmp_path):
    codes = run("all")
    assert codes == [-9, 0] * (len(codes) // 2)
    folders = list(tmp_path.glob("killed-*"))
    assert len(folders) > 20
    for folder in folders:
        assert files_of(folder) == files_of(tmp_path / "whole"), folder.name
