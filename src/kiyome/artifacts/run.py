"""A run folder: everything that one command made, and the manifest that says how.

    runs/leaves/
      run.json     command, config, seed, table fingerprint, versions, commit, times, SHA-256 of every file
      .lock        held while a process writes the folder; it dies with its owner
      ...          what the run made

The same command with the same config on the same table comes back to the same folder and writes the same
files again. A manifest without `finished` belongs to a run that was cut off: run it again. A run that fails
before its first result leaves the folder free for any other.
"""

import fcntl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path
from time import monotonic
from typing import Any

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
"""The folders of trackers' files and of people's decisions, which grow later: not part of what is sealed."""


@dataclass(frozen=True, kw_only=True)
class RunFolder:
    """A run folder that this process holds; made by `RunFolder.create_or_reopen`."""

    path: Path
    manifest: Manifest
    changed_versions: dict[str, tuple[str, str]] = field(default_factory=dict)
    """What was another version when the folder was last written: results may differ in the last bits."""

    @classmethod
    @contextmanager
    def create_or_reopen(
        cls,
        path: str | Path,
        *,
        command: str,
        config: Mapping[str, Any],
        table: Table,
        named_by_user: bool = True,
    ) -> Iterator["RunFolder"]:
        """Hold the folder of this run while the block runs; when it ends well, seal what lies in it.

        Parameters
        ----------
        path : str or Path
            The folder. When the name is not the user's and another run has it, the next free one of
            `path-2`, `path-3` and so on.
        command : str
            The verb.
        config : mapping
            What decides the result, as JSON can hold it; `seed` among it.
        table : Table
            What the run reads.
        named_by_user : bool
            Whether another run in the folder is an error.

        Raises
        ------
        InputError
            When the folder holds another run, or files that are no run.
        RunBusy
            When another process holds it.

        Examples
        --------
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
        started = new_manifest(command, config, table)
        place = Path(path) if named_by_user else _free_place(Path(path), started)
        _refuse_other(place, started)
        make_folder(place)
        with _locked(place):
            _refuse_other(place, started)  # again, now that nobody else can write
            before = read_manifest(place)
            _remove_temporaries(place)
            _remove_linked_folders(place)
            write_manifest(place, started)
            began = monotonic()
            with _free_if_fruitless(place):
                yield cls(path=place, manifest=started, changed_versions=_changed_versions(before, started))
            ended = {
                "finished": now(),
                "seconds": round(monotonic() - began, 1),
                "resumed": before is not None,
                "files": _files(place),
            }
            write_manifest(place, started | ended)


def announce_run(
    path: str | Path,
    *,
    command: str,
    config: Mapping[str, Any],
    table: Table,
    named_by_user: bool = True,
) -> Path:
    """Return the folder of a run that several processes share, with its manifest in it; nothing is held.

    Each of them may call at once: they write the same manifest. `RunFolder.create_or_reopen` with the same
    arguments takes the folder over when they are done.

    Raises
    ------
    InputError
        When the folder holds another run, or files that are no run.
    """
    started = new_manifest(command, config, table)
    place = Path(path) if named_by_user else _free_place(Path(path), started)
    _refuse_other(place, started)
    make_folder(place)
    _remove_linked_folders(place)
    if read_manifest(place) is None:
        write_manifest(place, started)
    return place


def path_of_run(
    path: str | Path,
    *,
    command: str,
    config: Mapping[str, Any],
    table: Table,
    named_by_user: bool = True,
) -> Path:
    """Return the folder that `RunFolder.create_or_reopen` takes for the same arguments; nothing is made."""
    return Path(path) if named_by_user else _free_place(Path(path), new_manifest(command, config, table))


def is_finished(
    path: str | Path,
    *,
    command: str,
    config: Mapping[str, Any],
    table: Table,
    named_by_user: bool = True,
) -> bool:
    """Whether this run lies in its folder already, finished; nothing is made, and no file is looked at.

    Raises
    ------
    InputError
        When the folder holds another run, or files that are no run.
    """
    started = new_manifest(command, config, table)
    place = Path(path) if named_by_user else _free_place(Path(path), started)
    _refuse_other(place, started)
    return "finished" in (read_manifest(place) or {})


def verify_run(path: str | Path) -> Manifest:
    """Return the manifest of a finished run, once every file in the folder is as it was written.

    Files that were added later are not looked at.

    Raises
    ------
    StaleArtifact
        Naming the first file that is missing or changed, or when the run did not finish.
    """
    path = Path(path)
    manifest = read_manifest(path)
    if not path.exists():
        raise _no_run_at(path)
    if manifest is None or "finished" not in manifest:
        state = f"no sound {MANIFEST}" if manifest is None else f"a {MANIFEST} of a run that was cut off"
        raise StaleArtifact(
            "A run folder holds a finished run.", came=f"{state} in {path}", remedy="Run the command again."
        )
    if has_team_key() and not is_ours(manifest):
        raise StaleArtifact(
            f"{path} was not sealed with the key in {TEAM_KEY}.",
            came="a run of another key, or one that was changed",
            remedy=f"Run its command again with the key, or unset {TEAM_KEY} to read it all the same.",
        )
    for name, facts in manifest["files"].items():
        file = path / path_of_text(name)
        if (
            not file.is_file()
            or file.stat().st_size != facts["size"]
            or digest_of_file(file) != facts["sha256"]
        ):
            raise StaleArtifact(
                "Files of a run stay as they were written.",
                came=f"{name} changed or missing in {path}",
                remedy="Run the command again.",
            )
    return manifest


def _no_run_at(path: Path) -> StaleArtifact:
    """The error of a folder that is not there; it names the runs beside."""
    beside = sorted(manifest.parent.name for manifest in path.parent.glob(f"*/{MANIFEST}"))
    return StaleArtifact(
        f"There is no run at {path}.",
        came=f"nothing there; runs beside it: {', '.join(beside)}" if beside else "nothing there",
        remedy=nearest(path.name, beside) if beside else "Check the path.",
    )


def _stands_against(path: Path, started: Manifest) -> str:
    """What keeps this run out of the folder; empty when it is free, or its own."""
    if not path.exists():
        return ""
    if not path.is_dir():
        return "a file"
    manifest = read_manifest(path)
    if manifest is None:
        files = _results(path)
        return f"files that are no run, such as {files[0]!r}" if files else ""
    if manifest["command"] != started["command"]:
        return f"a run of '{manifest['command']}'"
    if manifest["table"]["content"] != started["table"]["content"]:
        return "a run on another table"
    if differing := list(differences(manifest["config"], started["config"])):
        more = [f"{len(differing) - 5} more"] if len(differing) > 5 else []
        return f"a run with other settings ({'; '.join([*differing[:5], *more])})"
    return ""


def _results(path: Path) -> list[str]:
    """Return what lies in a folder besides the lock and what a killed writer left."""
    return sorted(entry.name for entry in path.iterdir() if entry.name != LOCK and not is_temporary(entry))


@contextmanager
def _free_if_fruitless(place: Path) -> Iterator[None]:
    """Take the manifest away again when the block fails before anything else lies in the folder."""
    try:
        yield
    except BaseException:
        if _results(place) == [MANIFEST]:
            (place / MANIFEST).unlink()
        raise


def _free_place(first: Path, started: Manifest) -> Path:
    numbered = (first.with_name(f"{first.name}-{number}") for number in count(2))
    return next(place for place in chain([first], numbered) if not _stands_against(place, started))


def _refuse_other(path: Path, started: Manifest) -> None:
    if reason := _stands_against(path, started):
        raise InputError(
            "A run folder holds one run.",
            came=f"{reason} in {path}",
            remedy="Name another folder with --output, or delete this one.",
        )


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the folder's lock; the system lets go of it however this process ends."""
    with open_in_place(path / LOCK) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunBusy(
                "One process writes a run folder.",
                came=f"another one that writes {path}",
                remedy="Wait for it, or name another folder with --output.",
            ) from error
        yield


