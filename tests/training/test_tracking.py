"""Trackers are told each epoch once, whatever happens, stay in the run folder, and change nothing."""

import json
import struct
import sys

import pytest

from kiyome.artifacts.storage import sha256_of_file
from kiyome.errors import InputError, MissingExtra
from kiyome.training.cross_validate import plan_members, train_members
from kiyome.training.tracking import TRACKERS, check_trackers, tracking


@pytest.fixture
def members(recipe, data):
    """Two members of two epochs each."""
    return plan_members([recipe], {recipe.name: data}, only=["fold=0,1"])


@pytest.fixture(params=TRACKERS)
def tracker(request, monkeypatch, tmp_path):
    """The name of each tracker whose package is installed; the home folder is an empty one."""
    pytest.importorskip(request.param)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("WANDB_MODE", "WANDB_CACHE_DIR", "TRACKIO_DIR", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    return request.param


class Killed(BaseException):
    """The process ends here."""


def train(members, run, names, *, kill_after=None):
    """The finished members and the notes; killed when the member of that fold has told one epoch of two."""

    def hear(event):
        if event.config["fold"] == kill_after and len(event.metrics) == 2:
            raise Killed

    with tracking(names, run, on_event=hear) as tracked:
        return train_members(members, run, on_event=tracked), tracked.notes


def losses_told(run, name):
    """For each tracked run its steps and training losses, read back from the files alone."""
    return READERS[name](run / "tracking" / name)


def read_tensorboard(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    told = {}
    for member in folder.iterdir():
        events = EventAccumulator(str(member))
        events.Reload()
        told[member.name] = [(each.step, round(each.value, 5)) for each in events.Scalars("train_loss")]
        assert len(list(member.glob("*/hparams.yml"))) == 1
    return told


def read_wandb(folder):
    from wandb.proto.wandb_internal_pb2 import Record

    told = {}
    for path in folder.glob("wandb/offline-run-*/*.wandb"):
        content, at, name, lines = path.read_bytes(), 7, None, []
        assert len(content) < 2**15  # one block, so that each record is whole
        while at < len(content):
            size = struct.unpack("<H", content[at + 4 : at + 6])[0]
            record = Record.FromString(content[at + 7 : at + 7 + size])
            at += 7 + size
            name = record.run.display_name or name
            items = {"".join([i.key, *i.nested_key]): json.loads(i.value_json) for i in record.history.item}
            if items:
                lines.append((items["_step"], round(items["train_loss"], 5)))
        assert name not in told
        told[name] = lines
    return told


def read_trackio(folder):
    import sqlite3

    told = {}
    [database] = folder.glob("*.db")
    with sqlite3.connect(database) as connection:
        for name, step, values in connection.execute("SELECT run_name, step, metrics FROM metrics"):
            told.setdefault(name, []).append((step, round(json.loads(values)["train_loss"], 5)))
    return told


def read_mlflow(folder):
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    experiments = [each.experiment_id for each in client.search_experiments()]
    return {
        run.info.run_name: [
            (each.step, round(each.value, 5))
            for each in client.get_metric_history(run.info.run_id, "train_loss")
        ]
        for run in client.search_runs(experiments)
    }


READERS = {
    "tensorboard": read_tensorboard,
    "wandb": read_wandb,
    "trackio": read_trackio,
    "mlflow": read_mlflow,
}


def losses_written(members):
    """The same from metrics.jsonl."""
    return {
        each.member.label: [(line["epoch"], round(line["train_loss"], 5)) for line in each.metrics()]
        for each in members
    }


def files_of(run):
    return {
        str(path.relative_to(run)): sha256_of_file(path)
        for path in (run / "members").rglob("*")
        if path.is_file()
    }


def test_a_killed_training_leaves_no_line_twice_and_no_other_result(tracker, members, tmp_path):
    run = tmp_path / "leaves"
    for fold in ("0", "1"):
        with pytest.raises(Killed):
            train(members, run, [tracker], kill_after=fold)
    finished, notes = train(members, run, [tracker])
    assert notes == []
    assert losses_told(run, tracker) == losses_written(finished)
    train(members, tmp_path / "plain", [])
    assert files_of(run) == files_of(tmp_path / "plain")
    assert not (tmp_path / "home").exists()


def test_what_was_told_is_not_told_again(tracker, members, tmp_path):
    train(members, tmp_path, [tracker])
    told = losses_told(tmp_path, tracker)
    marks = {path: path.stat().st_mtime_ns for path in (tmp_path / "tracking" / "told").rglob("*")}
    train(members, tmp_path, [tracker])
    assert losses_told(tmp_path, tracker) == told
    assert {path: path.stat().st_mtime_ns for path in marks} == marks


def test_a_finished_training_can_be_told_afterwards(members, tmp_path):
    pytest.importorskip("tensorboard")
    finished, _ = train(members, tmp_path, [])
    assert not (tmp_path / "tracking").exists()
    train(members, tmp_path, ["tensorboard"])
    assert losses_told(tmp_path, "tensorboard") == losses_written(finished)


def test_a_tracker_that_dies_midway_is_let_go_with_a_note(members, tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    from accelerate.tracking import TensorBoardTracker

    log, calls = TensorBoardTracker.log, []

    def full_disk(self, values, step=None):
        calls.append(step)
        if len(calls) > 2:
            raise OSError(28, "No space left on device")
        log(self, values, step=step)

    monkeypatch.setattr(TensorBoardTracker, "log", full_disk)
    finished, notes = train(members, tmp_path, ["tensorboard"])
    assert len(finished) == 2
    said = "OSError: [Errno 28] No space left on device"
    assert notes == [f"tensorboard stopped tracking at model-fold1-seed0 ({said}); metrics.jsonl is whole"]
    assert calls == [1, 2, 1]


@pytest.mark.parametrize("name", TRACKERS)
def test_an_absent_package_is_named_with_its_pip_line(name, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtra, match=rf"Run: pip install 'kiyome\[{name}\]'"):
        check_trackers([name])


def test_a_folder_of_that_name_is_no_package(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "trackio", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    (tmp_path / "trackio").mkdir()
    with pytest.raises(MissingExtra, match="extra 'trackio'"):
        check_trackers(["trackio"])


def test_an_unknown_tracker_is_refused():
    with pytest.raises(InputError, match=r"one of wandb, trackio, tensorboard, mlflow.*mean tensorboard"):
        check_trackers(["tensorboards"])
