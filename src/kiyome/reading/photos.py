"""Photos of a data folder: walking over it, finding those that a table names, unpacking them from Parquet."""

import hashlib
import os
import stat
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from kiyome.artifacts.escapes import path_of_text, stays_inside, text_of_path
from kiyome.artifacts.storage import writing
from kiyome.artifacts.table import SPLITS, TRAIN, SkippedFile
from kiyome.progress import Progress, no_progress
from kiyome.reading.classes import plain_form
from kiyome.reading.splits import split_of_name

PHOTO_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".gif", ".bmp", ".tif", ".tiff"),
    *(".avif", ".heic", ".heif", ".hif", ".dcm", ".dicom"),
    *(".jp2", ".ppm", ".pgm"),  # rows too, reported as unreadable
)

SIGNATURES = (
    (0, b"\xff\xd8\xff", ".jpg"),
    (0, b"\x89PNG\r\n\x1a\n", ".png"),
    (0, b"GIF8", ".gif"),
    (8, b"WEBP", ".webp"),
    (0, b"BM", ".bmp"),
    (0, b"II*\0", ".tif"),
    (0, b"MM\0*", ".tif"),
    (4, b"ftypavi", ".avif"),
    (4, b"ftyphei", ".heic"),
    (4, b"ftypmif1", ".heif"),
    (128, b"DICM", ".dcm"),
)
HEAD_BYTES = 132
"""Of a file, which hold the signature."""


def suffix_of_photo(head: bytes) -> str:
    r"""Return the usual ending for a file that begins with these bytes; empty if it looks like no photo.

    >>> suffix_of_photo(b"\xff\xd8\xff\xe0"), suffix_of_photo(b"<html>")
    ('.jpg', '')
    """
    return next((suffix for start, signature, suffix in SIGNATURES if head.startswith(signature, start)), "")


def has_photo_suffix(name: str) -> bool:
    """Whether a file's name has the ending of a photo."""
    return os.path.splitext(name)[1].lower() in PHOTO_SUFFIXES  # noqa: PTH122  (a million names)


def walk_photos(root: Path, *, follow_links: bool = False) -> tuple[list[str], list[SkippedFile]]:
    """Return every file below `root`: the photos, sorted, and the skipped files with reasons.

    Together they count each file and link once. A folder is listed, with a slash at the end, only where it
    could not be read. Links to folders are not followed, so no photo is read twice; with `follow_links` all
    links are, and of several that lead to one file the first is a photo.
    """
    photos: list[str] = []
    skipped: list[SkippedFile] = []
    real_root = os.path.realpath(root)
    for entry, path in _files_below(root, skipped, follow_links=follow_links):
        reason = _reason_to_skip(entry, path, real_root, follow_links=follow_links)
        if reason:
            skipped.append(SkippedFile(text_of_path(path), reason))
        else:
            photos.append(path)
    photos.sort()
    if follow_links:
        photos, repeats = _each_file_once(root, photos)
        skipped += repeats
    return photos, sorted(skipped)


def _each_file_once(root: Path, photos: Sequence[str]) -> tuple[list[str], list[SkippedFile]]:
    """Return the first path of each file, and the others."""
    first: dict[str, str] = {}
    skipped = []
    for path in photos:
        other = first.setdefault(os.path.realpath(root / path), path)
        if other != path:
            reason = f"link to the file of {text_of_path(other)!r}, which counts once"
            skipped.append(SkippedFile(text_of_path(path), reason))
    return list(first.values()), skipped


def _files_below(
    root: Path, skipped: list[SkippedFile], *, follow_links: bool
) -> Iterator[tuple[os.DirEntry[str], str]]:
    """Yield all entries that are not folders; a stack, since folders may nest deeper than Python's calls."""
    folders = [""]
    entered = set()
    while folders:
        folder = folders.pop()
        try:
            if follow_links:
                if (real := os.path.realpath(root / folder)) in entered:
                    continue
                entered.add(real)
            with os.scandir(root / folder) as entries:
                for entry in entries:
                    path = f"{folder}{entry.name}"
                    if entry.is_dir(follow_symlinks=follow_links):
                        folders.append(f"{path}/")
                    else:
                        yield entry, path
        except OSError as error:
            skipped.append(
                SkippedFile(text_of_path(folder), f"folder that cannot be opened: {error.strerror}")
            )


