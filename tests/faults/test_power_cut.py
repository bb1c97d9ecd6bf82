"""The power goes at each moment in turn: what was not synced is lost, what was answered is there.

The shim writes down names that change and what each sync put on the disk. From it the folder is made as it
would lie there after a cut, in two ways: new names without a synced folder are lost, too; or they are kept,
and a file renamed before it was synced is empty.
"""

import shutil
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import pytest
from faulty_verbs import WITHOUT_TORCH

from kiyome.decisions.journal import read_journal
from kiyome.decisions.store import open_decisions

WRITER = Path(__file__).parents[1] / "decisions" / "decision_writer.py"


@dataclass
class File:
    """A file on the disk: what a sync put there last."""

    synced: bytes = b""


@dataclass
class Disk:
    """Names as programs see them, and as the disk has them, with what a power cut leaves of each file."""

    seen: dict[str, File | None]
    """Path -> its file, or None for a folder."""
    kept: dict[str, File | None] = field(init=False)
    answers: str = ""

    def __post_init__(self):
        self.kept = dict(self.seen)

    def take(self, what: str, path: str, other: str, data: bytes) -> None:
        """Follow one line of the log."""
        match what:
            case "c" | "m":
                self.seen[path] = File() if what == "c" else None
            case "t":
                self.seen[path] = File()  # emptied, and perhaps on the disk so
            case "s":
                self.seen.setdefault(path, File()).synced = data
            case "r":
                self.seen[other] = self.seen.pop(path)
            case "u":
                self.seen.pop(path, None)
            case "a":
                self.answers += data.decode()
            case "d":
                self.keep_names_in(path)

    def keep_names_in(self, folder: str) -> None:
        for path in {*self.seen, *self.kept}:
            if path.rpartition("/")[0] == folder:
                self.kept.pop(path, None)
                if path in self.seen:
                    self.kept[path] = self.seen[path]

    def lay(self, folder: Path, *, names_are_kept: bool) -> None:
        """Make the folder anew as it lies on the disk after a cut."""
        shutil.rmtree(folder)
        folder.mkdir()
        names = self.seen if names_are_kept else self.kept
        for path, file in sorted(names.items()):
            if not Path(path).parent.is_dir():
                continue  # its folder was lost
            if file is None:
                Path(path).mkdir()
            else:
                Path(path).write_bytes(file.synced)


def disk_of(folder: Path) -> Disk:
    paths = sorted(folder.rglob("*"))
    return Disk({str(path): None if path.is_dir() else File(path.read_bytes()) for path in paths})


def lines_of(log: BinaryIO):
    while what := log.read(1):
        lengths = struct.unpack("III", log.read(12))
        path, other, data = (log.read(length) for length in lengths)
        yield what.decode(), path.decode(), other.decode(), data


def cuts(disk: Disk, log: Path, folder: Path, *, step: int):
    """Lay the folder as after a cut behind each line of the log, or behind every few of them."""
    with log.open("rb") as file:
        lines = list(lines_of(file))
    for number, line in enumerate(lines):
        disk.take(*line)
        if number % step == 0 or number == len(lines) - 1:
            for names_are_kept in (False, True):
                disk.lay(folder, names_are_kept=names_are_kept)
                yield f"cut behind {number} of {len(lines)}, {line[:3]}, {names_are_kept=}"


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_what_was_answered_is_there_after_a_power_cut(forks, tmp_path, step):
    folder = tmp_path / "work"
    folder.mkdir()
    disk, url = disk_of(folder), f"sqlite:///{folder}/review/decisions.sqlite"
    assert forks.run(WRITER, url, "Ann", "4", folder=folder, log=tmp_path / "log").code == 0
    for where in cuts(disk, tmp_path / "log", folder, step=step):
        with open_decisions(url, fingerprint="f" * 64, class_names=("cat",)) as store:
            events = store.events_after()
            assert [event for _, event in read_journal(store.journal)] == events, where
        answered = [line for line in disk.answers.splitlines() if line.startswith("Ann")]
        assert {event.batch for event in events} >= set(answered), where
    assert answered == ["Ann 1", "Ann 2", "Ann 3", "Ann 4"]


@pytest.mark.parametrize(
    ("name", "step"),
    [("curate", 17), *(pytest.param(name, 1, marks=pytest.mark.slow) for name in WITHOUT_TORCH)],
)
def test_a_power_cut_leaves_no_half_run(name, forks, sweep_of, tmp_path, step):
    sweep = sweep_of(name)
    folder = sweep.begin()
    disk = disk_of(folder)
    assert forks.run(*sweep.verb.argv, folder=folder, log=tmp_path / "log").code == 0
    for where in cuts(disk, tmp_path / "log", folder, step=step):
        sweep.end(where)