def _remove_temporaries(path: Path) -> None:
    """Clear away what a killed writer left."""
    for file in path.rglob("*"):
        if is_temporary(file) and file.is_file():
            file.unlink()


def _remove_linked_folders(path: Path) -> None:
    """Take links to folders out of a run, lest it be written elsewhere; what they lead to stays."""
    for entry in path.rglob("*"):
        if entry.is_symlink() and entry.is_dir() and entry != path / REVIEW:  # refused where it is opened
            entry.unlink()


def review_folder(run: str | Path) -> Path:
    """Return the folder of people's decisions about a run, which need not be there yet.

    Raises
    ------
    InputError
        When it is a link: decisions and thumbnails would be written elsewhere.
    """
    folder = Path(run) / REVIEW
    if folder.is_symlink():
        raise InputError(
            f"{folder} is a link.",
            came=f"one to {folder.readlink()}",
            remedy="Move it away; --store keeps decisions in another place.",
        )
    return folder


def _changed_versions(before: Manifest | None, now: Manifest) -> dict[str, tuple[str, str]]:
    old, new = (before or now)["versions"], now["versions"]
    names = sorted({**old, **new})
    return {n: (old.get(n, "none"), new.get(n, "none")) for n in names if old.get(n) != new.get(n)}


def _files(path: Path) -> dict[str, dict[str, Any]]:
    """Size and digest of every file of the run, by its name."""
    files = sorted(file for file in path.rglob("*") if file.is_file() and not file.is_symlink())
    names = {file: str(file.relative_to(path)) for file in files}
    return {
        text_of_path(name): {"size": file.stat().st_size, "sha256": digest_of_file(file)}
        for file, name in names.items()
        if name not in (MANIFEST, LOCK)
        and not is_temporary(file)
        and Path(name).parts[0] not in (TRACKING, REVIEW)
    }
