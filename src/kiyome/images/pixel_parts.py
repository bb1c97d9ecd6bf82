"""Parts of a pixel cache on disk: pixels of some photos, and the list of these photos.

    <digest>.npy    pixels of R photos, one after the other; (R, H, W, 3) where all shapes are equal
    <digest>.json   for each: sha256 of the photo's bytes, facts, stored shape, sha256 of the stored pixels

Both are named by the sha256 of the list, which is written last: pixels without a list are ignored, so a kill
loses only the unfinished part. A list that does not match its name is damaged, and its part is made again;
pixels are compared with the list when they are first read.
"""

import hashlib
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.storage import cache_errors, is_machine_failure, is_temporary, write_bytes, writing
from kiyome.images.reader import PhotoFacts

Pixels = NDArray[np.uint8]

DAY = 86_400.0


@dataclass(frozen=True, kw_only=True)
class StoredPhoto:
    """A photo in the list of a part."""

    sha256: str
    """SHA-256 of the photo's bytes."""
    facts: PhotoFacts
    shape: tuple[int, int]
    """Height and width as stored."""
    pixels_sha256: str
    """SHA-256 of the pixels as stored."""

    @property
    def num_bytes(self) -> int:
        """Bytes of the pixels as stored."""
        return self.shape[0] * self.shape[1] * 3


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part on disk; its pixels are mapped, not read."""

    path: Path
    """Path of the pixels."""
    pixels: Pixels = field(repr=False)
    """All pixels in one row."""
    photos: tuple[StoredPhoto, ...] = field(repr=False)
    """In stored order."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Send paths to another process, which maps the pixels again."""
        return _part_at, (self.path, self.photos)


def open_parts(folder: Path, *, repair: bool) -> tuple[list[Part], list[str]]:
    """Return the whole parts in a folder, and a note for each damaged one, which `repair` removes.

    It also removes leftovers of killed processes that are at least a day old.
    """
    parts, notes = [], []
    for path in sorted(folder.glob("*.json")):
        part = _open_part(path)
        if part:
            parts.append(part)
        else:
            notes.append(f"a damaged part of the photo cache was made again: {path.name[:12]}")
            _remove([path, path.with_suffix(".npy")], really=repair)
    left = [path for path in folder.glob("*") if is_temporary(path) or not path.with_suffix(".json").exists()]
    _remove([path for path in left if path.stat().st_mtime < time.time() - DAY], really=repair)
    return parts, notes


def write_part(folder: Path, photos: Iterable[tuple[StoredPhoto, Pixels]]) -> Part:
    """Return a new part, whole on the disk."""
    stored, pixels = zip(*photos, strict=True)
    content = json.dumps([_to_plain(photo) for photo in stored]).encode()
    path = folder / f"{hashlib.sha256(content).hexdigest()}.npy"
    header = {"descr": "|u1", "fortran_order": False, "shape": _array_shape(stored)}
    with cache_errors(folder):
        with writing(path) as file:
            np.lib.format.write_array_header_1_0(file, header)
            for photo in pixels:
                file.write(photo.data)
        write_bytes(path.with_suffix(".json"), content)
    return Part(path=path, pixels=_map(path), photos=stored)


def _open_part(path: Path) -> Part | None:
    """Return the part with this list, or None where list or pixels changed."""
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != path.stem:
        return None
    photos = tuple(_from_plain(plain) for plain in json.loads(content))
    try:
        pixels = _map(path.with_suffix(".npy"))
    except (OSError, ValueError) as error:  # absent, truncated, or another header
        if is_machine_failure(error):
            raise
        return None
    whole = len(pixels) == sum(photo.num_bytes for photo in photos)
    return Part(path=path.with_suffix(".npy"), pixels=pixels, photos=photos) if whole else None


def _part_at(path: Path, photos: tuple[StoredPhoto, ...]) -> Part:
    with cache_errors(path.parent):
        return Part(path=path, pixels=_map(path), photos=photos)


def _map(path: Path) -> Pixels:
    return np.asarray(np.load(path, mmap_mode="r")).reshape(-1)  # a plain array is cut faster than a memmap


def _array_shape(photos: tuple[StoredPhoto, ...]) -> tuple[int, ...]:
    if len({photo.shape for photo in photos}) == 1:
        return len(photos), *photos[0].shape, 3
    return (sum(photo.num_bytes for photo in photos),)


def _to_plain(photo: StoredPhoto) -> dict[str, Any]:
    return vars(photo) | {"facts": vars(photo.facts) | {"signature": photo.facts.signature.tobytes().hex()}}


def _from_plain(plain: dict[str, Any]) -> StoredPhoto:
    facts = plain["facts"]
    signature = np.frombuffer(bytes.fromhex(facts["signature"]), np.uint8)
    known = PhotoFacts(**facts | {"findings": tuple(facts["findings"]), "signature": signature})
    return StoredPhoto(**plain | {"facts": known, "shape": tuple(plain["shape"])})


def _remove(paths: Iterable[Path], *, really: bool) -> None:
    for path in paths if really else ():
        path.unlink(missing_ok=True)
