"""A run folder: everything that one command made, and its manifest.

    runs/leaves/
      run.json     command, config, seed, table fingerprint, versions, commit, times, SHA-256 of every file
      .lock        locked while a process writes the folder; released when the process ends
      ...          what the run made

The same command with the same config on the same table reopens the same folder and writes the same files
again. A manifest without `finished` belongs to an interrupted run: run it again. A run that fails before its
first result leaves the folder free for any other.
"""

import fcntl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from errno import EACCES, EPERM, EROFS
from itertools import chain, count
from pathlib import Path
from time import monotonic
from typing import Any, NotRequired, TypedDict, Unpack

from kiyome.artifacts.escapes import path_of_text, text_of_path
from kiyome.artifacts.manifest import (
    MANIFEST,
    TEAM_KEY,
    Manifest,
    differences,
    has_team_key,
    is_ours,
    new_manifest,
    now,
    read_manifest,
    write_manifest,
)
from kiyome.artifacts.storage import (
    digest_of_file,
    is_temporary,
    make_folder,
    open_in_place,
)
from kiyome.artifacts.table import Table
from kiyome.errors import InputError, RunBusy, StaleArtifact, nearest

LOCK = ".lock"
TRACKING, REVIEW = "tracking", "review"
"""Folders of trackers' files and of people's decisions, which grow later: they are not sealed."""


class RunIdentity(TypedDict):
    """What makes a run, and names its folder."""

    command: str
    config: Mapping[str, Any]
    """Everything that decides the result, as JSON can hold it."""
    table: Table
    named_by_user: NotRequired[bool]
    """Whether another run in the folder is an error; the default."""


@dataclass(frozen=True, kw_only=True)
class RunFolder:
    """A run folder that this process has locked; made by `RunFolder.create_or_reopen`."""

    path: Path
    manifest: Manifest
    changed_versions: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Packages whose version differs from the last run in the folder: last bits of results may differ."""

    @classmethod
    @contextmanager
    def create_or_reopen(cls, path: str | Path, **identity: Unpack[RunIdentity]) -> Iterator["RunFolder"]:
        """Lock the folder of this run while the block runs, and seal its files when the block ends well.

        If another run has the folder, that is an InputError where the user chose the name, else the next free
        one of `path-2`, `path-3` ... is taken. RunBusy if another process has the lock.

        >>> import tempfile
        >>> from kiyome.artifacts.storage import write_bytes
        >>> table = Table(root=Path("."), image_ids=["a", "b"], paths=["", ""], given_labels=[0, 1],
        ...               class_names=("healthy", "blight"))
        >>> folder = Path(tempfile.mkdtemp()) / "run"
        >>> with RunFolder.create_or_reopen(folder, command="find", config={"seed": 0}, table=table) as run:
        ...     write_bytes(run.path / "answer.txt", b"42")
        >>> verify_run(folder)["files"]["answer.txt"]["size"]
        2
        """
        folder, started = _folder_of(path, **identity)
        _refuse_other(folder, started)
        _make_run_folder(folder)
        with _locked(folder):
            _refuse_other(folder, started)  # again, now that nobody else can write
            before = read_manifest(folder)
            _remove_temporaries(folder)
            _remove_linked_folders(folder)
            write_manifest(folder, started)
            began = monotonic()
            with _free_without_results(folder):
                yield cls(path=folder, manifest=started, changed_versions=_changed_versions(before, started))
            ended = {
                "finished": now(),
                "seconds": round(monotonic() - began, 1),
                "resumed": before is not None,
                "files": _files(folder),
            }
            write_manifest(folder, started | ended)


def announce_run(path: str | Path, **identity: Unpack[RunIdentity]) -> Path:
    """Return the folder of a run that several processes share, with its manifest in it and no lock.

    Each of them may call at once: they write the same manifest. `RunFolder.create_or_reopen` with the same
    arguments locks the folder when they are done.
    """
    folder, started = _folder_of(path, **identity)
    _refuse_other(folder, started)
    _make_run_folder(folder)
    _remove_linked_folders(folder)
    if read_manifest(folder) is None:
        write_manifest(folder, started)
    return folder


def _make_run_folder(folder: Path) -> None:
    try:
        make_folder(folder)
    except OSError as error:
        if error.errno not in (EACCES, EPERM, EROFS):
            raise
        raise InputError(
            f"The run folder {folder} cannot be made: {folder.resolve().parent} cannot be written.",
            remedy="Name a folder that can be written, by --output (-o).",
        ) from error


def path_of_run(path: str | Path, **identity: Unpack[RunIdentity]) -> Path:
    """Return the folder that `RunFolder.create_or_reopen` takes for the same arguments; nothing is made."""
    return _folder_of(path, **identity)[0]


def is_finished(path: str | Path, **identity: Unpack[RunIdentity]) -> bool:
    """Whether this run is in its folder already, finished; nothing is made, and no other file is read."""
    folder, started = _folder_of(path, **identity)
    _refuse_other(folder, started)
    return "finished" in (read_manifest(folder) or {})


def _folder_of(
    path: str | Path, *, command: str, config: Mapping[str, Any], table: Table, named_by_user: bool = True
) -> tuple[Path, Manifest]:
    """Return the folder that a run takes, and its manifest if it begins now."""
    started = new_manifest(command, config, table)
    return (Path(path) if named_by_user else _free_path(Path(path), started)), started


def verify_run(path: str | Path) -> Manifest:
    """Return the manifest of a finished run whose files are all as they were written.

    Files that were added later are not checked. StaleArtifact names the first file that is missing or
    changed.
    """
    path = Path(path)
    manifest = read_manifest(path)
    if not path.exists():
        raise _no_run_at(path)
    if manifest is None or "finished" not in manifest:
        state = f"no sound {MANIFEST}" if manifest is None else f"a {MANIFEST} of an interrupted run"
        raise StaleArtifact(
            f"{path} has {state}, so it is not a finished run.", remedy="Run the command again."
        )
    if has_team_key() and not is_ours(manifest):
        raise StaleArtifact(
            f"{path} was not sealed with the key in {TEAM_KEY}: it was made with another key, or changed.",
            remedy=f"Run its command again with the key, or unset {TEAM_KEY} to read it without the check.",
        )
    for name, facts in manifest["files"].items():
        file = path / path_of_text(name)
        if (
            not file.is_file()
            or file.stat().st_size != facts["size"]
            or digest_of_file(file) != facts["sha256"]
        ):
            raise StaleArtifact(
                f"{name} is missing or was changed in {path}.", remedy="Run the command again."
            )
    return manifest


def _no_run_at(path: Path) -> StaleArtifact:
    """Return the error for a folder that does not exist; it names the runs beside it."""
    beside = sorted(manifest.parent.name for manifest in path.parent.glob(f"*/{MANIFEST}"))
    return StaleArtifact(
        f"There is no run at {path}.",
        expected=f"Runs beside it: {', '.join(beside)}." if beside else "",
        remedy=nearest(path.name, beside) if beside else "Check the path.",
    )


def _conflict(path: Path, started: Manifest) -> str:
    """Return what keeps this run out of the folder; empty if the folder is free or this run's own."""
    if not path.exists():
        return ""
    if not path.is_dir():
        return "is a file"
    manifest = read_manifest(path)
    if manifest is None:
        files = _results(path)
        return f"holds files that are no run, such as {files[0]!r}" if files else ""
    if manifest["command"] != started["command"]:
        return f"holds a run of '{manifest['command']}'"
    if manifest["table"]["content"] != started["table"]["content"]:
        return "holds a run on another table"
    if differing := list(differences(manifest["config"], started["config"])):
        more = [f"{len(differing) - 5} more"] if len(differing) > 5 else []
        return f"holds a run with other settings ({'; '.join([*differing[:5], *more])})"
    return ""


