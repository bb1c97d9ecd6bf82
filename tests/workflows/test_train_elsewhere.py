"""Members on any executor are those of one process, byte for byte, also where a worker is killed."""

import signal
from collections import Counter
from pathlib import Path

import psutil
import pytest
import torch

from kiyome.artifacts.run import verify_run
from kiyome.cli.member_table import MemberTable
from kiyome.errors import InputError, KiyomeError
from kiyome.executors import OnRay, OnSlurm, Processes
from kiyome.testing import write_digits
from kiyome.workflows.train import train

SMALL = (
    *("architecture=tiny", "image_size=32", "batch_size=32", "precision=float32"),
    *("views=1", "plain_last=0", "drop_path=0.0", "augment.horizontal_flip=0"),
)
LONG = (*SMALL, "epochs=10", "num_folds=2")
"""So that there is a middle in which to be killed."""


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """90 digits, with the folder of their photos as stored, and one compute thread as workers have."""
    folder, threads = tmp_path_factory.mktemp("digits"), torch.get_num_threads()
    write_digits(folder / "data", num_photos=90, side=32)
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("KIYOME_CACHE", str(folder / "cache"))
        yield folder
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def here(digits):
    """Digests of what one process leaves behind."""
    result = train(digits / "data", changes=LONG, output=digits / "here")
    return digests(result)


def digests(result):
    files = verify_run(result.folder)["files"]
    return {name: facts["sha256"] for name, facts in files.items() if name != "train.json"}  # it says where


class Killer:
    """Kills the worker of the first member of which two epochs lie on disk."""

    def __init__(self, run: Path) -> None:
        self.run, self.killed, self.states = run, None, Counter()

    def __call__(self, event):
        self.states[event.member, event.state] += 1
        if self.killed is None and event.state == "learning" and 2 <= len(event.metrics) < 8:
            [place] = (self.run / "members").glob(f"{event.member}-*")
            lock = str(place.with_name(f".{place.name}.lock"))
            for process in psutil.Process().children(recursive=True):
                if lock in opened(process):
                    first = place / "dynamics" / "epoch-0001.safetensors"
                    self.killed, self.first, self.written = event.member, first, first.stat().st_mtime_ns
                    process.send_signal(signal.SIGKILL)


def opened(process):
    try:
        return [file.path for file in process.open_files()]
    except psutil.Error:
        return []


@pytest.mark.parametrize("engine", ["processes", "ray", "slurm"])
def test_a_killed_member_goes_on_and_all_ends_as_in_one_process(engine, digits, here, tmp_path, request):
    if engine == "ray":
        request.getfixturevalue("ray")
    if engine == "slurm":
        pytest.importorskip("submitit")
    slurm = OnSlurm(partition="local", folder=tmp_path / "jobs")
    executor = {"processes": Processes(num=2), "ray": OnRay(), "slurm": slurm}[engine]
    with pytest.MonkeyPatch.context() as patch:
        for module in ("processes", "on_ray", "on_slurm"):
            patch.setattr(f"kiyome.executors.{module}.POLL_SECONDS", 0.02)
        killer = Killer(tmp_path / "run")
        result = train(
            digits / "data", changes=LONG, output=tmp_path / "run", executor=executor, on_event=killer
        )
    assert killer.killed is not None
    assert killer.first.stat().st_mtime_ns == killer.written  # not trained again from the start
    assert digests(result) == here
    assert all(killer.states[member, "finished"] == 1 for member in result.summary()["members"])


def test_finished_members_start_no_worker(digits, here, monkeypatch):
    del here
    monkeypatch.setattr(
        "kiyome.executors.processes.shares_of_machine", lambda *_, **__: pytest.fail("a worker")
    )
    table, told = MemberTable(), []

    def on_event(event):
        table.on_event(event)
        told.append(event.state)

    train(digits / "data", changes=LONG, output=digits / "here", executor="processes:2", on_event=on_event)
    assert told == ["waiting"] * 2 + ["cached"] * 2
    assert table.cells()[0][1] == "2 done"


def test_a_member_that_fails_is_named_and_not_tried_again(digits, tmp_path):
    changes = [*SMALL, "learning_rate=1000", "epochs=30", "num_folds=2", "freeze_batchnorm=1.0"]
    with pytest.raises(KiyomeError, match=r"quick-fold\d-seed0: .*not a finite number"):
        train(digits / "data", changes=changes, output=tmp_path / "run", executor="processes:1")


def test_nested_pairs_and_some_members_run_elsewhere_too(digits, tmp_path):
    changes = [*SMALL, "epochs=1", "num_folds=3", "soft_labels=nested"]
    some = train(
        digits / "data",
        changes=changes,
        output=tmp_path / "run",
        members=["fold=0+1,0+2,0"],
        executor="processes:1",
    )
    assert [each["second_fold"] for each in some.members] == [1, 2, None]


def test_an_executor_and_torchrun_do_not_mix(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match=r"2 processes and an executor\. .* Leave --executor out"):
        train(tmp_path / "nothing", executor="processes:2")
