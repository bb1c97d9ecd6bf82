"""Who may read what people decided and what they look at: modes of folders and files, whatever the umask."""

import grp
import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from kiyome.artifacts.storage import private_folder
from kiyome.errors import InputError
from kiyome.testing import write_digits
from kiyome.workflows.find import find

PROGRAM = """
import json, os, sys
from pathlib import Path

import kiyome
from kiyome.decisions.store import Decision
from kiyome.decisions.consensus import open_store
from kiyome.workflows.decisions import backup_decisions
from kiyome.decisions.items import read_items


class Stop(Exception):
    pass


def stop(opened):
    raise Stop


os.umask(int(sys.argv[1], 8))
place, group = Path(sys.argv[2]), sys.argv[3] or None
run, sample = place / "run", place / "run-audit"
kiyome.audit_sample(run, n=30, group=group)
for folder, blind in ((run, True), (run, False), (sample, True)):
    try:
        kiyome.review(folder, blind=blind, port=0, group=group, on_open=stop)
    except Stop:
        pass
subject = read_items(run)
with open_store(run, subject) as store:  # so that what SQLite puts beside its file is there
    act = Decision(image_id=subject.image_ids[0], version=0, verdict="keep", label=None)
    store.append([act], key="k", reviewer="Ann", run="run", table_content="", seen={})
    ours = [run / "review", sample, *(run / "review").rglob("*"), *sample.rglob("*")]
    print(json.dumps({str(path.relative_to(place)): path.stat().st_mode for path in ours}))
backup_decisions(run, place / "backup.sqlite")
"""
BESIDE = ("decisions.sqlite", "decisions.sqlite-wal", "decisions.sqlite-shm", "decisions.jsonl", "secret")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run."""
    place = tmp_path_factory.mktemp("found")
    write_digits(place / "digits", num_photos=100)
    return find(place / "digits", backbone="tiny", output=place / "run", cache_folder=place).folder


@pytest.fixture
def place(found: Path, tmp_path: Path) -> Path:
    """A folder with a run in it that nobody reviewed."""
    shutil.copytree(found, tmp_path / "run")
    return tmp_path


def modes_of(place: Path, umask: int, group: str = "") -> dict[str, int]:
    """The modes of all that a review, a blind one and an audit keep."""
    command = [sys.executable, "-c", PROGRAM, f"{umask:o}", str(place), group]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert shown.returncode == 0, shown.stderr
    modes: dict[str, int] = json.loads(shown.stdout)
    expected = [f"run/review/{name}" for name in (*BESIDE, "thumbnails.bin", "thumbnails-blind.bin")]
    assert {*expected, "run-audit/photos", "run-audit/review", "run-audit/audit.csv"} <= {*modes}
    assert sum(name.startswith("run-audit/photos/") for name in modes) == 30
    return modes


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_what_people_decide_and_look_at_is_their_own(place: Path, umask: int) -> None:
    if umask == 0:  # a folder of an earlier version is closed, too
        (place / "run" / "review").mkdir(mode=0o777)
        (place / "run" / "review" / "decisions.jsonl").touch(mode=0o666)
    for name, mode in modes_of(place, umask).items():
        assert stat.S_IMODE(mode) == (0o700 if stat.S_ISDIR(mode) else 0o600), name
    assert stat.S_IMODE((place / "backup.sqlite").stat().st_mode) == 0o600


def test_a_group_shares_what_it_is_named_for(place: Path) -> None:
    group = other_group()
    for name, mode in modes_of(place, 0o077, group.gr_name).items():
        assert stat.S_IMODE(mode) == (0o2770 if stat.S_ISDIR(mode) else 0o660), name
    assert {path.stat().st_gid for path in (place / "run" / "review").rglob("*")} == {group.gr_gid}
    again = private_folder(place / "run" / "review")
    assert stat.S_IMODE(again.stat().st_mode) == 0o2770  # the folder itself remembers


def other_group() -> grp.struct_group:
    """A group of this user that is not the usual one."""
    mine = grp.getgrall() if os.geteuid() == 0 else [grp.getgrgid(gid) for gid in os.getgroups()]
    for group in mine:
        if group.gr_gid != os.getegid():
            return group
    pytest.skip("this user is in one group only")


def test_a_group_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"There is no group 'no such group' on this machine"):
        private_folder(tmp_path / "review", group="no such group")


def test_a_folder_of_somebody_else_and_a_link_stay_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "public").mkdir(mode=0o755)
    (tmp_path / "public" / "file").touch(mode=0o644)
    (tmp_path / "review").symlink_to("public")
    private_folder(tmp_path / "review")
    assert stat.S_IMODE((tmp_path / "public").stat().st_mode) == 0o755
    (tmp_path / "review").unlink()
    (tmp_path / "review").mkdir(mode=0o755)
    (tmp_path / "review" / "link").symlink_to(tmp_path / "public" / "file")
    private_folder(tmp_path / "review")
    assert stat.S_IMODE((tmp_path / "public" / "file").stat().st_mode) == 0o644
    if os.geteuid() == 0:
        os.chown(tmp_path / "public", 12345, 12345)
        private_folder(tmp_path / "public")
        assert stat.S_IMODE((tmp_path / "public").stat().st_mode) == 0o755