def _results(path: Path) -> list[str]:
    """Return the names in a folder besides the lock and temporary files of killed writers."""
    return sorted(entry.name for entry in path.iterdir() if entry.name != LOCK and not is_temporary(entry))


@contextmanager
def _free_without_results(folder: Path) -> Iterator[None]:
    """Remove the manifest when the block fails before anything else is in the folder."""
    try:
        yield
    except BaseException:
        if _results(folder) == [MANIFEST]:
            (folder / MANIFEST).unlink()
        raise


def _free_path(first: Path, started: Manifest) -> Path:
    numbered = (first.with_name(f"{first.name}-{number}") for number in count(2))
    return next(path for path in chain([first], numbered) if not _conflict(path, started))


def _refuse_other(path: Path, started: Manifest) -> None:
    if reason := _conflict(path, started):
        raise InputError(f"{path} {reason}.", remedy="Name another folder with --output, or delete this one.")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Lock the folder; the system releases the lock however this process ends."""
    with open_in_place(path / LOCK) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunBusy(
                f"Another process is writing {path}.",
                remedy="Wait for it, or name another folder with --output.",
            ) from error
        yield


def _remove_temporaries(path: Path) -> None:
    """Remove temporary files of killed writers."""
    for file in path.rglob("*"):
        if is_temporary(file) and file.is_file():
            file.unlink()


def _remove_linked_folders(path: Path) -> None:
    """Remove links to folders from a run, so that nothing is written outside; their targets stay."""
    for entry in path.rglob("*"):
        if entry.is_symlink() and entry.is_dir() and entry != path / REVIEW:  # refused where it is opened
            entry.unlink()


def review_folder(run: str | Path) -> Path:
    """Return the folder of people's decisions about a run; InputError for a link, which may lead away."""
    folder = Path(run) / REVIEW
    if folder.is_symlink():
        raise InputError(
            f"{folder} is a link to {folder.readlink()}.",
            remedy="Move it away; --store keeps decisions in another place.",
        )
    return folder


def _changed_versions(before: Manifest | None, now: Manifest) -> dict[str, tuple[str, str]]:
    old, new = (before or now)["versions"], now["versions"]
    names = sorted({**old, **new})
    return {n: (old.get(n, "none"), new.get(n, "none")) for n in names if old.get(n) != new.get(n)}


def _files(path: Path) -> dict[str, dict[str, Any]]:
    """Return size and digest of every sealed file, by its name."""
    files = sorted(file for file in path.rglob("*") if file.is_file() and not file.is_symlink())
    names = {file: str(file.relative_to(path)) for file in files}
    return {
        text_of_path(name): {"size": file.stat().st_size, "sha256": digest_of_file(file)}
        for file, name in names.items()
        if name not in (MANIFEST, LOCK)
        and not is_temporary(file)
        and Path(name).parts[0] not in (TRACKING, REVIEW)
    }
