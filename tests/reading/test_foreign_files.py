"""No file that kiyome did not make loses or gains a byte: what lay there before is as it was after."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from kiyome.artifacts.run import RunFolder, announce_run, verify_run
from kiyome.artifacts.storage import write_bytes
from kiyome.artifacts.table import Table
from kiyome.decisions.store import Decision, open_decisions, restore_log
from kiyome.errors import InputError, KiyomeError, StaleArtifact

EVENT = (
    b'{"review": "f", "number": 1, "batch": "k", "kind": "decide", "undoes": null, "reviewer": "Ann", '
    b'"image_id": "a", "sequence": 1, "verdict": "keep", "label": null, "run": "r", "table_content": "c", '
    b'"seen": {}, "milliseconds": null, "decided_at": "2026-01-01T00:00:00.000+00:00"}\n'
)


def opened(path: Path):
    return open_decisions(path, fingerprint="f" * 64, class_names=("cat",))


def decide(path: Path, key: str = "k1") -> None:
    with opened(path) as store:
        act = Decision(image_id=key, version=0, verdict="relabel", label="cat")
        store.append([act], key=key, reviewer="Ann", run="r", table_content="c", seen={})


def contents(root: Path) -> dict[str, bytes]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


@pytest.mark.parametrize(
    "content",
    [
        b'{"learning_rate": 0.1, "epochs": 3}',
        b'{"file_name": "a.jpg", "label": 0}\n{"file_name": "b.jpg", "label": 1}',
        b'{"review": "a fine film", "label": "positive"}',
        b'{"review": "a fine film", "label": "positive"}\n',
        b"{",
        b"\n",
        EVENT,
        EVENT + EVENT[:50],
    ],
    ids=["config", "metadata", "texts", "texts-whole", "brace", "empty-line", "journal", "torn-journal"],
)
def test_a_file_that_is_older_than_the_store_keeps_every_byte(tmp_path, content):
    (tmp_path / "metadata.jsonl").write_bytes(content)
    with pytest.raises(InputError, match=r"exists, but no database .* --store sqlite:///OTHER\.sqlite"):
        opened(tmp_path / "metadata.sqlite")
    assert contents(tmp_path) == {"metadata.jsonl": content}


@pytest.mark.parametrize("tail", [b"notes", b"\0" * 40, b'{"epochs": 3}'])
def test_only_a_torn_line_of_ours_is_cut(tmp_path, tail):
    decide(tmp_path / "d.sqlite")
    journal = tmp_path / "d.jsonl"
    journal.write_bytes(before := journal.read_bytes() + tail)
    with pytest.raises(StaleArtifact, match=r"The last line .* is not an event"):
        opened(tmp_path / "d.sqlite")
    assert journal.read_bytes() == before


def test_a_journal_that_someone_replaced_is_refused_as_it_is(tmp_path):
    decide(tmp_path / "d.sqlite")
    (tmp_path / "d.jsonl").write_bytes(before := b'{"file_name": "a.jpg"}\n' + EVENT)
    with pytest.raises(StaleArtifact, match=r"The line .* is not an event"):
        opened(tmp_path / "d.sqlite")
    assert (tmp_path / "d.jsonl").read_bytes() == before


def test_restoring_leaves_a_foreign_file_beside_the_new_store_alone(tmp_path):
    decide(tmp_path / "d.sqlite")
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "d.jsonl").write_bytes(b"notes of mine")
    with pytest.raises(StaleArtifact, match="is not an event"):
        restore_log(tmp_path / "d.jsonl", tmp_path / "new" / "d.sqlite")
    assert contents(tmp_path / "new") == {"d.jsonl": b"notes of mine"}


def test_a_database_of_another_program_stays_as_it_is(tmp_path):
    with closing(sqlite3.connect(tmp_path / "photos.sqlite")) as connection:
        connection.execute("CREATE TABLE albums (name TEXT)")
        connection.commit()
    before = contents(tmp_path)
    with pytest.raises(InputError, match=r"is a database of another program.* 'albums'"):
        opened(tmp_path / "photos.sqlite")
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", ["d.sqlite", "d.jsonl", "d.sqlite-wal", "d.sqlite-shm", "d.sqlite-journal"])
@pytest.mark.parametrize("is_whole", [True, False], ids=["reopened", "new"])
def test_a_store_is_not_written_through_a_link(tmp_path, name, is_whole):
    (tmp_path / "review").mkdir()
    if is_whole:
        decide(tmp_path / "review" / "d.sqlite")
    target = tmp_path / "outside"
    if (own := tmp_path / "review" / name).exists():
        own.replace(target)
    else:
        target.write_bytes(b"[1, 2, 3]")
    own.symlink_to(target)
    before = target.read_bytes()
    with pytest.raises(KiyomeError, match=r"is a link|exists, but no database"):
        opened(tmp_path / "review" / "d.sqlite")
    assert target.read_bytes() == before
    assert own.is_symlink()


@pytest.mark.parametrize("name", [".lock", "run.json"])
def test_a_pipe_in_a_run_keeps_nobody_waiting(tmp_path, name):
    (tmp_path / "run").mkdir()
    os.mkfifo(tmp_path / "run" / name)
    with pytest.raises(InputError, match=r"is a link, a pipe or a folder|files that are no run"):
        write_run(tmp_path / "run")
    with pytest.raises(StaleArtifact):
        verify_run(tmp_path / "run")


def table() -> Table:
    return Table(
        root=Path(), image_ids=["a", "b"], paths=["", ""], given_labels=[0, 1], class_names=("cat", "dog")
    )


def write_run(folder: Path) -> None:
    with RunFolder.create_or_reopen(folder, command="find", config={"seed": 0}, table=table()) as run:
        (run.path / "predictions").mkdir(exist_ok=True)
        write_bytes(run.path / "predictions" / "oof.npy", b"numbers")
        write_bytes(run.path / "report.html", b"page")


@pytest.mark.parametrize("name", ["predictions", "report.html", "predictions/oof.npy", ".lock", "run.json"])
def test_a_run_is_not_written_through_a_link(tmp_path, name):
    """As in a run folder that came from a stranger."""
    write_run(tmp_path / "run")
    own = tmp_path / "run" / name
    own.replace(tmp_path / "outside")
    own.symlink_to(tmp_path / "outside")
    before = contents(tmp_path)
    outside = contents(tmp_path / "outside") if own.is_dir() else (tmp_path / "outside").read_bytes()
    if name == ".lock":
        with pytest.raises(InputError, match=r"\.lock is a link, a pipe or a folder"):
            write_run(tmp_path / "run")
        assert contents(tmp_path) == before
        return
    write_run(tmp_path / "run")
    assert not own.is_symlink()
    after = tmp_path / "outside"
    assert (contents(after) if after.is_dir() else after.read_bytes()) == outside
    assert "predictions/oof.npy" in verify_run(tmp_path / "run")["files"]


def test_several_processes_write_through_no_link(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "outside").mkdir()
    announce = {"command": "train", "config": {"seed": 0}, "table": table()}
    announce_run(tmp_path / "run", **announce)
    (tmp_path / "run" / "members").symlink_to(tmp_path / "outside")
    announce_run(tmp_path / "run", **announce)
    assert not (tmp_path / "run" / "members").exists()
    assert (tmp_path / "outside").is_dir()


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> Path:
    """A finished run of find, in a folder with files that a user may have there."""
    folder = tmp_path_factory.mktemp("found")
    lines = [f"{row},{'ab'[row % 2]},{row // 2 % 2}" for row in range(40)]
    (folder / "train.csv").write_text("\n".join(["image_id,label,fold", *lines]) + "\n")
    probs = [f"{row},{0.1 + 0.8 * (row % 2 == 0)},{0.1 + 0.8 * (row % 2 == 1)}" for row in range(40)]
    (folder / "oof.csv").write_text("\n".join(["image_id,a,b", *probs]) + "\n")
    kiyome(folder, "find", "train.csv", "--pred-probs", "oof.csv", "-o", "runs/a")
    (folder / "config.jsonl").write_bytes(b'{"epochs": 3}')
    (folder / "metadata.jsonl").write_bytes(b'{"file_name": "a.jpg"}\n{"file_name": "b.jpg"}')
    (folder / "answers.csv").write_text("image_id,decision,label\n3,keep,\n4,relabel,b\n")
    return folder


def kiyome(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kiyome", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


WRITERS = {
    "import": ["decisions", "import", "runs/a", "answers.csv", "--as", "Ann"],
    "restore": ["decisions", "restore", "runs/a", "metadata.jsonl"],
    "export": ["decisions", "export", "runs/a", "out.csv"],
    "backup": ["decisions", "backup", "runs/a", "saved.jsonl"],
    "curate": ["curate", "runs/a", "--action", "keep"],
    "find": ["find", "train.csv", "--pred-probs", "oof.csv", "-o", "runs/b"],
    "find-again": ["find", "train.csv", "--pred-probs", "oof.csv", "-o", "runs/a"],
    "evaluate": ["evaluate", "runs/a"],
    "audit-sample": ["audit-sample", "runs/a", "-n", "10"],
    "calibrate": ["calibrate", "runs/a"],
    "blend": ["blend", "runs/a", "runs/a-calibrate"],
    "diary": ["diary", "runs"],
}


def changed_by(folder: Path, words: list[str], *, ends_with: int) -> dict[str, bytes | None]:
    """What the user's files became, where they are not what they were."""
    before = {name: content for name, content in contents(folder).items() if not name.startswith("runs/")}
    ran = kiyome(folder, *words)
    assert (ran.returncode, "Traceback" in ran.stderr) == (ends_with, False), ran.stderr
    after = contents(folder)
    return {name: after.get(name) for name in before if after.get(name) != before[name]}


@pytest.mark.parametrize("verb", WRITERS)
def test_no_verb_changes_a_file_of_the_user(found, verb):
    assert changed_by(found, WRITERS[verb], ends_with=2 if verb == "restore" else 0) == {}


@pytest.mark.parametrize("store", ["config", "metadata"])
@pytest.mark.parametrize("verb", ["import", "restore", "curate"])
def test_a_store_beside_a_file_of_the_user_is_refused(found, verb, store):
    words = [*WRITERS[verb], "--store", f"sqlite:///{store}.sqlite"]
    assert changed_by(found, words, ends_with=2) == {}
    assert not (found / f"{store}.sqlite").exists()