def _reason_to_skip(entry: os.DirEntry[str], path: str, real_root: str, *, follow_links: bool) -> str:
    """Return why a file is no photo of the data set; empty if it is one."""
    if any(part.startswith(".") for part in path.split("/")):
        return "hidden file, or in a hidden folder"
    if entry.is_symlink() and (reason := _reason_against_link(entry.path, "" if follow_links else real_root)):
        return reason
    if not entry.is_file():
        return "not a regular file"
    suffix = os.path.splitext(entry.name)[1]  # noqa: PTH122
    if suffix.lower() in PHOTO_SUFFIXES or (not suffix and _looks_like_photo(entry.path)):
        return ""
    return f"not a photo that kiyome reads ({suffix or 'no ending'})"


def _reason_against_link(path: str, real_root: str) -> str:
    """Return why a link is not followed; with an empty root it may lead anywhere."""
    try:
        target = os.path.realpath(path, strict=True)
    except OSError as error:
        return f"link to nothing: {error.strerror}"
    if real_root and os.path.commonpath([target, real_root]) != real_root:
        return LINK_LEAVES
    return "link to a folder, whose photos count where they lie" if Path(target).is_dir() else ""


def _looks_like_photo(path: str) -> bool:
    try:
        with Path(path).open("rb") as file:
            return bool(suffix_of_photo(file.read(HEAD_BYTES)))
    except OSError:
        return False


class PhotoFinder:
    """Finds the file for a text in a table, below one folder, and caches folder listings.

    A text is the name of a file, or its absolute path inside the folder, or else its name without the ending
    of a photo if only one file fits, or else its escaped name (`escapes.text_of_path`).
    """

    def __init__(self, root: Path, *, follow_links: bool = False) -> None:
        self.root = str(root)
        self.follow_links = follow_links
        self._real_root = os.path.realpath(root)
        self._absolute_roots = {f"{os.path.abspath(root)}/", f"{self._real_root}/"}  # noqa: PTH100
        self._inside: dict[str, bool] = {}
        self._stems: dict[str, dict[str, list[str]]] = {}

    def may_find(self, texts: Sequence[str]) -> bool:
        """Whether any entry of the folder begins like one of the texts: one listing for all texts."""
        first = {text.partition("/")[0] for text in texts}
        first |= {path_of_text(text) for text in first if "%" in text}
        try:
            names = [name for entry in Path(self.root).iterdir() for name in (entry.name, entry.stem)]
        except OSError:
            return False
        return not first.isdisjoint(("", ".")) or not _folded(first).isdisjoint(_folded(names))

    def find(self, text: str) -> tuple[str, str]:
        """Return the path below the folder and an empty reason, or an empty path and the reason."""
        if text.startswith("/"):
            text = next((text[len(root) :] for root in self._absolute_roots if text.startswith(root)), text)
        if not stays_inside(text):
            return "", LEAVES
        path, reason = self._at(text)
        if path and (escaped := path_of_text(text)) != text and self._at(escaped)[0]:
            return "", f"ambiguous: files {text!r} and {escaped!r}"
        if path or reason != ABSENT:
            return path, reason
        folder, _, name = text.rpartition("/")
        endings = self._photos_by_stem(folder).get(name, [])
        if len(endings) > 1:
            return "", f"{len(endings)} files of that name: {', '.join(endings[:3])}"
        if endings:
            return self._at(f"{folder}/{endings[0]}" if folder else endings[0])
        escaped = path_of_text(text)
        return self._at(escaped) if escaped != text else ("", ABSENT)

    def similar(self, text: str) -> str:
        """Return a name in the same folder that differs only in case or Unicode form, if there is one."""
        folder, _, name = text.rpartition("/")
        names = (other for others in self._photos_by_stem(folder).values() for other in others)
        return next((other for other in names if plain_form(other) == plain_form(name)), "")

    def _at(self, path: str) -> tuple[str, str]:
        if not stays_inside(path):
            return "", LEAVES
        full = f"{self.root}/{path}"
        try:
            kind = os.lstat(full).st_mode
            inside = self._folder_is_inside(path.rpartition("/")[0])
            if stat.S_ISLNK(kind):
                inside = inside and self._is_inside(full)
                kind = os.stat(full).st_mode  # noqa: PTH116
        except (FileNotFoundError, NotADirectoryError):
            return "", ABSENT
        except (OSError, ValueError) as error:
            return "", f"a file that cannot be looked at: {error}"
        if not inside:
            return "", LINK_LEAVES
        return (path, "") if stat.S_ISREG(kind) else ("", "not a regular file")

    def _is_inside(self, full: str) -> bool:
        return (
            self.follow_links
            or os.path.commonpath([os.path.realpath(full), self._real_root]) == self._real_root
        )

    def _folder_is_inside(self, folder: str) -> bool:
        if folder not in self._inside:
            self._inside[folder] = self._is_inside(f"{self.root}/{folder}")
        return self._inside[folder]

    def _photos_by_stem(self, folder: str) -> dict[str, list[str]]:
        if folder not in self._stems:
            stems: dict[str, list[str]] = {}
            for name in photos_in(f"{self.root}/{folder}"):
                stems.setdefault(os.path.splitext(name)[0], []).append(name)  # noqa: PTH122
            self._stems[folder] = stems
        return self._stems[folder]


