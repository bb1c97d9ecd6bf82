"""A process to fork from, whose children meet the fault that a test asks for."""

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # tests find faulty_verbs there

from faulty_verbs import VERBS, Sweep, anew, contents_of, write_table  # noqa: E402

from kiyome.testing import write_digits  # noqa: E402


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a forked process ended."""

    code: int
    """Its exit code, or minus the signal that killed it."""
    calls: int
    """How many calls of the kind of its fault it made."""
    out: str
    err: str


@dataclass(frozen=True, kw_only=True)
class Forks:
    """Verbs and scripts in forked processes, each with the fault that is asked for."""

    server: subprocess.Popen

    def run(self, *argv, folder, fault="none", number=0, log=None, clock=0, **environment) -> Ended:
        """The end of `argv`, whose call `number` below `folder` meets the fault."""
        asked = {
            "argv": [str(each) for each in argv],
            "folder": str(folder),
            "fault": fault,
            "number": number,
            "log": log and str(log),
            "clock": clock,
            "environment": {"KIYOME_CACHE": f"{folder}/cache", **environment},
        }
        self.server.stdin.write(json.dumps(asked) + "\n")
        self.server.stdin.flush()
        return Ended(**json.loads(self.server.stdout.readline()))


@pytest.fixture(scope="session")
def forks(tmp_path_factory) -> Iterator[Forks]:
    """A server that forks under the shim, compiled for this session."""
    compiler = shutil.which("gcc")
    if sys.platform != "linux" or compiler is None:
        pytest.skip("faults are put under libc by gcc on Linux, and one of them is not here")
    shim = tmp_path_factory.mktemp("shim") / "shim.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", shim, HERE / "shim.c", "-ldl"], check=True)
    environment = {**os.environ, "LD_PRELOAD": str(shim), "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
    command = [sys.executable, str(HERE / "fork_server.py"), str(shim)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as server:
        yield Forks(server=server)
        server.stdin.close()


@pytest.fixture(scope="session")
def user_files(tmp_path_factory) -> Path:
    """What a user has: photos, a table, predictions, two people's decisions, and files of other programs."""
    folder = tmp_path_factory.mktemp("user")
    write_digits(folder, num_photos=24, side=16)
    with (folder / "train.csv").open() as file:
        ids = [row["image_id"] for row in csv.DictReader(file)]
    labels = [("even", "odd")[row % 2] for row in range(len(ids))]
    write_table(folder / "train.csv", ("image_id", "label"), zip(ids, labels, strict=True))
    probs = np.random.default_rng(0).dirichlet((2, 2), len(ids))
    np.save(folder / "probs.npy", probs)
    for name in ("ann", "bob"):
        rows = [(image_id, "relabel", "even", name) for image_id in ids[::3]]
        write_table(folder / f"{name}.csv", ("image_id", "decision", "label", "reviewer"), rows)
    for name in ("metadata.jsonl", "notes.txt", ".kiyome-notes"):
        (folder / name).write_text("theirs")
    return folder


@pytest.fixture(scope="module")
def sweep_of(forks: Forks, user_files: Path, tmp_path_factory) -> Callable[[str], Sweep]:
    def prepare(name: str) -> Sweep:
        verb, place = VERBS[name], tmp_path_factory.mktemp("sweep")
        start, folder = place / "start", place / "work"
        anew(folder, user_files)
        for argv in verb.before:
            assert forks.run(*argv, folder=folder, fault="warm").code in (0, 2)
        anew(start, user_files)
        anew(folder, user_files)
        for argv in verb.before:
            assert forks.run(*argv, folder=folder).code == 0
        anew(start, folder)
        assert forks.run(*verb.argv, folder=folder, fault="warm").code in (0, 2)
        anew(folder, start)
        assert forks.run(*verb.argv, folder=folder).code == 0
        return Sweep(verb=verb, start=start, folder=folder, expected=contents_of(folder), run=forks.run)

    return prepare
