"""Verbs that meet faults: what is done before, what must lie there in the end, whatever happened between."""

import csv
import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from kiyome.artifacts.run import verify_run
from kiyome.artifacts.storage import is_temporary, sha256_of_file
from kiyome.decisions.journal import read_journal
from kiyome.decisions.store import open_decisions, restore_log
from kiyome.errors import StaleArtifact

FIND = ("kiyome", "find", "train.csv", "--pred-probs", "probs.npy", "-o", "run")
TRAIN = ("kiyome", "train", "train.csv", "architecture=tiny", "pretrained=false", "image_size=32", "epochs=1")
DECISIONS = ("kiyome", "decisions")
CHANGING = ("started", "finished", "seconds", "resumed", "signature", "seal")


@dataclass(frozen=True)
class Verb:
    """A command that meets faults, and what is done before it."""

    argv: tuple[str, ...]
    before: tuple[tuple[str, ...], ...] = ()
    once: str = ""
    """A file that the command makes, and refuses to make again."""


IMPORT = (*DECISIONS, "import", "run", "ann.csv")
LINES = (*DECISIONS, "backup", "run", "b.jsonl")
RESTORE = (*DECISIONS, "restore", "run", "b.jsonl", "--store", "sqlite:///new.sqlite")
VERBS = {
    "find": Verb(FIND),
    "curate": Verb(("kiyome", "curate", "run", "--action", "relabel", "-o", "next"), (FIND,)),
    "import": Verb(IMPORT, (FIND,)),
    "append": Verb((*DECISIONS, "import", "run", "bob.csv"), (FIND, IMPORT)),
    "export": Verb((*DECISIONS, "export", "run", "out.csv"), (FIND, IMPORT)),
    "backup": Verb((*DECISIONS, "backup", "run", "b.sqlite"), (FIND, IMPORT), once="b.sqlite"),
    "lines": Verb(LINES, (FIND, IMPORT), once="b.jsonl"),
    "restore": Verb(RESTORE, (FIND, IMPORT, LINES), once="new.sqlite"),
    "find photos": Verb(("kiyome", "find", "train.csv", "--backbone", "tiny", "-o", "run")),
    "train": Verb((*TRAIN, "num_folds=2", "-o", "run")),
}
"""The last two bring torch."""
WITHOUT_TORCH = [name for name in VERBS if name not in ("find photos", "train")]


def write_table(path, header, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """One verb in a folder that is as it was before, and what lies there when nothing went wrong."""

    verb: Verb
    start: Path
    folder: Path
    """Where it all happens: a run knows where its photos lie."""
    expected: dict[str, object]
    run: Callable

    def begin(self) -> Path:
        """The folder as it is before the command."""
        return anew(self.folder, self.start)

    def at(self, fault: str, number: int):
        """How the command ended whose call `number` met the fault, once the rest was looked at."""
        ended = self.run(*self.verb.argv, folder=self.begin(), fault=fault, number=number)
        where = f"{fault} at {number}: {ended.code} {ended.err[-2000:]}"
        assert ended.code in ((0, -9) if fault == "kill" else (0, 2)), where
        assert "Traceback" not in ended.err, where
        if ended.code == 2:
            assert "error: " in ended.err, where
        left = [path for path in (self.folder / "cache").rglob("*") if is_temporary(path)]
        assert ended.code == -9 or not left, where  # what a kill leaves in a cache goes after a day
        if ended.code:
            self.end(where)
        elif not is_trained_in_parts(self.folder / "run"):
            self.assert_as_expected(where)
        return ended

    def end(self, where: str) -> None:
        """Nothing half made is taken for whole, and the same command again ends as if nothing had been."""
        folder = self.folder
        refused_or_whole(folder, self.expected, where)
        again = self.run(*self.verb.argv, folder=folder)
        refused = again.code == 2 and self.verb.once and (folder / self.verb.once).exists()
        assert again.code == 0 or refused, f"{where}\nthen {again.err[-2000:]}"
        self.assert_as_expected(where)

    def assert_as_expected(self, where: str) -> None:
        """The folder holds what it holds when nothing goes wrong, and nothing else."""
        differing = differences(contents_of(self.folder), self.expected)
        assert not differing, f"{where}\n{differing}"


def is_trained_in_parts(run: Path) -> bool:
    """Whether a member tells that memory ran out and its batches passed in parts: then bits may differ."""
    return any("memory ran out" in path.read_text() for path in run.glob("members/*/member.json"))


def anew(folder: Path, start: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    return shutil.copytree(start, folder)


def refused_or_whole(folder, expected, where):
    """A run that opens is the whole one; any other is refused."""
    for name in ("run", "next"):
        if (folder / name).exists():
            try:
                manifest = verify_run(folder / name)
            except StaleArtifact:
                continue
            known = expected[f"{name}/run.json"]
            assert manifest["files"] == known["files"], where


def contents_of(folder: Path) -> dict[str, object]:
    """Everything in a folder but times: digests of files, events of stores; what was half written shows."""
    for store in folder.rglob("*.sqlite"):
        if store.with_suffix(".jsonl").exists():  # an open store brings its journal along
            open_decisions(store, fingerprint="f" * 64, class_names=()).close()
    return dict(facts_of(folder))


def differences(found: dict, expected: dict) -> dict:
    return {
        name: (found.get(name, "absent"), expected.get(name, "absent"))
        for name in found.keys() | expected.keys()
        if found.get(name) != expected.get(name)
    }


def facts_of(folder: Path) -> Iterator[tuple[str, object]]:
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.name == "run.json":
            manifest = json.loads(path.read_text())
            yield name, without_times(manifest)
        elif path.name == "diary.jsonl":
            yield name, [without_times(json.loads(line)) for line in path.read_text().splitlines()]
        elif path.suffix == ".sqlite":
            yield name, [row[:-1] for row in rows_of(path)]
        elif path.with_suffix(".sqlite").exists() and path.suffix == ".jsonl":
            assert rows_rebuilt_from(path) == rows_of(path.with_suffix(".sqlite"))
        elif path.suffix == ".jsonl" and path.read_bytes().startswith(b'{"review'):
            yield name, [(review, vars(event) | {"decided_at": ""}) for review, event in read_journal(path)]
        elif path.is_dir() or path.name.endswith((".lock", "-wal", "-shm")):
            continue
        elif not name.startswith("cache/"):
            yield name, sha256_of_file(path)


def without_times(facts: dict) -> dict:
    return {key: value for key, value in facts.items() if key not in CHANGING}


def rows_of(store: Path) -> list[tuple]:
    """Every event as the database has it; the time stands last."""
    with closing(sqlite3.connect(store)) as connection:
        return connection.execute("SELECT * FROM decision_events ORDER BY number").fetchall()


def rows_rebuilt_from(journal: Path) -> list[tuple]:
    with TemporaryDirectory() as folder:
        restore_log(journal, Path(folder) / "new.sqlite")
        return rows_of(Path(folder) / "new.sqlite")