def _folded(names: Iterable[str]) -> set[str]:
    """Return names without differences of case and Unicode form; none holds a NUL."""
    return set(unicodedata.normalize("NFKC", "\0".join(names)).casefold().split("\0"))


ABSENT = "no such file"
LEAVES = "a path that leaves the data folder"
LINK_LEAVES = "link that leaves the data folder"


def photos_in(folder: str) -> list[str]:
    """Return the names in a folder with the ending of a photo, sorted; none if it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if has_photo_suffix(entry.name))
    except OSError:
        return []


BATCH_ROWS = 64
"""Most photos in memory at once."""


def unpack_photos(
    source: Path, column: str, folder: Path, *, on_progress: Progress = no_progress
) -> tuple[list[str], list[str]]:
    """Write each row's photo into `folder`; return the file names and the paths stated in the file itself.

    A name is the row number and a digest of the bytes, so no text from the file becomes a name, and a photo
    that is there already, byte for byte, is not written again. Rows without a photo give "".
    """
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    total = sum(pq.ParquetFile(file).metadata.num_rows for file in parquet_files(source))
    names: list[str] = []
    own_paths: list[str] = []
    for photo, own_path in _photos(source, column):
        names.append(_unpack(photo, len(names), folder) if photo else "")
        own_paths.append(own_path)
        on_progress("unpack photos", len(names), total)
    return names, own_paths


def parquet_files(source: Path) -> list[Path]:
    """Return a Parquet file, or the shards in a folder such as a data set of the hub has, by split.

    Empty for a folder without. Where some are named for training, those without the name of a split are left
    out.
    """
    if not source.is_dir():
        return [source]
    shards = sorted([*source.glob("*.parquet"), *source.glob("data/*.parquet")])
    splits = [split_of_name(shard.stem) for shard in shards]
    if TRAIN not in splits:
        return shards
    order = [(SPLITS.index(split), shard) for split, shard in zip(splits, shards, strict=True) if split]
    return [shard for _, shard in sorted(order)]


def _photos(source: Path, column: str) -> Iterator[tuple[bytes, str]]:
    import pyarrow.parquet as pq

    for each in parquet_files(source):
        file = pq.ParquetFile(each, page_checksum_verification=True)
        for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=[column]):
            for value in batch.column(0).to_pylist():
                if isinstance(value, dict):
                    yield value.get("bytes") or b"", value.get("path") or ""
                else:
                    yield value or b"", ""


def _unpack(photo: bytes, row: int, folder: Path) -> str:
    name = (
        f"{row:07d}-{hashlib.sha256(photo).hexdigest()[:12]}{suffix_of_photo(photo[:HEAD_BYTES]) or '.bin'}"
    )
    path = folder / name
    if path.is_symlink() or not path.is_file() or path.read_bytes() != photo:
        with writing(path, durable=False) as file:
            file.write(photo)
    return name
