"""Photos decoded and resized once, stored as uint8 in mapped files for all folds, members and processes.

    paths ── read_photos ── resize ── parts on disk (pixel_parts.py) ── CachedPhotos ── reads without a copy

The key of a photo is the digest of its bytes, not its name or table: a table that lost some rows, or has
other labels, finds all its photos stored. Each stored size, and each version of the decoders, has its own
folder.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from importlib.util import find_spec
from math import ceil
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kiyome.artifacts.storage import cache_errors
from kiyome.artifacts.table import ALL_BITS
from kiyome.errors import InputError, KiyomeError, StaleArtifact
from kiyome.images.decode import Photo
from kiyome.images.pixel_parts import Part, Pixels, StoredPhoto, open_parts, write_part
from kiyome.images.reader import PhotoFacts, PhotoRecord, read_photos
from kiyome.progress import Progress, no_progress

Paths = Sequence[str | PathLike[str]]

LAYOUT = 1
"""Increase it when decoding or resizing changes: older caches are then ignored."""
MARGIN = 1.15
PART_BYTES = 128 * 2**20
NUM_SAMPLED = 96
SPARE = 1.1
"""Free space required, as a multiple of the estimate."""


@dataclass(frozen=True, kw_only=True)
class StoredSize:
    """The size at which photos are stored; never larger than the original."""

    side: int
    """Pixels of the short side; of both sides if `squash`."""
    deep_bits: int = ALL_BITS
    """Bits in use of 16 bits a channel."""
    squash: bool = False
    """Make the photo square whatever its shape, as torchvision's ``Resize((S, S))`` does."""

    def __post_init__(self) -> None:
        if self.side < 1:
            raise InputError(f"side={self.side} is less than one pixel.", remedy="Raise the side.")

    @property
    def fingerprint(self) -> str:
        """Digest of everything besides the photo that decides the stored pixels."""
        optional = [name for name in ("pillow-heif", "pydicom") if find_spec(name.replace("-", "_"))]
        installed = ["pillow", "simplejpeg", *optional]
        decoders = [(name, version(name)) for name in installed]
        parts = [LAYOUT, self.side, self.squash, decoders]
        parts += [] if self.deep_bits == ALL_BITS else [self.deep_bits]  # older caches stay valid
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def shape_of(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width as stored.

        >>> StoredSize(side=300).shape_of(600, 800), StoredSize(side=300, squash=True).shape_of(200, 800)
        ((300, 400), (200, 300))
        """
        if self.squash:
            return min(height, self.side), min(width, self.side)
        factor = min(1.0, self.side / min(height, width))
        return round(factor * height), round(factor * width)

    def prepare(self, photo: Photo) -> Pixels:
        """Return a photo's pixels as stored, C-contiguous; bicubic, with Pillow's antialiasing filter."""
        from PIL import Image

        height, width = photo.pixels.shape[:2]
        shape = self.shape_of(height, width)
        if shape == (height, width):
            return photo.pixels
        image = Image.fromarray(photo.pixels).resize(shape[::-1], Image.Resampling.BICUBIC)
        return np.ascontiguousarray(image)


def stored_size(size: int, *, squash: bool = False) -> StoredSize:
    """Return the size to store for views of `size` pixels: 1.15 times that, so that crops lose little detail.

    >>> stored_size(512).side
    589
    """
    return StoredSize(side=ceil(MARGIN * size), squash=squash)


@dataclass(frozen=True, kw_only=True)
class CachedPhotos:
    """N photos ready to be cropped; reading a row makes no copy, and threads may read at once."""

    parts: tuple[Part, ...] = field(repr=False)
    photos: tuple[StoredPhoto | None, ...] = field(repr=False)
    """N photos; None for an unreadable one."""
    offsets: NDArray[np.int64] = field(repr=False)
    """(N, 2) part, and first byte in its pixels."""
    reasons: tuple[str | None, ...] = field(repr=False)
    """N reasons why a photo cannot be read; None for a readable one."""
    num_decoded: int
    """Photos decoded by this call; the others were stored already or share their bytes."""
    notes: tuple[str, ...] = ()
    """Messages for the user: damaged parts that were made again."""
    shapes: NDArray[np.int64] = field(init=False, repr=False)
    """(N, 2) heights and widths as stored; zeros for an unreadable photo."""
    checked: NDArray[np.bool_] = field(init=False, repr=False)
    """(N,) rows whose pixels were compared with their sha256 in this process."""

    def __post_init__(self) -> None:
        shapes = [photo.shape if photo else (0, 0) for photo in self.photos]
        object.__setattr__(self, "shapes", np.array(shapes, np.int64).reshape(-1, 2))
        object.__setattr__(self, "checked", np.zeros(len(shapes), bool))

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore in another process, which checks the pixels again."""
        vars(self).update(state | {"checked": np.zeros(len(state["photos"]), bool)})

    @property
    def readable(self) -> NDArray[np.bool_]:
        """(N,) mask of the photos that are stored."""
        return self.shapes[:, 0] > 0

    @property
    def digest(self) -> str:
        """The pixel digests of all photos, in their order."""
        return "".join(photo.pixels_sha256 for photo in self.photos if photo)

    @property
    def records(self) -> tuple[PhotoRecord[Any], ...]:
        """N records, one a photo, as a pass over the photos gives them."""
        return tuple(
            PhotoRecord(
                row=row,
                reason=reason,
                sha256=photo.sha256 if photo else None,
                facts=photo.facts if photo else None,
                findings=photo.facts.findings if photo else (),
                prepared=None,
            )
            for row, (photo, reason) in enumerate(zip(self.photos, self.reasons, strict=True))
        )

    def take(self, rows: NDArray[np.integer[Any]]) -> "CachedPhotos":
        """Return some of the N photos."""
        return replace(
            self,
            photos=tuple(self.photos[row] for row in rows),
            offsets=self.offsets[rows],
            reasons=tuple(self.reasons[row] for row in rows),
        )

    def pixels(self, row: int) -> Pixels:
        """Return the (H, W, 3) pixels of a row, mapped and read-only; the first read verifies them."""
        photo = self.photos[row]
        if photo is None:
            raise InputError(
                f"The photo of row {row} is unreadable ({self.reasons[row]}).",
                remedy="Keep the rows where photos.readable.",
            )
        part, start = self.offsets[row].tolist()
        pixels: Pixels = self.parts[part].pixels[start : start + photo.num_bytes]
        if not self.checked[row]:
            if hashlib.sha256(pixels.data).hexdigest() != photo.pixels_sha256:
                raise StaleArtifact(
                    f"{self.parts[part].path} holds other pixels than were stored.",
                    remedy="Remove that file; the next run makes it again.",
                )
            self.checked[row] = True
        return pixels.reshape(*photo.shape, 3)


def estimate_bytes(paths: Paths, *, stored: StoredSize, folder: str | PathLike[str]) -> int:
    """Return about how many bytes `cache_photos` would add to `folder`, from an even sample of the photos.

    Exact where all photos have one size, and for up to 96 different photos.

    >>> estimate_bytes(["no/such.jpg"], stored=stored_size(224), folder="no/such/folder")
    0
    """
    parts, _ = open_parts(_own_folder(folder, stored), repair=False)
    return _missing_bytes(paths, stored, _facts_in(parts))


def cache_photos(
    paths: Paths,
    *,
    stored: StoredSize,
    folder: str | PathLike[str],
    num_threads: int | None = None,
    on_progress: Progress = no_progress,
) -> CachedPhotos:
    """Return all photos, decoded and resized once and mapped from `folder`; unreadable ones have a reason.

    Stored photos are not decoded again. After a kill the same call continues, and ends with the same pixels.
    Two processes may call at once; both then decode. `folder` serves any number of tables and sizes.
    `on_progress` is called with ``("cache photos", done, total)`` after each photo. KiyomeError if the disk
    is too full for `estimate_bytes`, or the folder cannot be written.

    >>> import tempfile
    >>> from PIL import Image
    >>> folder = Path(tempfile.mkdtemp())
    >>> Image.new("RGB", (80, 60), "red").save(folder / "red.png")
    >>> paths = [folder / "red.png", folder / "missing.png"]
    >>> photos = cache_photos(paths, stored=StoredSize(side=30), folder=folder / "cache")
    >>> photos.pixels(0).shape, photos.readable, photos.reasons[1]
    ((30, 40, 3), array([ True, False]), 'no such file')
    """
    own = _own_folder(folder, stored)
    with cache_errors(own):
        own.mkdir(parents=True, exist_ok=True)
        parts, notes = open_parts(own, repair=True)
    known = _facts_in(parts)
    _require_room(_missing_bytes(paths, stored, known), own)
    records = read_photos(
        paths,
        prepare=_preparer(stored),
        known=known.get,
        shrink_to=stored.side,
        deep_bits=stored.deep_bits,
        num_threads=num_threads,
    )
    keys: list[str | None] = []
    reasons: list[str | None] = []
    fresh: list[tuple[StoredPhoto, Pixels]] = []
    num_decoded = fresh_bytes = 0
    try:
        for record in records:
            keys.append(record.sha256 if record.facts else None)
            reasons.append(record.reason)
            if record.sha256 and record.facts and record.prepared and record.sha256 not in known:
                known[record.sha256] = record.facts
                pixels, digest = record.prepared
                fresh.append((_stored_photo(record.sha256, record.facts, pixels, digest), pixels))
                num_decoded, fresh_bytes = num_decoded + 1, fresh_bytes + pixels.nbytes
            if fresh_bytes >= PART_BYTES:
                full, fresh, fresh_bytes = fresh, [], 0
                parts.append(write_part(own, full))
            on_progress("cache photos", len(keys), len(paths))
    finally:  # an interrupted call keeps what it decoded
        if fresh:
            parts.append(write_part(own, fresh))
    return _in_table_order(keys, reasons, parts, num_decoded=num_decoded, notes=notes)


def _own_folder(folder: str | PathLike[str], stored: StoredSize) -> Path:
    return Path(folder) / f"photos-{stored.fingerprint[:16]}"


def _preparer(stored: StoredSize) -> Callable[[Photo], tuple[Pixels, str]]:
    def prepare(photo: Photo) -> tuple[Pixels, str]:
        pixels = stored.prepare(photo)
        return pixels, hashlib.sha256(pixels.data).hexdigest()

    return prepare


def _stored_photo(sha256: str, facts: PhotoFacts, pixels: Pixels, digest: str) -> StoredPhoto:
    height, width, _ = pixels.shape
    return StoredPhoto(sha256=sha256, facts=facts, shape=(height, width), pixels_sha256=digest)


def _facts_in(parts: Iterable[Part]) -> dict[str, PhotoFacts]:
    return {photo.sha256: photo.facts for part in parts for photo in part.photos}


def _missing_bytes(paths: Paths, stored: StoredSize, known: Mapping[str, PhotoFacts]) -> int:
    """Return the bytes of photos that are not stored, estimated from an even sample of all."""
    if not paths:
        return 0
    num_sampled = min(len(paths), NUM_SAMPLED)
    sampled = [paths[index * len(paths) // num_sampled] for index in range(num_sampled)]
    sizes: dict[str, int] = {}
    how: dict[str, Any] = {"shrink_to": stored.side, "deep_bits": stored.deep_bits}
    for record in read_photos(sampled, prepare=stored.prepare, known=known.get, **how):
        if record.prepared is not None and record.sha256:
            sizes[record.sha256] = record.prepared.nbytes
    return sum(sizes.values()) * len(paths) // num_sampled


def _require_room(needed: int, folder: Path) -> None:
    with cache_errors(folder):
        free = shutil.disk_usage(folder).free
    if SPARE * needed > free:
        raise KiyomeError(
            f"The disk of {folder} is too full: {needed / 1e9:.2f} GB to store, {free / 1e9:.2f} GB free.",
            expected="A tenth more than the photos take must be free.",
            remedy="Free some space, take another folder, or a smaller training size.",
        )


def _in_table_order(
    keys: Sequence[str | None],
    reasons: Sequence[str | None],
    parts: Sequence[Part],
    *,
    num_decoded: int,
    notes: Sequence[str],
) -> CachedPhotos:
    photos: dict[str | None, StoredPhoto] = {}
    offsets: dict[str | None, tuple[int, int]] = {}
    for number, part in enumerate(parts):
        start = 0
        for photo in part.photos:
            photos[photo.sha256], offsets[photo.sha256] = photo, (number, start)
            start += photo.num_bytes
    return CachedPhotos(
        parts=tuple(parts),
        photos=tuple(photos.get(key) for key in keys),
        offsets=np.array([offsets.get(key, (-1, -1)) for key in keys], np.int64).reshape(-1, 2),
        reasons=tuple(reasons),
        num_decoded=num_decoded,
        notes=tuple(notes),
    )
